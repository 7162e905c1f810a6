"""The command line, `bench`: one verb a file. Verbs import what they need when they run."""
