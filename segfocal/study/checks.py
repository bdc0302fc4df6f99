"""Checks of the values in a study file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from segfocal.errors import SegfocalError, nearest


def check_keys(found: Iterable[Any], known: Iterable[str], *, where: str) -> None:
    """Raise for a key that is not known.

    Args:
        found: Keys of a mapping.
        known: The allowed ones.
        where: For messages.

    Raises:
        SegfocalError: With the nearest key and all of them.
    """
    known = list(known)
    for key in found:
        if key not in known:
            raise SegfocalError(
                f"{where} has no key {key!r}.{nearest(str(key), known)} It takes {', '.join(known)}."
            )


def as_mapping(value: Any, *, where: str, empty: bool = False) -> dict[str, Any]:
    """Return a mapping with names as keys.

    Args:
        value: What the file holds.
        where: For messages.
        empty: Whether it may be empty or null.

    Raises:
        SegfocalError: For anything else.
    """
    if value is None and empty:
        return {}
    if not isinstance(value, Mapping) or not (value or empty):
        raise SegfocalError(f"{where} must be a mapping with at least one entry, got {value!r}.")
    for key in value:
        if not isinstance(key, str):
            raise SegfocalError(f"{where}: {key!r} must be a word; put it in quotes.")
    return dict(value)


def as_list(value: Any, *, where: str) -> list[Any]:
    """Return a list that is not empty and names nothing twice.

    Args:
        value: What the file holds.
        where: For messages.

    Raises:
        SegfocalError: For anything else.
    """
    if not isinstance(value, list) or not value:
        raise SegfocalError(f"{where} must be a list with at least one entry, got {value!r}.")
    for position, item in enumerate(value):
        if item in value[:position]:
            raise SegfocalError(f"{where} lists {item!r} twice. Leave one out.")
    return value


def as_count(value: Any, *, where: str, low: int) -> int:
    """Return a whole number.

    Args:
        value: What the file holds.
        where: For messages.
        low: Smallest allowed.

    Raises:
        SegfocalError: For anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise SegfocalError(f"{where} must be a whole number of at least {low}, got {value!r}.")
    return value


def as_flag(value: Any, *, where: str) -> bool:
    """Return true or false.

    Args:
        value: What the file holds.
        where: For messages.

    Raises:
        SegfocalError: For anything else.
    """
    if not isinstance(value, bool):
        raise SegfocalError(f"{where} must be true or false, got {value!r}.")
    return value


def one_of(value: Any, known: Iterable[str], *, where: str) -> str:
    """Return a name that is among the known ones.

    Args:
        value: What the file holds.
        known: The names.
        where: For messages.

    Raises:
        SegfocalError: With the nearest name and all of them.
    """
    known = list(known)
    if value not in known:
        raise SegfocalError(
            f"{where} must be one of {', '.join(known)}, got {value!r}.{nearest(str(value), known)}"
        )
    return str(value)
