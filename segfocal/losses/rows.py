"""Which rows the compiled functions sum, and how the wanted fields are made of them."""

from __future__ import annotations

import torch
from torch import Tensor

from segfocal.losses.fields import DIFFERENTIABLE, SPLIT, Inputs, Spec, layout, pack, sum_dtype


def rows_of(inputs: Inputs, spec: Spec) -> tuple[str, ...]:
    """Name the rows that the wanted fields are made of."""
    want = set(spec.want)
    if spec.sigmoid:
        return (*[name for name in spec.want if name != "invalid"], "invalid")
    rows = want & {"loss", "modulation", *DIFFERENTIABLE}
    if want & {"weight", "target", "target_squared"}:
        rows.add("count" if inputs.weight is None else "weight")
    if want & {"count", "tp", "fp", "fn"}:
        rows.add("count")
    if want & {"tp", "fp", "fn"}:
        rows |= {"tp", "decided"}
    return (*sorted(rows), "invalid")


def gather(found: list[Tensor], rows: tuple[str, ...], inputs: Inputs, spec: Spec) -> dict[str, Tensor]:
    """Add up the chunks and name the sums: (N, C) or (N, C, 2), float64 where there is one."""
    n, classes = inputs.logits.shape[:2]
    dtype = sum_dtype(inputs.logits.device)
    sums: dict[str, Tensor] = {}
    if spec.sigmoid:
        totals = iter([part.sum(-1, dtype=dtype) for part in found])
        for row in rows:
            sums[row] = torch.stack([next(totals), next(totals)], -1) if row in SPLIT else next(totals)
        return sums
    table = torch.stack(found).sum(-1, dtype=dtype)
    for index, row in enumerate(rows):
        sums[row] = table[index * classes : (index + 1) * classes].t()
    sums["invalid"] = torch.cat([table[-1:].t(), table.new_zeros((n, classes - 1))], 1)
    if "loss" in sums and inputs.alpha is not None:
        sums["loss"] = sums["loss"] * inputs.alpha
    mass = sums.get("weight", sums.get("count"))
    if mass is not None:
        sums["weight"] = sums["target"] = sums["target_squared"] = mass
    if "tp" in sums:
        sums["fp"], sums["fn"] = sums["decided"] - sums["tp"], sums["count"] - sums["tp"]
    return sums


def packed(sums: dict[str, Tensor], inputs: Inputs, spec: Spec) -> tuple[Tensor, Tensor]:
    """Pack the sums as the operator returns them."""
    widths = layout(spec, inputs.target.is_floating_point())
    shape, dtype = inputs.logits.shape[:2], sum_dtype(inputs.logits.device)
    floats = (
        pack(sums, widths.floats, dtype)
        if widths.floats
        else inputs.logits.new_zeros((*shape, 0), dtype=dtype)
    )
    ints = pack(sums, widths.ints, torch.int64)
    poisoned = (ints[..., -1] > 0).any(1).view(-1, 1, 1)
    return floats.masked_fill_(poisoned, float("nan")), ints
