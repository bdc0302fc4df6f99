"""Runs that differ only in their seed form one arm."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from segfocal.report.names import distinct
from segfocal.runs.layout import RunPaths

# the seed of the process, and `seed` of the model's and the data's own arguments; a split's seed lies deeper:
# it chooses other images, which is another experiment
_SEED = re.compile(r"^(seed_everything|  seed|    seed): .*$", re.MULTILINE)


def group_arms(runs: Sequence[Path], *, names: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the arm of each run.

    Args:
        runs: Run directories.
        names: Run (as POSIX path) to arm, where a study says it; the others are grouped by ``config.yaml``.

    Returns:
        Run (as POSIX path) to the arm's name. The name of an arm is what its runs' folder names begin with,
        or its first run's; two arms never share one.

    Example:
        >>> group_arms([Path("runs/a")], names={"runs/a": "focal"})
        {'runs/a': 'focal'}
    """
    known = names or {}
    members: dict[str, list[Path]] = {}
    for run in runs:
        text = run.as_posix()
        key = f"named {known[text]}" if text in known else _config_key(run)
        members.setdefault(key, []).append(run)
    titles = {key: known.get(own[0].as_posix()) or _title(own) for key, own in members.items()}
    shown = _unlike(titles, members)
    return {run.as_posix(): shown[key] for key, own in members.items() for run in own}


def _config_key(run: Path) -> str:
    try:
        text = RunPaths(run).config.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return f"run {run.as_posix()}"
    return hashlib.sha256(_SEED.sub(r"\1", text).encode()).hexdigest()


def _title(runs: Sequence[Path]) -> str:
    """What the folder names have in common: ``ce-2400-0`` and ``ce-2400-1`` are ``ce-2400``."""
    words = [run.name for run in runs]
    if len(words) == 1:
        return words[0]
    alike = [letters[0] for letters in itertools.takewhile(_all_equal, zip(*words, strict=False))]
    common = "".join(alike).rstrip("0123456789")
    common = re.sub(r"[-_.\s]*(?:seed|s|fold|run)?[-_.=\s]*$", "", common)
    return common or words[0]


def _unlike(titles: Mapping[str, str], members: Mapping[str, list[Path]]) -> dict[str, str]:
    """Prefix the parent folder where two arms have one title; what is still alike is numbered."""
    counts = Counter(titles.values())
    wanted = [
        title if counts[title] == 1 else f"{members[key][0].parent.name}/{title}"
        for key, title in titles.items()
    ]
    return dict(zip(titles, distinct(wanted), strict=True))


def _all_equal(letters: Sequence[str]) -> bool:
    return len(set(letters)) == 1
