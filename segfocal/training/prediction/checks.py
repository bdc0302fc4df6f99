"""What can be wrong with the wishes of a prediction, told before the network and the first image are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from segfocal.errors import SegfocalError, check_range
from segfocal.losses.base import SegmentationLoss
from segfocal.runs.info import read_info
from segfocal.runs.layout import RunPaths
from segfocal.training.prepare import resolve_loss


def check_wishes(
    run_dir: str | Path,
    *,
    threshold: float | Sequence[float] | None,
    posterior: bool,
    device: str | None,
    trust: bool = False,
) -> None:
    """Raise for options that a run cannot fulfil; its network is not built and no checkpoint is read.

    Args:
        run_dir: The folder that ``segfocal fit --run`` made.
        threshold: As in ``Predictor``.
        posterior: As in ``Predictor``.
        device: As in ``Predictor``.
        trust: As in `segfocal.load`.

    Raises:
        SegfocalError: Naming the option and what the run allows.
    """
    from segfocal.training.rebuild import build_loss, read_model_section  # brings Lightning
    from segfocal.training.trust import check_run

    info = read_info(run_dir)
    channels = len(info["class_names"])
    find_device(device)
    if threshold is not None:
        full_thresholds(threshold, task=info["task"], channels=channels)
    if posterior:
        config = RunPaths(run_dir).config
        restricted = check_run(config, trust=trust, section="model")
        loss = build_loss(read_model_section(config), origin=config, restricted=restricted)
        check_posterior(resolve_loss(loss, np.asarray(info["class_counts"])), channels=channels)


def check_posterior(loss: nn.Module | None, *, channels: int) -> SegmentationLoss:
    """Return the loss if its scores can be read as posteriors.

    Args:
        loss: The one that the network was trained with.
        channels: Of the logits.

    Raises:
        SegfocalError: For none, a foreign one, and one without an exact posterior.
    """
    if not isinstance(loss, SegmentationLoss):
        kind = "no loss" if loss is None else type(loss).__name__
        raise SegfocalError(
            f"posterior needs the segfocal loss that the network was trained with, got {kind}. "
            f"Calibrate the scores on held-out images instead."
        )
    loss.posterior(torch.full((1, channels, 1), 1 / max(channels, 2)))
    return loss


def full_thresholds(
    given: float | Sequence[float] | None, *, task: str, channels: int
) -> tuple[float, ...] | None:
    """Return one threshold per channel, None for multiclass.

    Args:
        given: One number, one per channel, or None for 0.5.
        task: "binary", "multiclass" or "multilabel".
        channels: Of the logits.

    Raises:
        SegfocalError: For a wrong number of them, one outside [0, 1], and any for multiclass.

    Example:
        >>> full_thresholds(0.3, task="multilabel", channels=2)
        (0.3, 0.3)
    """
    if task == "multiclass":
        if given is not None:
            raise SegfocalError(
                f"A multiclass mask is the largest probability: threshold must be None, got {given}."
            )
        return None
    if given is None or isinstance(given, (int, float)):
        values = [0.5 if given is None else given] * channels
    else:
        values = [*given]
    if len(values) != channels:
        raise SegfocalError(f"threshold must be one number or {channels}, one per class, got {len(values)}.")
    for value in values:
        check_range("threshold", value, low=0.0, high=1.0)
    return tuple(float(value) for value in values)


def find_device(wanted: torch.device | str | None) -> torch.device:
    """Return a device of this machine.

    Args:
        wanted: Its name; None: an accelerator where there is one, else the CPU.

    Raises:
        SegfocalError: Naming the devices that are there.
    """
    best = torch.accelerator.current_accelerator(check_available=True)
    if wanted is None:
        return best or torch.device("cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch raises all three
        here = "cpu" if best is None else f"cpu and {torch.accelerator.device_count()} of {best}"
        why = str(error).splitlines()[0]
        raise SegfocalError(f"device must be of this machine ({here}), got {str(wanted)!r}: {why}") from error
    return device
