"""AddressCLIP and its ablations."""
