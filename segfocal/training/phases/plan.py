"""All phases of a fine-tuning, worked out on the network before anything is trained or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from segfocal.errors import SegfocalError
from segfocal.training.phases.freezing import freeze_all_but, trained_parameters
from segfocal.training.phases.learning_rates import RateGroup, rate_groups
from segfocal.training.phases.settings import Phase
from segfocal.training.task import SegmentationTask


@dataclass(frozen=True)
class PlannedPhase:
    """A phase and what it means for a network.

    Args:
        phase: Its settings.
        trained: Names of the parameters that it trains.
        weights: Numbers in them.
        groups: Their learning rates.
    """

    phase: Phase
    trained: frozenset[str]
    weights: int
    groups: tuple[RateGroup, ...]

    def facts(self) -> dict[str, Any]:
        """Return plain values for run.json."""
        return asdict(self.phase) | {
            "trained_tensors": len(self.trained),
            "trained_weights": self.weights,
            "learning_rates": [group.describe() for group in self.groups],
        }

    def summary(self, *, of: int) -> str:
        """Return one line.

        Args:
            of: Tensors in the whole network.
        """
        rates = sorted({group.learning_rate for group in self.groups})
        shown = f"{rates[0]:g}" if len(rates) == 1 else f"{rates[0]:.3g} to {rates[-1]:.3g}"
        return (
            f"{self.phase.name}: {len(self.trained)} of {of} tensors ({self.weights:,} weights), "
            f"learning rate {shown}, batch norm {self.phase.batch_norm}"
        )


@dataclass(frozen=True)
class Plan:
    """The phases in their order.

    Args:
        phases: At least one.
        tensors: Parameters in the network.
    """

    phases: tuple[PlannedPhase, ...]
    tensors: int

    @classmethod
    def of(cls, task: SegmentationTask, phases: Sequence[Phase]) -> Plan:
        """Work out which parameters each phase trains, and how fast.

        Args:
            task: Its network is left as it is; its settings give what a phase leaves open.
            phases: From `settings.phases_of`.

        Returns:
            The plan.

        Raises:
            SegfocalError: For a part that names nothing, or a phase with nothing to train.
        """
        network = task.network
        sizes = {name: p.numel() for name, p in network.named_parameters()}
        trainable = {name for name, p in network.named_parameters() if p.requires_grad}
        planned = []
        try:
            for phase in phases:
                trained = trained_parameters(
                    network,
                    phase.train,
                    batch_norm=phase.batch_norm,
                    trainable=trainable,
                    option=f"phase {phase.name!r}: train",
                )
                freeze_all_but(network, trained)
                groups = tuple(rate_groups(network, phase, task.hparams))
                weights = sum(sizes[name] for name in trained)
                planned.append(PlannedPhase(phase, frozenset(trained), weights, groups))
        finally:
            freeze_all_but(network, trainable)
        return cls(tuple(planned), len(sizes))

    def facts(self) -> list[dict[str, Any]]:
        """Return plain values for run.json."""
        return [planned.facts() for planned in self.phases]

    def check_continues(self, known: Sequence[Mapping[str, Any]], *, number: int) -> None:
        """Raise where a resumed run would train other parts than its checkpoint has moments for.

        Args:
            known: What run.json says about the phases.
            number: Of the phase that the checkpoint was written in, from 1.

        Raises:
            SegfocalError: Naming the phase.
        """
        for index in range(number):
            before = known[index]
            now = self.phases[index].facts() if index < len(self.phases) else {"name": "no such phase"}
            names = ["name"] if index < number - 1 else ["name", "train", "batch_norm", "trained_tensors"]
            for name in names:
                if before[name] != now[name]:
                    raise SegfocalError(
                        f"phase {index + 1} was trained with {name} {before[name]!r}, the configuration has "
                        f"{now[name]!r}. Change later phases only, or start a new run with --from."
                    )
        sizes = [
            [group["tensors"] for group in facts["learning_rates"]]
            for facts in (known[number - 1], self.phases[number - 1].facts())
        ]
        if sizes[0] != sizes[1]:
            raise SegfocalError(
                f"phase {known[number - 1]['name']!r} has {len(sizes[0])} groups of learning rates in the "
                f"checkpoint, the configuration makes {len(sizes[1])}. Change rates but not the parts that "
                "have their own, nor whether layer_decay is 1, or start a new run with --from."
            )
