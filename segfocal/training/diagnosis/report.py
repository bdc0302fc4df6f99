"""Everything that a diagnosis found, as plain values for JSON and for the printed page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from torch import nn

from segfocal.errors import SegfocalError
from segfocal.losses.reduction import Task
from segfocal.metrics.diagnosis import bin_at
from segfocal.training.diagnosis.gather import Gathering
from segfocal.training.diagnosis.shares import Population, above_knee, distribution, population, shares
from segfocal.training.diagnosis.verdict import Facts, aims_at_probabilities, judge

GAMMAS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0)
_KNEE_GAMMA = 2.0
_SCORES = ("aupr", "ece", "ece_foreground", "brier", "nll", "nll_foreground")


def diagnose(
    gathered: Gathering, *, task: Task, class_names: Sequence[str], loss: nn.Module, knees: Sequence[float]
) -> dict[str, Any]:
    """Work out a diagnosis.

    Args:
        gathered: After the pass.
        task: "binary", "multiclass" or "multilabel".
        class_names: One per logit channel.
        loss: What the network was trained with.
        knees: p_t of the knees to try at gamma 2; the first stands beside every gamma.

    Returns:
        Plain values: task, classes, images, elements, foreground_share, distribution, losses (one entry per
        gamma and one for gamma and knee), knees, calibration, facts and verdict.

    Raises:
        SegfocalError: Where no labelled pixel, no foreground or no background was seen.
    """
    people = population(gathered.margins.histograms(), task=task, class_names=class_names)
    spread = distribution(people)
    foreground, background = spread["foreground"]["elements"], spread["background"]["elements"]
    _check(foreground, background, class_names=class_names)
    losses = [shares(people, gamma=gamma) for gamma in GAMMAS]
    losses += [shares(people, gamma=gamma, knee=knees[0]) for gamma in GAMMAS[1:]]
    scores = {name: _number(value) for name, value in gathered.curves.compute().items()}
    facts = _facts(people, losses[0]["gradient"], scores, spread, loss)
    verdict = judge(facts)
    return {
        "task": task,
        "classes": list(class_names),
        "images": len(gathered.curves.image_names()),
        "elements": foreground + background,
        "foreground_share": foreground / (foreground + background),
        "distribution": spread,
        "losses": losses,
        "knees": [above_knee(people, gamma=_KNEE_GAMMA, knee=knee) for knee in knees],
        "calibration": _calibration(scores, people)
        | {"temperature": _number(gathered.temperature.compute())},
        "facts": asdict(facts),
        "verdict": {"word": verdict.word, "reasons": list(verdict.reasons)},
    }


def _check(foreground: int, background: int, *, class_names: Sequence[str]) -> None:
    if foreground and background:
        return
    if not foreground and not background:
        raise SegfocalError("The validation images hold no labelled pixel: nothing can be diagnosed.")
    what = "foreground" if background else "background"
    raise SegfocalError(
        f"The validation images hold no pixel of {what} (classes {', '.join(class_names)}): there is nothing "
        "to focus on. Choose other validation images, or look at the masks with `segfocal fingerprint`."
    )


def _facts(
    people: Population,
    gradient: dict[str, Any],
    scores: dict[str, float | None],
    spread: dict[str, Any],
    loss: nn.Module,
) -> Facts:
    found = {name: spread["classes"][name]["elements"] for name in people.names}
    present = [name for name in people.names if found[name]]
    of_all = sum(found.values()) + spread["background"]["elements"]
    per_class = len(people.background)  # under sigmoid every label is asked of every pixel
    foreground = people.histograms.elements[people.all_foreground].sum(axis=0)
    return Facts(
        easy_background=gradient["easy_background"],
        missed_foreground=gradient["missed_foreground"],
        held_back=float(foreground[bin_at(0.5) :].sum() / foreground.sum()),
        foreground_px=int(foreground.sum()),
        prevalence=float(np.mean([found[name] * per_class / of_all for name in present])),
        aupr=float(np.mean([scores[f"aupr/{name}"] for name in present])),
        loss=type(loss).__name__,
        plain=aims_at_probabilities(loss),
    )


def _calibration(scores: dict[str, float | None], people: Population) -> dict[str, Any]:
    classes = {
        name: {score: scores.get(f"{score}/{name}") for score in _SCORES if f"{score}/{name}" in scores}
        for name in people.names
    }
    return {name: scores[name] for name in _SCORES} | {"classes": classes}


def _number(value: Any) -> float | None:
    number = float(value)
    return number if number == number else None
