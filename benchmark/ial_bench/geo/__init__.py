"""Positions on the Earth."""
