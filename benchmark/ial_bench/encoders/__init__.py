"""Pretrained encoders by one string: ``openclip:MODEL/PRETRAINED_OR_FILE``, ``timm:MODEL[/FILE]``."""
