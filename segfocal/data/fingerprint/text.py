"""The parts that configurations of pictures, volumes and lanes share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

STEPS = 1000
SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
VAL_SHARE = 0.15  # of train, where only train and test are given


def head(name: str, sentences: Sequence[str]) -> list[str]:
    """Return the first lines of a configuration.

    Args:
        name: Of the data set.
        sentences: How the task was found.
    """
    return [
        f"# Written by `segfocal fingerprint` for {name}: read it, then",
        "# Run:      segfocal fit --config THIS.yaml --run runs/first",
        *(f"# {sentence[0].upper()}{sentence[1:]}." for sentence in sentences),
        "seed_everything: 0",
    ]


def small_network(*, in_channels: int, num_classes: int) -> list[str]:
    """Return the lines of a network for pictures."""
    return [
        "class_path: segfocal.models.SmallUNet # or segmentation_models_pytorch.Unet, larger and slower",
        "init_args:",
        f"  in_channels: {in_channels}",
        f"  num_classes: {num_classes}",
    ]


def model(
    network: Sequence[str],
    *,
    task: str,
    gamma: float,
    reason: str,
    alphas: Mapping[str, list[float]],
    channels_last: bool,
) -> list[str]:
    """Return the section ``model``.

    Args:
        network: Lines of the network, from ``class_path`` on.
        task: "binary", "multiclass" or "multilabel".
        gamma: Of the focal term.
        reason: Of the loss.
        alphas: How alpha would be chosen, and the numbers.
        channels_last: Whether to set it.
    """
    lines = ["alpha: null keeps the meaning of threshold 0.5; weights move it, so tune the threshold then"]
    lines += [f"alpha: {values} # {name}: from the counts of all images" for name, values in alphas.items()]
    return [
        "model:",
        "  network:",
        *(f"    {line}" for line in network),
        "  loss:",
        f"    # {reason}",
        "    class_path: segfocal.losses.FocalDiceLoss",
        "    init_args:",
        f"      task: {task}",
        f"      gamma: {gamma}",
        "      ignore_index: 255",
        *(f"      # {line}" for line in lines),
        "  learning_rate: 0.003",
        "  schedule: cosine",
        "  warmup_steps: 50",
        "  head_prior: measured",
        *(["  channels_last: true"] if channels_last else []),
    ]


def training(metric: str) -> list[str]:
    """Return the sections ``checkpoint`` and ``trainer``.

    Args:
        metric: What else is scored, and what it is good for.
    """
    return [
        "checkpoint:",
        f"  monitor: val/dice # the metric that chooses best.ckpt: {metric}",
        "trainer:",
        f"  max_steps: {STEPS} # a first look; more steps for a result",
    ]


def leak_lines(twins: Sequence[Sequence[tuple[str, str]]]) -> list[str]:
    """Return the setting that lets training begin although some cases are equal.

    Args:
        twins: (split, name) of cases that are equal.
    """
    names = sorted({name for places in twins for _, name in places})
    note = "equal cases: remove them from the data, then this line"
    return [f"    allow_leaks: {quoted(names)} # {note}"] if names else []


def quoted(value: Any) -> str:
    """Return a value as JSON, which is YAML with every hostile name quoted."""
    return json.dumps(value, ensure_ascii=False)
