"""Building a dataset from photos and a street map: the semantic address partition."""
