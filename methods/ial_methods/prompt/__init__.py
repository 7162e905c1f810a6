"""Prompt learning: learnt tokens in place of a template's words, CLIP's own weights untouched."""
