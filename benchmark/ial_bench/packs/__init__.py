"""Results that travel: packed into one file, verified against a dataset, merged into a folder of results."""
