"""Data sets of other libraries, named by class path."""
