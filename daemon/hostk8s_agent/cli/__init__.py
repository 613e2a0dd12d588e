"""The command line: one module for each verb, data on stdout, messages on stderr."""
