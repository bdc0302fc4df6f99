"""Ctrl-C and SIGTERM: remembered until the step is done, then saved and reported with exit code 130."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """Raised between two steps once a signal has come. No KeyboardInterrupt: Lightning would exit with 1."""


class StopSignal:
    """Remembers that the process was asked to stop; a second request stops it at once.

    Example:
        >>> stop = StopSignal()
        >>> with stop.listening():
        ...     signal.raise_signal(signal.SIGINT)
        >>> stop.name
        'SIGINT'
    """

    def __init__(self) -> None:
        self.name: str | None = None
        self.listens = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take the signal; of two, the second raises where the program stands.

        Args:
            number: Of the signal.
            frame: Where the program stands; unused.

        Raises:
            Interrupted: On the second signal.
        """
        if self.name is not None:
            raise Interrupted(self.name)
        self.name = signal.Signals(number).name

    def raise_if_asked(self) -> None:
        """Stop here if a signal came.

        Raises:
            Interrupted: With the name of the signal.
        """
        if self.name is not None:
            raise Interrupted(self.name)

    def take_over(self) -> None:
        """Become the handler again where another was set since, if this one was listening at all."""
        if self.listens:
            for number in _NUMBERS:
                signal.signal(number, self)

    @contextmanager
    def listening(self) -> Iterator[StopSignal]:
        """Take SIGINT and SIGTERM inside the block and give them back afterwards.

        Yields:
            This object.
        """
        before = {number: signal.signal(number, self) for number in _NUMBERS}
        self.listens = True
        try:
            yield self
        finally:
            self.listens = False
            for number, handler in before.items():
                signal.signal(number, handler)
