"""Geometry on the Earth: points, lines, projections, regions."""
