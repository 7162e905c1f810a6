"""Place recognition: the address of the most similar photos."""
