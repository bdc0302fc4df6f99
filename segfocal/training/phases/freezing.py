"""Choose parameters by the parts that hold them, and keep the others as they are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from segfocal.errors import SegfocalError, nearest
from segfocal.models.parts import body
from segfocal.training.phases.settings import ActivePhase, BatchNorm

ALL = "all"
KEY = "segfocal_phase"


def depth_of_match(name: str, part: str, *, prefix: str = "") -> int | None:
    """Return how exactly a part names a parameter.

    Args:
        name: Dotted name of the parameter.
        part: Dotted name of a module around it, or its own, with wildcards; "all" names everything.
        prefix: Of wrappers, which the part may leave out.

    Returns:
        The number of names in the part, 0 for "all"; None where it names something else.

    Example:
        >>> depth_of_match("decoder.blocks.4.conv1.0.weight", "decoder.blocks.*")
        3
    """
    if part == ALL:
        return 0
    wanted = part.split(".")
    for own in {name, name.removeprefix(prefix)}:
        given = own.split(".")[: len(wanted)]
        if len(given) == len(wanted) and all(map(fnmatchcase, given, wanted)):
            return len(wanted)
    return None


def most_exact(
    network: nn.Module, parts: Collection[str], *, among: Iterable[str], option: str
) -> dict[str, str]:
    """Return for each parameter the part that names it most exactly.

    Args:
        network: Whose parameters.
        parts: As in `depth_of_match`.
        among: Names of the parameters to choose from.
        option: Where the parts were given, for messages.

    Returns:
        Name to part, without those that no part names.

    Raises:
        SegfocalError: For a part that names none of them, with the nearest names.
    """
    names, prefix = list(among), body(network)[1]
    found: dict[str, tuple[int, str]] = {}
    for part in parts:
        depths = {name: depth_of_match(name, part, prefix=prefix) for name in names}
        if all(depth is None for depth in depths.values()):
            raise _no_match(part, names, prefix, option)
        for name, depth in depths.items():
            if depth is not None and depth >= found.get(name, (-1, ""))[0]:
                found[name] = depth, part
    return {name: part for name, (_, part) in found.items()}


def trained_parameters(
    network: nn.Module,
    train: Sequence[str],
    *,
    batch_norm: BatchNorm,
    trainable: Collection[str],
    option: str,
) -> set[str]:
    """Return the names of the parameters that a phase trains.

    Args:
        network: Whose.
        train: Parts to train.
        batch_norm: "frozen" leaves out scale and shift of every batch normalisation.
        trainable: Names of those that the network itself does not freeze.
        option: Where the parts were given, for messages.

    Returns:
        Names, at least one.

    Raises:
        SegfocalError: For a part that names nothing, or where nothing is left to train.
    """
    named = [name for name, _ in network.named_parameters() if name in trainable]
    chosen = set(most_exact(network, train, among=named, option=option))
    if batch_norm == "frozen":
        chosen -= {
            f"{path}.{own}"
            for path, module in network.named_modules()
            if isinstance(module, _BatchNorm)
            for own, _ in module.named_parameters(recurse=False)
        }
    if not chosen:
        raise SegfocalError(f"{option}: nothing is left to train in {', '.join(train)} once every batch "
                            "normalisation is frozen.")  # fmt: skip
    return chosen


def freeze_all_but(network: nn.Module, chosen: Collection[str]) -> None:
    """Let exactly these parameters have gradients.

    Args:
        network: Changed in place.
        chosen: Names.
    """
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in chosen)
        parameter.grad = None


def kept_in_evaluation(network: nn.Module, *, batch_norm: BatchNorm) -> list[nn.Module]:
    """Return the modules that must not be in training mode: frozen parts, and batch normalisations.

    Args:
        network: With its frozen parameters.
        batch_norm: "train" keeps only frozen parts, otherwise every batch normalisation as well.

    Returns:
        The outermost modules that have parameters, all of them frozen; then batch normalisations.
    """
    frozen = list(_frozen_parts(network))
    if batch_norm == "train":
        return frozen
    return frozen + [module for module in network.modules() if isinstance(module, _BatchNorm)]


class KeepFrozen(Callback):
    """Keeps frozen parts in evaluation mode while the rest trains, and marks checkpoints with the phase.

    Args:
        active: The phase.
    """

    def __init__(self, active: ActivePhase) -> None:
        self.active = active
        self._kept: list[nn.Module] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find what to keep."""
        network = pl_module.network
        assert isinstance(network, nn.Module)
        self._kept = kept_in_evaluation(network, batch_norm=self.active.phase.batch_norm)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Undo whatever put the whole network into training mode."""
        for module in self._kept:
            if module.training:
                module.eval()

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add which phase it is, and where it began."""
        active = self.active
        checkpoint[KEY] = {
            "name": active.phase.name,
            "number": active.number,
            "first_step": active.first_step,
            "first_epoch": active.first_epoch,
        }


def phase_in(checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a checkpoint says about its phase, None where it was written by another verb."""
    found = checkpoint.get(KEY)
    return None if found is None else dict(found)


def _frozen_parts(module: nn.Module) -> Iterable[nn.Module]:
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        yield module
        return
    for child in module.children():
        yield from _frozen_parts(child)


def _no_match(part: str, names: Sequence[str], prefix: str, option: str) -> SegfocalError:
    known: dict[str, None] = {}
    for name in names:
        words = name.removeprefix(prefix).split(".")
        known |= dict.fromkeys(".".join(words[:end]) for end in range(1, len(words)))
    top = [name for name in known if "." not in name]
    return SegfocalError(
        f"{option} must name parts of the network with weights to train, got {part!r}."
        f"{nearest(part, known)} Its parts are {', '.join(top[:8])}; all stands for everything."
    )
