"""The same losses by ours and by the peers: who offers one, what it takes, which formula it follows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.bench import peers
from experiments.bench.nnunet import CrossEntropyAndDice
from experiments.bench.problems import BINARY, ROWS, SOFTMAX
from segfocal.losses import FocalDiceLoss, FocalLoss
from segfocal.losses.primitive.backends import VARIABLE, triton_here

Loss = Callable[[Tensor, Tensor], Tensor]
BACKENDS = {"cpu": ("compiled", "eager"), "cuda": ("triton", "eager")}


@dataclass(frozen=True)
class Provider:
    """One loss of one library.

    Attributes:
        name: As in the rows.
        loss: From logits and target to a scalar.
        library: The package whose version belongs to the rows.
        formula: Which of ``references.FORMULAS`` it follows; ours is named like the stem.
        takes: Dtype of its target, None for that of the logits.
        backend: Which of our backends is forced, None for a peer.
        how: "plain", "torch.compile" or "cuda graph".
    """

    name: str
    loss: Loss
    library: str
    formula: str
    takes: torch.dtype | None
    backend: str | None = None
    how: str = "plain"

    @property
    def label(self) -> str:
        """Name and how it is run."""
        return self.name if self.how == "plain" else f"{self.name}, {self.how}"


def ours(stem: str, device: str) -> Iterator[Provider]:
    """Give our loss by every backend of the device."""
    for backend in BACKENDS[device]:
        if backend == "triton" and not triton_here():
            print("skipped: segfocal triton, no triton or no kernels here")
            continue
        name, takes = f"segfocal {backend}", torch.int64 if stem == ROWS else torch.uint8
        yield Provider(name, our_loss(stem).to(device), "segfocal", stem, takes, backend=backend)


def our_loss(stem: str) -> torch.nn.Module:
    """Return ours."""
    if stem == SOFTMAX:
        return FocalDiceLoss("multiclass", 2.0)
    return FocalLoss("binary" if stem == BINARY else "multiclass", 2.0)


def of_torch(stem: str) -> Iterator[Provider]:
    """Give cross-entropy alone, and the loss of nnU-Net's trainer; of rows, focal loss in four lines."""
    if stem == BINARY:
        cross_entropy = F.binary_cross_entropy_with_logits
        yield Provider("torch bce", cross_entropy, "torch", "binary cross-entropy", None)
        return
    yield Provider("torch cross_entropy", F.cross_entropy, "torch", "cross-entropy", torch.int64)
    if stem == ROWS:
        yield Provider("focal in four lines", focal_in_four_lines, "torch", stem, torch.int64)
        return
    loss = CrossEntropyAndDice()
    yield Provider("nnU-Net CE+Dice", loss, "torch", "cross-entropy - dice", torch.int16)


def focal_in_four_lines(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute softmax focal loss as most people write it."""
    surprise = F.cross_entropy(logits, labels, reduction="none")
    true_class = torch.exp(-surprise)
    modulated = (1 - true_class) ** 2.0 * surprise
    return modulated.mean()


def of_peers(stem: str, without: Iterable[str]) -> Iterator[Provider]:
    """Give what the peers offer; a library that cannot be imported is named and left out."""
    offers = {BINARY: peers.BINARY_FOCAL, SOFTMAX: peers.SOFTMAX_FOCAL_AND_DICE, ROWS: {}}[stem]
    for library, offer in offers.items():
        if library in without:
            continue
        try:
            found = offer()
        except (ImportError, RuntimeError, AttributeError) as error:
            print(f"skipped: {library}, {str(error).splitlines()[0]}")
            continue
        for name, (loss, formula, takes) in found.items():
            yield Provider(name, loss, library, formula, takes)


def providers(stem: str, device: str, without: Iterable[str] = ()) -> list[Provider]:
    """Give everything that computes this loss or the part of it that its library has."""
    return [*ours(stem, device), *of_peers(stem, without), *of_torch(stem)]


def target_for(provider: Provider, logits: Tensor, labels: Tensor) -> Tensor:
    """Return the labels in the dtype that the provider takes."""
    return labels.to(provider.takes or logits.dtype)


@contextmanager
def forced(backend: str | None) -> Iterator[None]:
    """Have our losses run on this backend; None changes nothing."""
    if backend is None:
        yield
        return
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = backend
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
