"""Plan, run, store: what is the same for every method."""
