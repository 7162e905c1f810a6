"""Methods on CLIP's image and text features."""
