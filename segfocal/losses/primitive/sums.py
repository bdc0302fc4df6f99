"""The primitive: per image and class, the sums from which every loss and score here is made."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from segfocal.losses.primitive.backends import backend_for
from segfocal.losses.primitive.curve import Form, Number
from segfocal.losses.primitive.fields import DIFFERENTIABLE, layout, unpack
from segfocal.losses.primitive.operator import map_operator, sums_operator
from segfocal.losses.primitive.prepare import prepare
from segfocal.losses.primitive.validate import check_want, invalid_target

__all__ = ["PixelSums", "backend_for", "pixel_map", "pixel_sums"]

Activation = Literal["sigmoid", "softmax"]
Backend = Literal["eager", "compiled", "triton"]


@dataclass(frozen=True, eq=False)
class PixelSums:
    """Sums over the pixels of every image, per class.

    Shapes are (N, C), with N = 1 where images are joined; None where not asked for. Under sigmoid ``loss``,
    ``modulation``, ``weight`` and ``count`` are (N, C, 2) with the negatives first; under softmax an element
    belongs to the class of its label. Floating fields are float64.

    Attributes:
        loss: F, the pixel loss in nats, times weight and alpha. Differentiable.
        modulation: M, the focal factor ``u^gamma`` times weight.
        weight: W, the weight (1 where none is given).
        count: n, elements that are not ignored, int64; their mass where targets are soft.
        intersection: I, weight times probability times target. Differentiable.
        prediction: P, weight times probability. Differentiable.
        prediction_squared: P2, weight times squared probability. Differentiable.
        target: Y, weight times target.
        target_squared: Y2, weight times squared target.
        tp: Hard true positives, int64; unweighted, decided by the largest logit or by logit > 0.
        fp: Hard false positives, int64.
        fn: Hard false negatives, int64.
        invalid: (N,) int64, target values that are no labels; where there are any, floating fields are NaN.
    """

    loss: Tensor | None = None
    modulation: Tensor | None = None
    weight: Tensor | None = None
    count: Tensor | None = None
    intersection: Tensor | None = None
    prediction: Tensor | None = None
    prediction_squared: Tensor | None = None
    target: Tensor | None = None
    target_squared: Tensor | None = None
    tp: Tensor | None = None
    fp: Tensor | None = None
    fn: Tensor | None = None
    invalid: Tensor | None = None


def pixel_sums(
    logits: Tensor,
    target: Tensor,
    *,
    activation: Activation,
    want: Collection[str],
    gamma: Number = 0.0,
    alpha: Number | None = None,
    form: Form = "focal",
    parameter: float | Tensor | None = None,
    label_smoothing: float | Tensor = 0.0,
    ignore_index: int | None = None,
    weight: Tensor | None = None,
    validate: bool | None = None,
    joined: bool = False,
    backend: Backend | None = None,
) -> PixelSums:
    """Compute all sums that losses and scores need: one pass over the logits, one more for the gradient.

    Args:
        logits: (N, C, *S), any number of axes of space, any strides; float16, bfloat16, float32 or float64.
        target: Label map (N, *S) of any integer dtype or bool; or masks (N, C, *S), hard (integer or bool)
            or soft (floating, in [0, 1]). Binary, that is sigmoid with C = 1: (N, *S) or (N, 1, *S).
        activation: ``"softmax"``: one class per pixel; ``"sigmoid"``: every channel for itself.
        want: Names of the fields of ``PixelSums`` to compute.
        gamma: Focusing exponent, one or C of them; 0 is cross-entropy.
        alpha: None: all weigh 1. Sigmoid: weight of positives, negatives weigh ``1 - alpha``, one or C of
            them. Softmax: C weights.
        form: The pixel loss; ``curve.curve`` lists what ``parameter`` means for each.
        parameter: What the form adds to gamma.
        label_smoothing: Share e of the target given to all classes alike, in [0, 1]; region sums do not see
            it.
        ignore_index: Target value that takes no part; nothing at such a pixel matters, not even NaN.
        weight: Pixel weight (N, *S) or (N, 1, *S); under sigmoid also (N, C, *S). A weight or alpha of 0
            times an infinite loss is 0 (torch: NaN): the pixel takes no part. A NaN stays one.
        validate: Whether to look at values as well as shapes; None: on a CPU only. Without it invalid labels
            make the sums NaN.
        joined: Whether all images count as one, so that the sums are (1, C): much faster for many small
            images, tokens and rows of tables above all.
        backend: None: what ``backend_for`` says.

    Returns:
        The sums asked for.

    Raises:
        SegfocalError: Shapes, dtypes, devices or values that do not fit; a target or weight that requires
            grad.

    Source:
        Lin et al., Focal Loss for Dense Object Detection, 2017, eq. 4 and 5.

    Example:
        >>> import torch
        >>> logits, target = torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 1]])
        >>> sums = pixel_sums(logits, target, activation="softmax", want=["loss", "prediction"])
        >>> sums.loss.float(), sums.prediction.tolist()  # log 2 per pixel; half of 4 pixels
        (tensor([[0.6931, 2.0794]]), [[2.0, 2.0]])
    """
    check_want(want)
    inputs, spec, check = prepare(
        logits,
        target,
        activation,
        want,
        gamma,
        alpha,
        form,
        parameter,
        label_smoothing,
        ignore_index,
        weight,
        validate,
    )
    floats, ints = sums_operator(
        *inputs, spec.activation, spec.form, " ".join(spec.want), spec.ignore_index, joined, backend
    )
    if check and bool(ints[..., -1].any()):
        raise invalid_target(logits, inputs.target, spec)
    widths = layout(spec, inputs.target.is_floating_point())
    found = {**unpack(floats, widths.floats), **unpack(ints, widths.ints)}
    fields = {name: found[name] if name in DIFFERENTIABLE else found[name].detach() for name in spec.want}
    if "invalid" in fields:
        fields["invalid"] = fields["invalid"].sum(1)
    return PixelSums(**fields)


def pixel_map(
    logits: Tensor,
    target: Tensor,
    *,
    activation: Activation,
    gamma: Number = 0.0,
    alpha: Number | None = None,
    form: Form = "focal",
    parameter: float | Tensor | None = None,
    label_smoothing: float | Tensor = 0.0,
    ignore_index: int | None = None,
    weight: Tensor | None = None,
    validate: bool | None = None,
    joined: bool = False,
    backend: Backend | None = None,
) -> Tensor:
    """Compute the loss of every element; the arguments are those of ``pixel_sums``.

    Returns:
        Nats, alpha and weight applied, 0 where ignored, NaN where the label is none and values are not
        validated: (N, *S) for softmax, (N, C, *S) for sigmoid; float32, or float64 for float64 logits.
            Differentiable.

    Raises:
        SegfocalError: As ``pixel_sums``.

    Example:
        >>> import torch
        >>> pixel_map(torch.zeros(1, 2, 2), torch.tensor([[0, 1]]), activation="softmax", gamma=1.0)
        tensor([[0.3466, 0.3466]])
    """
    inputs, spec, check = prepare(
        logits,
        target,
        activation,
        (),
        gamma,
        alpha,
        form,
        parameter,
        label_smoothing,
        ignore_index,
        weight,
        validate,
    )
    found: Tensor = map_operator(*inputs, spec.activation, spec.form, "", spec.ignore_index, joined, backend)
    if check and bool(found.isnan().any()):
        counted = sums_operator(*inputs, spec.activation, spec.form, "", spec.ignore_index, joined, "eager")[
            1
        ]
        if bool(counted[..., -1].any()):
            raise invalid_target(logits, inputs.target, spec)
    return found
