"""Image -> GPS -> address: locate the photo, then look the position up."""
