"""Search: the same number of trials for every arm, drawn when the study is planned."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from segfocal.errors import SegfocalError
from segfocal.study.checks import as_count, as_list, as_mapping, check_keys, one_of

DIGITS = 4  # of a drawn value: more say nothing, and make configurations hard to read


@dataclass(frozen=True)
class Range:
    """Values that a key may take.

    Args:
        key: Dotted.
        low: Smallest value.
        high: Largest value.
        log: Whether equal factors are equally likely.
        integer: Whether values are whole numbers.
        choices: The values themselves, instead of low and high.
    """

    key: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    integer: bool = False
    choices: tuple[Any, ...] = ()

    def value(self, share: float) -> Any:
        """Return the value at a share of the range.

        Args:
            share: In [0, 1).

        Example:
            >>> Range("x", low=0.001, high=0.1, log=True).value(0.5)
            0.01
        """
        if self.choices:
            return self.choices[int(share * len(self.choices))]
        if self.integer:
            return int(self.low) + int(share * (int(self.high) - int(self.low) + 1))
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        drawn = low + share * (high - low)
        return float(f"{math.exp(drawn) if self.log else drawn:.{DIGITS}g}")


@dataclass(frozen=True)
class Search:
    """Tuning before the comparison, key by key.

    - ``trials``: number per arm, data set, fraction and fold; each is trained with the first seed and scored
      on validation, never on test;
    - ``common``: dotted key to range, tried by every arm at the same values;
    - ``arms``: arm to such a mapping of its own;
    - ``seed``: of the draws (default 0).

    A range is ``{low: 1e-4, high: 1e-2, log: true}``, with ``integer: true`` of whole numbers, or a list of
    values. The best trial's values go into the cells of its arm, data set, fraction and fold.

    Args:
        trials: Per arm.
        common: Ranges of every arm.
        arms: Ranges of one arm.
        seed: Of the draws.
    """

    trials: int
    common: tuple[Range, ...] = ()
    arms: Mapping[str, tuple[Range, ...]] = field(default_factory=dict)
    seed: int = 0

    def drawn(self, arm: str) -> list[dict[str, Any]]:
        """Return the overrides of each trial of an arm.

        The draws are a Latin hypercube: each range is cut into as many parts as there are trials, and each
        part is tried once.

        Args:
            arm: Its name.

        Returns:
            Dotted key to value, one mapping per trial.
        """
        own = self.arms.get(arm, ())
        columns = _latin(len(self.common), self.trials, key=f"{self.seed}")
        columns += _latin(len(own), self.trials, key=f"{self.seed} {arm}")
        ranges = [*self.common, *own]
        return [
            {item.key: item.value(column[trial]) for item, column in zip(ranges, columns, strict=True)}
            for trial in range(self.trials)
        ]


def read_search(value: Any, *, arms: Mapping[str, Any]) -> Search | None:
    """Read the section ``search``.

    Args:
        value: What the study file holds.
        arms: The arms.

    Raises:
        SegfocalError: For ranges that are none, and an arm with nothing to search.
    """
    if value is None:
        return None
    settings = as_mapping(value, where="search")
    check_keys(settings, ("trials", "common", "arms", "seed"), where="search")
    trials = as_count(settings.get("trials"), where="search.trials", low=1)
    common = _ranges(settings.get("common"), where="search.common")
    own: dict[str, tuple[Range, ...]] = {}
    for arm, ranges in as_mapping(settings.get("arms"), where="search.arms", empty=True).items():
        one_of(arm, arms, where="a key of search.arms")
        own[arm] = _ranges(ranges, where=f"search.arms.{arm}")
        twice = {item.key for item in own[arm]} & {item.key for item in common}
        if twice:
            raise SegfocalError(
                f"search.arms.{arm} and search.common both have {sorted(twice)[0]}. Keep one."
            )
    idle = [arm for arm in arms if not common and not own.get(arm)]
    if idle:
        raise SegfocalError(
            f"search gives every arm the same number of trials, and arm {idle[0]!r} has nothing to search. "
            "Add it to search.arms, or ranges to search.common."
        )
    return Search(trials, common, own, as_count(settings.get("seed", 0), where="search.seed", low=0))


def _ranges(value: Any, *, where: str) -> tuple[Range, ...]:
    ranges = as_mapping(value, where=where, empty=True)
    return tuple(_range(key, item, where=f"{where}.{key}") for key, item in ranges.items())


def _range(key: str, value: Any, *, where: str) -> Range:
    if isinstance(value, list):
        return Range(key, choices=tuple(as_list(value, where=where)))
    settings = as_mapping(value, where=where)
    check_keys(settings, ("low", "high", "log", "integer"), where=where)
    low, high = settings.get("low"), settings.get("high")
    log, integer = bool(settings.get("log", False)), bool(settings.get("integer", False))
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
    if not numbers or not low < high or (log and low <= 0) or (log and integer):  # type: ignore[operator]
        raise SegfocalError(
            f"{where} must be a list of values, or {{low, high}} with low < high, for log: true above 0 and "
            f"without integer: true, got {value!r}."
        )
    return Range(key, float(low), float(high), log, integer)  # type: ignore[arg-type]


def _latin(dimensions: int, trials: int, *, key: str) -> list[list[float]]:
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8])
    rng = np.random.default_rng(seed)
    return [((rng.permutation(trials) + rng.random(trials)) / trials).tolist() for _ in range(dimensions)]
