"""Captions of street photos, written by published captioners or taken from a file."""
