"""The one exception of segfocal, and the checks whose messages name the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class SegfocalError(ValueError):
    """Raised for every wrong input: what was expected, what came, what to do about it.

    Args:
        message: The sentence; of the traceback as which a loader process hands it over, the sentence is kept.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition("segfocal.errors.SegfocalError: ")[2].rstrip("\n"))


def said(error: BaseException, *paths: object) -> str:
    """Return what another package says of a file, in one short line.

    Args:
        error: What it raised.
        paths: Names of the file, which the line is part of a sentence about.

    Example:
        >>> said(OSError("cannot identify image file '/a/b.png'."), "/a/b.png")
        'cannot identify image file'
    """
    words = " ".join(str(error).split())
    for path in map(str, paths):
        for form in (f"'{path}'", f'"{path}"', path):
            words = words.replace(form, "")
    words = " ".join(words.split()).strip(" .:")[:300]
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return words or type(error).__name__


@contextmanager
def reading(path: object, *, kind: str = "", remedy: str = "Restore the file.") -> Iterator[None]:
    """Turn whatever decoders raise over a file into one line that names it.

    Args:
        path: The file.
        kind: What it should be, such as ``"NIfTI"``.
        remedy: A sentence.

    Raises:
        SegfocalError: For everything but a `SegfocalError`, which passes, and a missing file alike.
    """
    try:
        yield
    except SegfocalError:
        raise
    except FileNotFoundError as error:
        raise SegfocalError(f"{path}: there is no such file.") from error
    except Exception as error:  # on a damaged file decoders raise whatever they stumble over
        what = f" as {kind}" if kind else ""
        remedy = "Free memory, or cut it into parts." if isinstance(error, MemoryError) else remedy
        raise SegfocalError(f"{path}: cannot be read{what} ({said(error, path)}). {remedy}") from error


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the choice closest to a misspelt name, or an empty string.

    Args:
        name: The word that matched nothing.
        choices: The words that would have.

    Returns:
        A sentence with a leading space, empty where nothing is close.

    Example:
        >>> nearest("multilable", ["binary", "multiclass", "multilabel"])
        " Did you mean 'multilabel'?"
    """
    found = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return f" Did you mean {found[0]!r}?" if found else ""


def check_choice(argument: str, value: str, choices: Iterable[str]) -> None:
    """Raise unless ``value`` is one of ``choices``.

    Args:
        argument: The argument's name, quoted in the message.
        value: What the caller gave.
        choices: What is allowed.

    Raises:
        SegfocalError: Listing the choices and the nearest one.

    Example:
        >>> check_choice("task", "binary", ["binary", "multiclass"])
    """
    known = list(choices)
    if value not in known:
        listed = ", ".join(map(repr, known))
        raise SegfocalError(f"{argument} must be one of {listed}, got {value!r}.{nearest(str(value), known)}")


def check_range(
    argument: str,
    value: float,
    *,
    low: float = float("-inf"),
    high: float = float("inf"),
    open_low: bool = False,
    open_high: bool = False,
) -> None:
    """Raise unless ``value`` is a finite number between ``low`` and ``high``.

    Args:
        argument: The argument's name, quoted in the message.
        value: What the caller gave.
        low: Smallest value allowed.
        high: Largest value allowed.
        open_low: Whether ``low`` itself is excluded.
        open_high: Whether ``high`` itself is excluded.

    Raises:
        SegfocalError: Naming the interval, or for anything that is no number.

    Example:
        >>> check_range("tail", 0.1, low=0.0, high=1.0)
    """
    try:
        above = value > low if open_low else value >= low
        below = value < high if open_high else value <= high
        finite = value not in (float("inf"), float("-inf"))
    except TypeError:  # None, a string, a list
        raise SegfocalError(f"{argument} must be a number, got {value!r}.") from None
    if not (above and below and finite):  # also catches NaN, which compares false
        interval = f"{'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"
        number = "" if finite else "be finite and "
        raise SegfocalError(f"{argument} must {number}lie in {interval}, got {value!r}.")
