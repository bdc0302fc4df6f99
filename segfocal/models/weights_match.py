"""Find which tensor of a file belongs to which tensor of a network, by names and shapes alone."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

# a suffix that more tensors of the network share (".weight") says nothing about a prefix
_TOO_COMMON = 64
_CANDIDATES = 32
_AVERAGED = re.compile(r"(^|[._])(ema|teacher|averaged?)([._]|$)")
_LIVE = re.compile(r"(^|\.)(current_model_state|student)\.")
# torch.compile's wrapper, and timm's feature extractors, which call stages.0 stages_0
_WRAPPER, _NUMBERED = re.compile(r"(^|\.)_orig_mod\."), re.compile(r"_(?=\d+(\.|$))")


@dataclass(frozen=True)
class Match:
    """Which tensors have the same name once prefixes are exchanged; shapes may differ.

    Args:
        prefix: Of the file's names, such as ``"state_dict.model."``.
        into: Of the network's names, such as ``"encoder."``.
        pairs: Name in the network to name in the file.
    """

    prefix: str
    into: str
    pairs: dict[str, str]


def match_tensors(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> Match:
    """Exchange the prefix that gives the most tensors of the same name and shape.

    Of several copies that fit equally, averaged weights (``ema``, ``teacher``) come first, and what a
    trainer would go on from (``current_model_state``, ``student``) last.

    Args:
        own: The network's tensors.
        found: The file's tensors.

    Returns:
        The best match, without pairs where no two names end alike.

    Example:
        >>> import torch
        >>> bias = torch.zeros(2)
        >>> match_tensors({"net.0.bias": bias}, {"state_dict.model.0.bias": bias}).pairs
        {'net.0.bias': 'state_dict.model.0.bias'}
    """
    mine, theirs = _plain_names(own), _plain_names(found)
    best, best_key = Match("", "", {}), None
    for prefix, into in _likely_prefixes(mine, theirs):
        pairs = {
            real: theirs[prefix + name.removeprefix(into)]
            for name, real in mine.items()
            if name.startswith(into) and prefix + name.removeprefix(into) in theirs
        }
        fitting = sum(fits(own[name], found[source]) for name, source in pairs.items())
        key = (-fitting, -len(pairs), _preference(prefix), len(prefix), len(into), prefix, into)
        if best_key is None or key < best_key:
            best, best_key = Match(prefix, into, pairs), key
    return best


def fits(own: Tensor, found: Tensor) -> bool:
    """Return whether a tensor can be copied into another: same shape, both real, complex or whole numbers.

    Args:
        own: The network's tensor.
        found: The file's tensor, of any precision.

    Returns:
        True where a copy means the same.
    """
    return (
        own.shape == found.shape
        and own.is_floating_point() == found.is_floating_point()
        and own.is_complex() == found.is_complex()
    )


def _plain_names(names: Iterable[str]) -> dict[str, str]:
    simple = {name: _NUMBERED.sub(".", _WRAPPER.sub(r"\1", name)) for name in names}
    times = Counter(simple.values())
    return {short if times[short] == 1 else name: name for name, short in simple.items()}


def _likely_prefixes(mine: Iterable[str], theirs: Iterable[str]) -> list[tuple[str, str]]:
    """Each name of the file votes for the prefixes that its longest known suffix leaves over."""
    prefixes_of: dict[str, list[str]] = defaultdict(list)
    for name in mine:
        for prefix, suffix in _splits(name):
            prefixes_of[suffix].append(prefix)
    votes: Counter[tuple[str, str]] = Counter()
    for name in theirs:
        for prefix, suffix in _splits(name):
            if suffix in prefixes_of:
                if len(prefixes_of[suffix]) <= _TOO_COMMON:
                    votes.update((prefix, into) for into in prefixes_of[suffix])
                break
    return [pair for pair, _ in votes.most_common(_CANDIDATES)]


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """Every way to cut a name at a dot, the longest suffix first."""
    start = 0
    while True:
        yield name[:start], name[start:]
        start = name.find(".", start) + 1
        if not start:
            return


def _preference(prefix: str) -> int:
    if _LIVE.search(prefix):
        return 2
    return 0 if _AVERAGED.search(prefix) else 1
