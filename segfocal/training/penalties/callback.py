"""When penalties act in a training, what they log, and what a checkpoint keeps of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from segfocal.errors import SegfocalError
from segfocal.losses.reduction import Task
from segfocal.models.outputs import main_output
from segfocal.training.penalties.base import Penalty, WeightPenalty
from segfocal.training.penalties.blocks import distances, norms
from segfocal.training.penalties.confidence import ConfidencePenalty
from segfocal.training.penalties.norms import L2SP


class Penalties(Callback):
    """Adds the gradients of penalties in front of each step, and shrinks weights behind it.

    A task makes one of its list of penalties and gives it to the trainer. It also keeps the weights that
    training began with, in memory and in checkpoints, from the first of several trainings on.

    Args:
        terms: Each kind at most once.

    Raises:
        SegfocalError: For what is no penalty, and for two of a kind.
    """

    def __init__(self, terms: Sequence[Penalty]) -> None:
        self.terms = list(terms)
        self.start: dict[str, Tensor] | None = None
        self._resumed = False
        self._hook: RemovableHandle | None = None
        for term in self.terms:
            if not isinstance(term, Penalty):
                raise SegfocalError(
                    f"penalties must be a list of penalties such as L2(1e-4), got {type(term).__name__}."
                )
        names = [term.name for term in self.terms]
        if len(set(names)) < len(names):
            raise SegfocalError(
                f"penalties must hold each kind once, got {', '.join(names)}. Add strengths up."
            )

    @property
    def in_use(self) -> bool:
        """Whether there is anything to do: a penalty, or a start to measure the distance from."""
        return bool(self.terms) or self.start is not None

    def start_from(self, network: nn.Module, *, new: Collection[str] = ()) -> None:
        """Take the weights of this moment as the start; otherwise those at the beginning of training are it.

        Args:
            network: Holds loaded weights.
            new: Names of its parameters that were not loaded.

        Raises:
            SegfocalError: For a name that it does not have.
        """
        weights = dict(network.named_parameters())
        if unknown := sorted(set(new) - weights.keys()):
            raise SegfocalError(f"new must name parameters of the network, got {', '.join(unknown[:4])}.")
        self.start = {name: weight.detach().clone() for name, weight in weights.items() if name not in new}

    def of_output(
        self, output: Any, target: Tensor, *, task: Task, ignore_index: int | None
    ) -> dict[str, Tensor]:
        """Return the penalties on a network's output, to be added to the loss of a step.

        Args:
            output: What the network returned; of several outputs the first one counts.
            target: Labels or masks.
            task: "binary", "multiclass" or "multilabel".
            ignore_index: Label that counts nowhere.

        Returns:
            ``penalty/<name>`` to a scalar.
        """
        return {
            f"penalty/{term.name}": term.value(
                main_output(output), target, task=task, ignore_index=ignore_index
            )
            for term in self.terms
            if isinstance(term, ConfidencePenalty) and term.active
        }

    def values(self, network: nn.Module) -> dict[str, Tensor]:
        """Return what to log, none of which is part of the logged loss.

        Args:
            network: The task's.

        Returns:
            ``penalty/<name>`` with details behind it, ``norm/<block>`` and ``distance/start/<block>``.
        """
        start, found = self.start or {}, {}
        for term in self._weight_terms():
            weights = term.select(network)
            if weights:
                found[f"penalty/{term.name}"] = term.value(weights, start)
                details = term.details(weights)
                found |= {f"penalty/{term.name}/{name}": value for name, value in details.items()}
        if self.in_use:
            found |= {f"norm/{block}": norm for block, norm in norms(network).items()}
            moved = distances(network, start)
            found |= {f"distance/start/{block}": distance for block, distance in moved.items()}
        return found

    def describe(self, network: nn.Module) -> list[dict[str, Any]]:
        """Return each penalty with the parameters that it leaves alone, as plain values."""
        listed: list[dict[str, Any]] = []
        for term in self.terms:
            entry: dict[str, Any] = {"penalty": repr(term)}
            if isinstance(term, WeightPenalty):
                entry |= {"tensors": len(term.select(network)), "exempt": term.exempt(network)}
            listed.append(entry)
        return listed

    def summary(self, network: nn.Module) -> str:
        """Return a line per penalty in words, each behind a line break; run.json lists every exempt name."""
        lines = []
        for entry in self.describe(network):
            exempt = entry.get("exempt", [])
            left = f" and {len(exempt) - 3} more" if len(exempt) > 3 else ""
            names = f"; exempt {', '.join(exempt[:3])}{left}" if exempt else ""
            on = f" on {entry['tensors']} tensors" if "tensors" in entry else ""
            lines.append(f"\npenalty {entry['penalty']}{on}{names}")
        return "".join(lines)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note that weights are not those that training began with."""
        self._resumed = True

    def state_dict(self) -> dict[str, Any]:
        """Return the start."""
        return {} if self.start is None else {"start": self.start}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the start."""
        self.start = state_dict.get("start", self.start)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the weights that training begins with, unless they are known."""
        network = pl_module.network
        assert isinstance(network, nn.Module)
        if self.start is not None:
            devices = {name: weight.device for name, weight in network.named_parameters()}
            self.start = {
                name: value.to(devices.get(name, value.device)) for name, value in self.start.items()
            }
        elif not self._resumed:
            self.start_from(network)
        elif any(isinstance(term, L2SP) and term.active for term in self.terms):
            raise SegfocalError(
                "L2SP pulls towards the weights that training began with, but the checkpoint holds none: it "
                "was written without penalties. Train a new run, or resume without L2SP."
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Act behind each step from now on."""

        def step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            for term in self._weight_terms():
                if term.active:
                    term.step(optimizer, term.select(pl_module.network))  # type: ignore[arg-type]

        self._hook = trainer.optimizers[0].register_step_post_hook(step)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Add the gradients of the penalties to those of the loss."""
        for term in self._weight_terms():
            weights = term.select(pl_module.network) if term.active else {}  # type: ignore[arg-type]
            if not weights:
                continue
            for weight, gradient in zip(
                weights.values(), term.gradients(weights, self.start or {}), strict=False
            ):
                weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let the optimizer go."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def _weight_terms(self) -> list[WeightPenalty]:
        return [term for term in self.terms if isinstance(term, WeightPenalty)]
