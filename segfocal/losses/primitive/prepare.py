"""What a caller hands to the primitive, checked and brought into the form of the operators."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from segfocal.errors import SegfocalError
from segfocal.losses.primitive.curve import Number, as_row, curve
from segfocal.losses.primitive.elements import valid_elements
from segfocal.losses.primitive.fields import Inputs, Spec
from segfocal.losses.primitive.settings import check_length, check_settings
from segfocal.losses.primitive.validate import (
    check_logits,
    check_no_grad,
    check_target,
    check_weight,
    check_weight_values,
)


def prepare(
    logits: Tensor,
    target: Tensor,
    activation: str,
    want: Collection[str],
    gamma: Number,
    alpha: Number | None,
    form: str,
    parameter: float | Tensor | None,
    label_smoothing: float | Tensor,
    ignore_index: int | None,
    weight: Tensor | None,
    validate: bool | None,
) -> tuple[Inputs, Spec, bool]:
    """Check the arguments of a call and bring them into the form of the operators."""
    check_logits(logits, activation, target)
    check_no_grad(target=target, weight=weight, gamma=gamma, alpha=alpha, parameter=parameter)
    device = logits.device
    # while a graph is traced, samples are mapped over or tensors are fake, there are no values to look at
    unseen = (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or isinstance(logits, FakeTensor)
        or isinstance(target, FakeTensor)
    )
    check = (device.type == "cpu" if validate is None else validate) and not unseen
    row = None if alpha is None else as_row(alpha, device)
    inputs = Inputs(
        logits=logits,
        target=check_target(logits, target, activation, ignore_index),
        weight=check_weight(logits, weight, activation),
        curve=curve(form, gamma, parameter, device),
        alpha=row,
        smoothing=smoothing_of(label_smoothing, device),
    )
    spec = Spec(activation, form, tuple(sorted(want)), ignore_index)
    check_length("gamma", inputs.curve[0], logits.shape[1], scalar=True)
    if row is not None:
        check_length("alpha", row, logits.shape[1], scalar=spec.sigmoid)
    if not torch.compiler.is_compiling():
        check_settings(spec, gamma, alpha, parameter, label_smoothing, look=check)
    if check:
        check_distribution(inputs, spec)
        check_weight_values(inputs.weight)
    return inputs, spec, check


def check_distribution(inputs: Inputs, spec: Spec) -> None:
    """Raise where masks under softmax do not share out every pixel; values that are no labels come later."""
    target = inputs.target
    if spec.sigmoid or target.ndim < inputs.logits.ndim:
        return
    masks = target.float() if target.dtype in (torch.float16, torch.bfloat16) else target
    off = (masks.sum(1) - 1).abs() > 0.01  # halves are rounded
    valid = valid_elements(target, spec.ignore_index)
    if valid is not None:
        off &= valid.all(1)
    wrong = int(off.sum())
    if wrong and bool(((masks >= 0) & (masks <= 1)).movedim(1, -1)[off].all()):
        remedy = "Add the background as class 0, or use the task multilabel."
        if masks.ndim > 2 and bool(((masks.sum(-1) - 1).abs() <= 0.01).all()):  # the classes lie last
            both = masks.movedim(-1, 1).shape != masks.shape
            remedy = f"Did you mean {'logits.movedim(-1, 1) and ' if both else ''}target.movedim(-1, 1)?"
        raise SegfocalError(
            f"masks under softmax must sum to 1 over the classes, background included, got {wrong} pixels "
            f"where they do not. {remedy}"
        )


def smoothing_of(label_smoothing: float | Tensor, device: torch.device) -> Tensor | None:
    """Return the smoothing as a tensor, None where it is the number 0."""
    if isinstance(label_smoothing, Tensor):
        return as_row(label_smoothing, device).reshape(())
    return None if label_smoothing == 0 else as_row(label_smoothing, device).reshape(())
