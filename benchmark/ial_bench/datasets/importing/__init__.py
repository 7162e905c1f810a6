"""Ways into a dataset: one source a module. `released` puts a release together; the others read parts of it."""
