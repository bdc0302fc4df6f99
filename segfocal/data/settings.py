"""Settings of a dataclass as JSON-able values and back: how preprocessing travels with a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, TypeVar

from segfocal.errors import SegfocalError, nearest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")


def to_dict(settings: DataclassInstance) -> dict[str, Any]:
    """Return the fields as JSON-able values, tuples as lists."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(settings).items()}


def from_dict(kind: type[Settings], settings: Mapping[str, Any]) -> Settings:
    """Return the object that ``to_dict`` described.

    Args:
        kind: Its class.
        settings: Field to value, lists for tuples.

    Raises:
        SegfocalError: On a setting that this version does not know.
    """
    known = [field.name for field in fields(kind)]
    for name in settings:
        if name not in known:
            raise SegfocalError(f"preprocess has no setting {name!r}.{nearest(name, known)}")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    return kind(**values)
