"""Encoders by one string: ``openclip:MODEL/PRETRAINED_OR_FILE``, ``timm:MODEL[+POOLING][/FILE]``, ``vpr:NAME/FILE``."""
