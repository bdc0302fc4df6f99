"""What the scores of a network trained with focal loss mean."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segfocal.errors import SegfocalError, check_choice
from segfocal.losses.checks import numbers
from segfocal.losses.needs import PixelTerm
from segfocal.losses.primitive.curve import slope_ratio
from segfocal.losses.primitive.fields import sum_dtype
from segfocal.losses.reduction import Task


def focal_posterior(scores: Tensor, gamma: float | Sequence[float] | Tensor, task: Task) -> Tensor:
    """Return the class posteriors behind the scores of a network trained with focal loss.

    The minimiser of the focal risk is not the posterior: for gamma = 2 a score of .6 stands for .748, one of
    .75 for .950. Argmax and the order of the scores stay. Valid for focal loss alone, without alpha and label
    smoothing; ``FocalLoss.posterior`` undoes those, and refuses where there is nothing exact to undo.

    Args:
        scores: Probabilities. Multiclass: classes along axis 1 (axis 0 of a vector), summing to 1. Otherwise
            each element for itself.
        gamma: The exponent used in training, or one per class.
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.

    Returns:
        Posteriors, same shape, float64 for float64 scores, else float32.

    Raises:
        SegfocalError: For an unknown task, a negative gamma, or scores that are no probabilities.

    Source:
        Charoenphakdee et al., "On Focal Loss for Class-Posterior Probability Estimation", 2021, Theorem 11:
        ``h(v_i) / sum_j h(v_j)``, ``h(v) = v / ((1-v)^g - g (1-v)^(g-1) v log v)``, evaluated in logarithms.

    Example:
        >>> focal_posterior(torch.tensor([0.6, 0.75, 0.9]), 2.0, "binary")
        tensor([0.7475, 0.9501, 0.9974])
    """
    check_choice("task", task, ("binary", "multiclass", "multilabel"))
    exponent = numbers("gamma", gamma).to(scores.device)
    return invert(scores, task, PixelTerm(exponent, None, "focal", None, 0.0))


def amplified_below(gamma: float) -> float:
    """Return p0(gamma): below this p_t, focal loss is steeper than cross-entropy.

    Args:
        gamma: Focusing exponent; 0 gives 0, for cross-entropy is nowhere steeper than itself.

    Returns:
        The root of G(p) = 1, to 1e-12.

    Example:
        >>> round(amplified_below(2.0), 4)
        0.2976
    """
    if gamma == 0:
        return 0.0
    low, high = 1e-12, 0.5  # G(p) > 1 near 0 and < 1 at 0.5, whatever gamma
    exponent = torch.tensor(gamma, dtype=torch.float64)
    for _ in range(40):
        middle = (low + high) / 2
        steeper = slope_ratio(torch.tensor(middle, dtype=torch.float64), exponent).item() > 1
        low, high = (middle, high) if steeper else (low, middle)
    return high


def check_invertible(form: str, parameter: Tensor | None, alpha: Tensor | None, task: Task) -> None:
    """Raise where the minimiser of a pixel loss does not determine the posterior.

    Args:
        form: The form of the pixel loss.
        parameter: Its parameter.
        alpha: Its class weights.
        task: The task.

    Raises:
        SegfocalError: Reduced focal loss (not convex), poly below 0, or a weight of 0.
    """
    if form == "reduced":
        raise SegfocalError("reduced focal loss is not convex in p: many posteriors share a score.")
    if form == "poly" and parameter is not None and bool((parameter < 0).any()):
        raise SegfocalError(
            f"poly = {parameter.item():g} makes the loss non-convex in p. Only poly >= 0 has a posterior."
        )
    if alpha is None:
        return
    weights = alpha if task == "multiclass" else torch.stack([alpha, 1 - alpha])
    if bool((weights <= 0).any()):
        raise SegfocalError(f"alpha = {alpha.tolist()} gives a class no weight: its posterior is unknown.")


def invert(scores: Tensor, task: Task, term: PixelTerm) -> Tensor:
    """Return ``q_i ~ -1 / L'(v_i)``, normalised, for any pixel loss convex in p, alpha and smoothing undone.

    Args:
        scores: As in :func:`focal_posterior`.
        task: The task.
        term: The pixel loss.

    Returns:
        Posteriors of the scores' shape.

    Raises:
        SegfocalError: Where the scores are no probabilities, or gamma has another number of classes.
    """
    _check_scores(scores, term)
    result = torch.float64 if scores.dtype == torch.float64 else torch.float32
    v = scores.detach().to(sum_dtype(scores.device))
    smoothing = term.label_smoothing
    if task == "multiclass":
        axis = 1 if v.ndim > 1 else 0
        log_q = _log_weight(v, term)
        if term.alpha is not None:
            log_q = log_q - _along(term.alpha, v).log()
        q = (log_q.softmax(axis) - smoothing / v.shape[axis]) / (1 - smoothing)
        q = q.clamp(min=0)
        return (q / q.sum(axis, keepdim=True)).to(result)
    logit = _log_weight(v, term) - _log_weight(1 - v, term)
    if term.alpha is not None:
        logit = logit - torch.logit(_along(term.alpha, v))
    q = (logit.sigmoid() - smoothing / 2) / (1 - smoothing)
    return q.clamp(0, 1).to(result)


def _check_scores(scores: Tensor, term: PixelTerm) -> None:
    """Raise where scores are integers or lie outside [0, 1], as logits do, or do not fit gamma and alpha."""
    if not scores.is_floating_point():
        raise SegfocalError(f"scores must be floating-point probabilities, got {scores.dtype}.")
    slack = 1e-2  # sums of rounded halves, blended tiles
    if not torch.compiler.is_compiling() and bool(((scores < -slack) | (scores > 1 + slack)).any()):
        raise SegfocalError(
            f"scores must lie in [0, 1], got [{scores.min().item():g}, {scores.max().item():g}]. "
            "Apply sigmoid or softmax to the logits first."
        )
    classes = scores.shape[min(scores.ndim, 2) - 1] if scores.ndim else 1
    for name, values in {"gamma": term.gamma, "alpha": term.alpha}.items():
        if values is not None and values.numel() not in (1, classes):
            raise SegfocalError(
                f"{name} holds {values.numel()} numbers, but scores of shape {tuple(scores.shape)} have "
                f"{classes} classes. Put the classes along axis 1."
            )


def _log_weight(v: Tensor, term: PixelTerm) -> Tensor:
    """Return log h(v) = log v - log G(v), G the slope of the loss over that of cross-entropy."""
    v = v.clamp(torch.finfo(v.dtype).tiny, 1 - torch.finfo(v.dtype).eps / 2)
    return v.log() - _log_slope_ratio(v, _along(term.gamma, v), term)


def _log_slope_ratio(v: Tensor, gamma: Tensor, term: PixelTerm) -> Tensor:
    """Return log G(v) for each form; near v = 1 the power is kept apart, so that nothing underflows."""
    pull = -gamma * v * v.log() / (1 - v)
    focal = gamma * torch.log1p(-v) + torch.log1p(pull)
    if term.form == "focal" or term.parameter is None:
        return focal
    value = term.parameter.to(v)
    if term.form == "poly":
        return gamma * torch.log1p(-v) + torch.log1p(pull + value * (gamma + 1) * v)
    if term.form == "tail":
        return (value + (1 - value) * focal.exp()).log()
    if term.form == "knee":
        return torch.where(v < value, focal, slope_ratio(value, gamma).log())
    assert term.form == "convex"
    shift, tail = value[0], value[1]
    steep = torch.sigmoid(-gamma * torch.logit(v) - shift) / (1 - v)
    ratio: Tensor = tail + (1 - tail) * steep
    return ratio.log()


def _along(values: Tensor, scores: Tensor) -> Tensor:
    """Shape per-class numbers so that they meet the class axis of the scores."""
    values = values.to(scores)
    return values if values.ndim == 0 or scores.ndim < 2 else values.view(-1, *(1,) * (scores.ndim - 2))
