"""What the primitive can return, and how the fields travel through the operator as two packed tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

REGION = ("intersection", "prediction", "prediction_squared")
DIFFERENTIABLE = ("loss", *REGION)
MASSES = ("modulation", "weight", "target", "target_squared")
COUNTS = ("count", "tp", "fp", "fn")
FIELDS = (*DIFFERENTIABLE, *MASSES, *COUNTS, "invalid")
FLOATS, FLOATS_SOFT = (*DIFFERENTIABLE, *MASSES), (*DIFFERENTIABLE, *MASSES, "count")
SPLIT = ("loss", "modulation", "weight", "count")  # negatives and positives apart where sigmoid is used


class Inputs(NamedTuple):
    """The tensors of one call, in the shapes that the backends expect."""

    logits: Tensor  # (N, C, *S)
    target: Tensor  # label map (N, *S), or masks (N, C, *S): hard where integer or bool, soft where floating
    weight: Tensor | None  # (N, 1, *S) or (N, C, *S)
    curve: Tensor  # (rows of the form, 1 or C)
    alpha: Tensor | None  # (C,)
    smoothing: Tensor | None  # ()


@dataclass(frozen=True)
class Spec:
    """The choices of one call that are not tensors."""

    activation: str
    form: str
    want: tuple[str, ...]
    ignore_index: int | None

    @property
    def sigmoid(self) -> bool:
        """Whether every channel is a problem of its own."""
        return self.activation == "sigmoid"


class Layout(NamedTuple):
    """Widths of the packed fields: ``floats`` (N, C, sum of widths), ``ints`` likewise."""

    floats: Mapping[str, int]
    ints: Mapping[str, int]


def layout(spec: Spec, soft: bool) -> Layout:
    """List which field occupies how many columns of which packed tensor.

    Args:
        spec: The choices of the call; ``want`` in any order.
        soft: Whether the target is floating, so that ``count`` is a mass.

    Returns:
        Ordered widths. Differentiable fields come first; ``invalid`` is always there, last of the integers.
    """
    double = SPLIT if spec.sigmoid else ()
    floats, ints = (FLOATS_SOFT, COUNTS[1:]) if soft else (FLOATS, COUNTS)
    wanted = spec.want
    return Layout(
        floats={name: 2 if name in double else 1 for name in floats if name in wanted},
        ints={**{name: 2 if name in double else 1 for name in ints if name in wanted}, "invalid": 1},
    )


def pack(sums: Mapping[str, Tensor], widths: Mapping[str, int], dtype: torch.dtype) -> Tensor:
    """Concatenate fields of shape (N, C) or (N, C, 2) along a new last axis."""
    columns = [sums[name].unsqueeze(-1) if width == 1 else sums[name] for name, width in widths.items()]
    if not columns:
        return next(iter(sums.values())).new_zeros((0,), dtype=dtype)
    return torch.cat([column.to(dtype) for column in columns], dim=-1)


def unpack(packed: Tensor, widths: Mapping[str, int]) -> dict[str, Tensor]:
    """Cut a packed tensor into its fields."""
    if not widths:
        return {}
    columns = packed.split(list(widths.values()), dim=-1)
    return {
        name: column.squeeze(-1) if width == 1 else column
        for (name, width), column in zip(widths.items(), columns, strict=True)
    }


def map_shape(logits: Tensor, spec: Spec) -> tuple[int, ...]:
    """Return the shape of the losses of all elements: (N, *S) for softmax, (N, C, *S) for sigmoid."""
    return logits.shape if spec.sigmoid else (logits.shape[0], *logits.shape[2:])


def sum_dtype(device: torch.device) -> torch.dtype:
    """Return float64, or float32 on the one device family without it."""
    return torch.float32 if device.type == "mps" else torch.float64


def work_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the precision in which pixels are computed: float64 stays, all else is float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32
