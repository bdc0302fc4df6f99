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
from experiments.bench.problems import BINARY, SOFTMAX
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
        loss = FocalLoss("binary", 2.0) if stem == BINARY else FocalDiceLoss("multiclass", 2.0)
        name = f"segfocal {backend}"
        yield Provider(name, loss.to(device), "segfocal", stem, torch.uint8, backend=backend)


def of_torch(stem: str) -> Iterator[Provider]:
    """Give cross-entropy alone, and the loss of nnU-Net's trainer."""
    if stem == BINARY:
        cross_entropy = F.binary_cross_entropy_with_logits
        yield Provider("torch bce", cross_entropy, "torch", "binary cross-entropy", None)
        return
    yield Provider("torch cross_entropy", F.cross_entropy, "torch", "cross-entropy", torch.int64)
    loss = CrossEntropyAndDice()
    yield Provider("nnU-Net CE+Dice", loss, "torch", "cross-entropy - dice", torch.int16)


def of_peers(stem: str, without: Iterable[str]) -> Iterator[Provider]:
    """Give what the peers offer; a library that cannot be imported is named and left out."""
    offers = {BINARY: peers.BINARY_FOCAL, SOFTMAX: peers.SOFTMAX_FOCAL_AND_DICE}[stem]
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
