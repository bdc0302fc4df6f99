"""What a reader chose, as a part of the address: a link brings it back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from urllib.parse import parse_qs, urlencode

MOST_RUNS = 4  # side by side
_MOST_VALUES = 200
_LONGEST = 1000


@dataclass(frozen=True)
class Selection:
    """The state of the page.

    Args:
        view: Key of the view.
        arm: Arms to show; none for all.
        data: First digits of the data sets' fingerprints; none for all.
        tag: Tags of which a run must have one; none for all.
        stage: The split, "" for test or else val.
        tuned: "1" for the thresholds chosen on validation.
        base: The arm that others are compared with, "" for the first.
        run: Up to four runs, side by side.
        label: The class whose cases are shown, "" for the mean.
        order: Of the cases: "score", "difference" or "name".
        case: The image that is open.
        slice: Of a volume.
        sort: Table, column and direction, as ``leaderboard:dice:down``.
        page: Table and page from 0, as ``provenance:1``.
    """

    view: str = ""
    arm: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    tag: tuple[str, ...] = ()
    stage: str = ""
    tuned: str = ""
    base: str = ""
    run: tuple[str, ...] = ()
    label: str = ""
    order: str = ""
    case: str = ""
    slice: str = ""
    sort: str = ""
    page: str = ""


_MANY = {item.name for item in fields(Selection) if item.default == ()}


def from_query(text: str | None) -> Selection:
    """Read a selection from an address; what it does not know is left out, what is too long is cut.

    Args:
        text: What follows the path, with or without its question mark.

    Returns:
        The selection.

    Example:
        >>> from_query("?view=classes&arm=ce&arm=focal&other=1").arm
        ('ce', 'focal')
    """
    given = parse_qs((text or "").lstrip("?")[:100_000], max_num_fields=None, errors="replace")
    values: dict[str, str | tuple[str, ...]] = {}
    for item in fields(Selection):
        found = [value[:_LONGEST] for value in given.get(item.name, [])][:_MOST_VALUES]
        if found:
            values[item.name] = tuple(dict.fromkeys(found)) if item.name in _MANY else found[0]
    chosen = Selection(**values)  # type: ignore[arg-type]
    return chosen if len(chosen.run) <= MOST_RUNS else with_runs(chosen, chosen.run)


def to_query(chosen: Selection) -> str:
    """Write a selection as it stands in an address.

    Args:
        chosen: The selection.

    Returns:
        With its question mark; "?" alone for the selection of a fresh page.

    Example:
        >>> to_query(Selection(view="cases", run=("a b",)))
        '?view=cases&run=a+b'
    """
    pairs: list[tuple[str, str]] = []
    for item in fields(Selection):
        value = getattr(chosen, item.name)
        pairs += [(item.name, one) for one in ([value] if isinstance(value, str) else value) if one]
    return "?" + urlencode(pairs)


def with_runs(chosen: Selection, runs: Iterable[str]) -> Selection:
    """Return the selection with other runs side by side, at most four."""
    return replace(chosen, run=tuple(dict.fromkeys(runs))[:MOST_RUNS])
