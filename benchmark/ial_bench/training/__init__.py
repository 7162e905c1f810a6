"""Training: one small engine for every method that learns by gradients."""
