"""Baselines: what any method should beat, and the ceiling of two-stage pipelines."""
