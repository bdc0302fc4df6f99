"""Options of the command line: the same for every room."""

from segfocal.errors import OptionParser

__all__ = ["OptionParser"]
