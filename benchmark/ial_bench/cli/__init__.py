"""The command line, `bench`: one group of commands a file. A command imports heavy libraries only when it runs."""
