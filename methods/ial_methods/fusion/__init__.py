"""Text matching and retrieval over the same features, put together."""
