"""Datasets: the folder on disk, its reader, its verification, importers."""
