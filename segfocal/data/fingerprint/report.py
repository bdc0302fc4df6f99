"""What a look at a data set gives: a page, and the files of a training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import RenderableType

from segfocal.data.fingerprint.accounts import Account


@dataclass(frozen=True)
class Report:
    """A page and a configuration.

    Args:
        page: To be printed.
        files: From the path of the configuration to its text, and that of files it needs.
        accounts: What became of every file; none where the layout has no files beside its own.
    """

    page: RenderableType
    files: Callable[[Path], dict[Path, str]]
    accounts: Sequence[Account] = ()
