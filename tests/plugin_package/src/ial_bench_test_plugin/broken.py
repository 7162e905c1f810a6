"""A module that cannot be imported."""

raise ImportError("a library that this plugin needs is missing")
