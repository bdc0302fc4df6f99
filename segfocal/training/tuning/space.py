"""What `segfocal tune` searches: ranges and lists of values by dotted key."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from segfocal.errors import SegfocalError, nearest
from segfocal.training.tuning.config import Config, look_up

_WORDS = ("low", "high", "log", "integer")
_DIGITS = 4  # of a value: more say nothing, and make best.yaml hard to read


class Trial(Protocol):
    """The part of ``optuna.trial.Trial`` that draws values."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Draw a number."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Draw a whole number."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Draw one of several values."""


@dataclass(frozen=True)
class Range:
    """Numbers that a key may take.

    Args:
        low: Smallest.
        high: Largest.
        log: Whether equal factors are equally likely.
        integer: Whether they are whole.
    """

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def draw(self, trial: Trial, key: str) -> Any:
        """Return a value of a trial, rounded to four digits."""
        if self.integer:
            return trial.suggest_int(key, int(self.low), int(self.high))
        value = trial.suggest_float(key, self.low, self.high, log=self.log)
        return min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)


@dataclass(frozen=True)
class Choice:
    """Values that a key may take, of any kind.

    Args:
        values: At least two.
    """

    values: tuple[Any, ...]

    def draw(self, trial: Trial, key: str) -> Any:
        """Return a value of a trial."""
        return self.values[trial.suggest_categorical(key, tuple(range(len(self.values))))]


Space = dict[str, Range | Choice]


def draw(space: Space, trial: Trial) -> dict[str, Any]:
    """Return the values of one trial by dotted key."""
    return {key: dimension.draw(trial, key) for key, dimension in space.items()}


def read_space(section: Mapping[str, Any], *, known: Collection[str]) -> Space:
    """Read a ``tune`` section.

    Args:
        section: Dotted key to ``{low: 0, high: 5}``, with ``log: true`` or ``integer: true``, or to a list.
        known: Every key of the configuration, defaults included.

    Returns:
        The space, in the section's order.

    Raises:
        SegfocalError: For a key that the configuration does not have, with the nearest one, and for what is
            neither a range nor a list.

    Example:
        >>> read_space({"a.b": {"low": 1, "high": 2}}, known=["a", "a.b"])
        {'a.b': Range(low=1.0, high=2.0, log=False, integer=False)}
    """
    if not isinstance(section, Mapping) or not section:
        raise SegfocalError(
            f"tune must map dotted keys to {{low, high}} or to lists of values, got {section!r}."
        )
    for key in section:
        if key not in known:
            raise SegfocalError(f"tune: the configuration has no key {key!r}.{nearest(str(key), known)}")
    return {str(key): _dimension(str(key), value) for key, value in section.items()}


def default_space(config: Config) -> Space:
    """Return what is worth searching for a focal loss: gamma, alpha, knee, and the strengths of penalties.

    Args:
        config: Complete: class paths with all their arguments.

    Returns:
        Of these the keys that the configuration has; alpha for binary and multilabel only, knee only where
        neither tail nor poly takes its place.

    Raises:
        SegfocalError: Where it has none of them.
    """
    loss, prefix = look_up(config, "model.loss.init_args") or {}, "model.loss.init_args"
    space: Space = {}
    if "gamma" in loss:
        space[f"{prefix}.gamma"] = Range(0.0, 5.0)
    if "alpha" in loss and loss.get("task") in ("binary", "multilabel"):
        space[f"{prefix}.alpha"] = Range(0.1, 0.9)
    if "knee" in loss and not loss.get("tail") and not loss.get("poly"):
        space[f"{prefix}.knee"] = Choice((None, 0.5, 0.7, 0.9))  # above p0 of every gamma
    for place, penalty in enumerate(look_up(config, "model.penalties") or []):
        if "strength" in penalty.get("init_args", {}):
            space[f"model.penalties.{place}.init_args.strength"] = Range(1e-6, 1e-2, log=True)
    if not space:
        name = look_up(config, "model.loss.class_path")
        raise SegfocalError(
            f"{name} has neither gamma, alpha nor knee at its top, and there is no penalty with a strength: "
            "say what to search in a section tune, e.g. {model.learning_rate: {low: 0.0001, high: 0.01, log: "
            "true}}."
        )
    return space


def describe(space: Space) -> dict[str, Any]:
    """Return a space as the plain values that `read_space` takes."""
    plain: dict[str, Any] = {}
    for key, dimension in space.items():
        plain[key] = list(dimension.values) if isinstance(dimension, Choice) else dict(vars(dimension))
    return plain


def _dimension(key: str, value: Any) -> Range | Choice:
    if isinstance(value, list):
        if len(value) < 2:
            raise SegfocalError(f"tune.{key} must list at least two values, got {value!r}.")
        return Choice(tuple(value))
    if not isinstance(value, Mapping):
        raise SegfocalError(f"tune.{key} must be {{low: ..., high: ...}} or a list, got {value!r}.")
    for word in value:
        if word not in _WORDS:
            raise SegfocalError(f"tune.{key} has no key {word!r}.{nearest(str(word), _WORDS)}")
    low, high = (value.get(end) for end in ("low", "high"))
    log, integer = bool(value.get("log", False)), bool(value.get("integer", False))
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
    if not numbers or not low < high or (log and low <= 0) or (log and integer):  # type: ignore[operator]
        raise SegfocalError(
            f"tune.{key} must have numbers low < high, for log: true above 0 and not together with integer: "
            f"true, got {dict(value)!r}. YAML takes 1e-4 for a word: write 0.0001 or 1.0e-4."
        )
    return Range(float(low), float(high), log, integer)  # type: ignore[arg-type]
