"""Learning rates by part of the network and by distance from the head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from segfocal.models.layers import layer_of_parameters
from segfocal.training import optim
from segfocal.training.phases.freezing import ALL, most_exact
from segfocal.training.phases.settings import ActivePhase, Phase


@dataclass(frozen=True)
class RateGroup:
    """Parameters with one learning rate and one weight decay.

    Args:
        part: The part that the rate was given for.
        layers_below_head: How many layers away from the head; 0 where rates do not decay.
        learning_rate: Peak.
        weight_decay: Of the optimizer.
        names: Of the parameters.
    """

    part: str
    layers_below_head: int
    learning_rate: float
    weight_decay: float
    names: tuple[str, ...]

    def describe(self) -> dict[str, Any]:
        """Return plain values for run.json."""
        return {
            "part": self.part,
            "layers_below_head": self.layers_below_head,
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "tensors": len(self.names),
        }


def rate_groups(network: nn.Module, phase: Phase, settings: Mapping[str, Any]) -> list[RateGroup]:
    """Group the trainable parameters of a network as a phase says.

    Args:
        network: With its frozen parameters.
        phase: Its rates.
        settings: The task's ``learning_rate``, ``weight_decay`` and ``decay_norm_and_bias``.

    Returns:
        Groups in the order of the network, for one rate the same two as without phases.

    Raises:
        SegfocalError: Where a rate is given for a part that is not trained.
    """
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    rates = phase.learning_rate if isinstance(phase.learning_rate, dict) else {ALL: phase.learning_rate}
    option = f"phase {phase.name!r}: learning_rate"
    of_part = most_exact(network, rates, among=trained, option=option)
    layers = dict.fromkeys(trained, 0)
    if phase.layer_decay < 1:
        with torch.compiler.set_stance("force_eager"):
            layers = layer_of_parameters(network)
    last, grouped = max(layers.values()), dict[tuple[int, str, int], list[str]]()
    parts = [ALL, *(part for part in rates if part != ALL)]
    for name, parameter in trained.items():
        decayed = optim.decays(parameter, norm_and_bias=settings["decay_norm_and_bias"])
        part = of_part.get(name, ALL)
        grouped.setdefault((last - layers[name], part, 0 if decayed else 1), []).append(name)
    ordered = sorted(grouped.items(), key=lambda item: (item[0][0], parts.index(item[0][1]), item[0][2]))
    groups = []
    for (below, part, exempt), names in ordered:
        given = rates.get(part)
        peak = settings["learning_rate"] if given is None else given
        decay = 0.0 if exempt else settings["weight_decay"]
        groups.append(RateGroup(part, below, peak * phase.layer_decay**below, decay, tuple(names)))
    return groups


def parameter_groups_of(network: nn.Module, groups: list[RateGroup]) -> list[dict[str, Any]]:
    """Return groups as an optimizer takes them.

    Args:
        network: Whose parameters.
        groups: From `rate_groups`.

    Returns:
        With ``params``, ``lr`` and ``weight_decay``.
    """
    parameters = dict(network.named_parameters())
    return [
        {
            "params": [parameters[name] for name in group.names],
            "lr": group.learning_rate,
            "weight_decay": group.weight_decay,
        }
        for group in groups
    ]


def optimizer_of(
    network: nn.Module, settings: Mapping[str, Any], active: ActivePhase | None
) -> torch.optim.Optimizer:
    """Make the optimizer of a training, or of the phase that it is in.

    Args:
        network: With its frozen parameters.
        settings: As for ``segfocal.training.optim.optimizer_from``.
        active: The phase, None outside of fine-tuning.

    Returns:
        The optimizer.
    """
    if active is None:
        return optim.optimizer_from(network, settings)
    groups = parameter_groups_of(network, rate_groups(network, active.phase, settings))
    return optim.build_optimizer(
        groups,
        name=settings["optimizer"],
        learning_rate=settings["learning_rate"],
        momentum=settings["momentum"],
    )


def schedule_of(
    optimizer: torch.optim.Optimizer,
    settings: Mapping[str, Any],
    active: ActivePhase | None,
    *,
    last_step: float,
) -> LambdaLR:
    """Make the schedule of a training, or of the phase that it is in.

    Args:
        optimizer: From `optimizer_of`.
        settings: The task's ``schedule`` and ``warmup_steps``, unless the phase has its own.
        active: The phase.
        last_step: At which this fit ends.

    Returns:
        The scheduler.
    """
    schedule, warmup, first = settings["schedule"], settings["warmup_steps"], 0
    if active is not None:
        own, first = active.phase, active.first_step
        schedule = schedule if own.schedule is None else own.schedule
        warmup = warmup if own.warmup_steps is None else own.warmup_steps
    return optim.build_schedule(
        optimizer, schedule=schedule, warmup_steps=warmup, total_steps=last_step - first
    )
