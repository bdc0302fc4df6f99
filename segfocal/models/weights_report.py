"""What became of every tensor when weights were loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LoadReport:
    """The outcome of ``load_pretrained``; ``str()`` is for people, ``to_dict()`` for run.json.

    Every tensor of the network is in exactly one of ``loaded``, ``adapted``, ``reinitialised``, ``missing``.

    Args:
        path: The file.
        sha256: Of the whole file.
        prefix: What the file's names began with.
        into: What that became in the network.
        first_conv: "sum" or "cycle".
        head_prior: Whether the head's bias was set to the prior.
        loaded: Copied as they are; names in the network to shapes.
        adapted: First convolutions for other channels; names to shapes (in the file, in the network).
        reinitialised: Of other shape, or beside one in the same layer: they keep the values that the network
            was built with; names to shapes (in the file, in the network).
        missing: In the network only.
        unused: In the file only, by the file's names.
    """

    path: str
    sha256: str
    prefix: str
    into: str
    first_conv: str
    head_prior: bool
    loaded: dict[str, Shape]
    adapted: dict[str, tuple[Shape, Shape]]
    reinitialised: dict[str, tuple[Shape, Shape]]
    missing: dict[str, Shape]
    unused: dict[str, Shape]

    @property
    def total(self) -> int:
        """Number of tensors in the network."""
        return len(self.loaded) + len(self.adapted) + len(self.reinitialised) + len(self.missing)

    @property
    def matched(self) -> float:
        """Share of the network's tensors that came from the file, loaded or adapted, 0 to 1."""
        return (len(self.loaded) + len(self.adapted)) / max(self.total, 1)

    def is_new(self, name: str) -> bool:
        """Return whether a tensor kept the value that the network was built with.

        Args:
            name: In the network's state dict.

        Returns:
            True for what is re-initialised or missing.
        """
        return name in self.reinitialised or name in self.missing

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as JSON holds them, with ``matched`` and ``total``."""
        content = {name: _plain(value) for name, value in vars(self).items()}
        return content | {"matched": self.matched, "total": self.total}

    def __str__(self) -> str:
        taken = len(self.loaded) + len(self.adapted)
        head = ", bias of the head at the prior" if self.head_prior else ""
        lines = [
            f"Weights: {taken} of {self.total} tensors ({self.matched:.0%}) from {self.path}",
            f"  sha256 {self.sha256}",
            f"  prefix {self.prefix!r} became {self.into!r}",
            f"  loaded {len(self.loaded)}",
            f"  adapted {_counted(self.adapted)} ({self.first_conv})",
            f"  re-initialised {_counted(self.reinitialised)}{head}",
            f"  missing {_counted(self.missing)}",
            f"  unused {_counted(self.unused)}",
        ]
        return "\n".join(lines)


def some(shapes: Mapping[str, Any], *, most: int = 4) -> str:
    """Return the first names with their shapes, and how many more there are.

    Args:
        shapes: Names to a shape, or to the shapes before and after.
        most: How many to name.

    Returns:
        One line.

    Example:
        >>> some({"stem.weight": ((8, 3, 3, 3), (8, 1, 3, 3)), "stem.bias": (8,)}, most=1)
        'stem.weight (8, 3, 3, 3) to (8, 1, 3, 3) and 1 more'
    """
    telling = sorted(shapes.items(), key=lambda item: not item[1])  # counters, of shape (), last
    shown = [f"{name} {_shape(value)}" for name, value in telling[:most]]
    more = f" and {len(shapes) - most} more" if len(shapes) > most else ""
    return (", ".join(shown) or "none") + more


def _counted(shapes: Mapping[str, Any]) -> str:
    return f"{len(shapes)}: {some(shapes)}" if shapes else "0"


def _shape(value: Any) -> str:
    is_pair = bool(value) and isinstance(value[0], tuple)
    return f"{value[0]} to {value[1]}" if is_pair else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
