"""Options of the command line, the same for every room."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from segfocal.errors import SegfocalError, nearest

TRUST_HELP = "let the configuration of a run that was not trained here name any class: its code runs"


class OptionParser(argparse.ArgumentParser):
    """Like `argparse.ArgumentParser`, without abbreviations and without a usage wall on errors.

    Args:
        prog: As argparse.
        description: As argparse.
    """

    def __init__(self, *, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise instead of leaving the process.

        Args:
            message: What argparse found wrong.

        Raises:
            SegfocalError: Always.
        """
        unknown = re.search(r"unrecognized arguments: (\S+)", message)
        known = [option for action in self._actions for option in action.option_strings]
        hint = nearest(unknown.group(1), known) if unknown else ""
        raise SegfocalError(f"{self.prog}: {message}.{hint} `{self.prog} --help` lists the options.")
