"""Pixel losses as pairs (loss, slope) of the margin: how far the wrong answer is ahead, in nats.

With margin ``z`` the probability of the true class is ``sigmoid(-z)``. ``split`` turns margins of any shape
into what all pixel losses are made of; each loss then returns its value and its derivative by ``z``; the
chain from ``z`` to the logits is the backends' matter. Nothing is raised to a power: ``u^g = exp(g log u)``
with ``log u`` computed without cancellation, so that neither a saturated pixel nor ``0 < gamma < 1`` makes a
NaN.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

FINITE = 1e30  # stands for infinity where infinity would make 0 * inf; beyond any logit, far below overflow

Number = Tensor | float


class Parts(NamedTuple):
    """What every pixel loss is made of: the margin, ``p`` of the true class, ``u = 1 - p``, ``nll = -log p``.

    ``power`` is gamma where it is known to be a small whole number: multiplying is cheaper, and ``log_u`` may
    then be None.
    """

    margin: Tensor
    p: Tensor
    u: Tensor
    nll: Tensor
    log_u: Tensor | None
    power: int | None = None


class PixelLoss(NamedTuple):
    """A pixel loss in nats and its slope, the derivative by the margin."""

    loss: Tensor
    slope: Tensor


def split(margin: Tensor, power: int | None = None) -> Parts:
    """Compute probabilities and logarithms from the margin, each to full relative precision.

    Args:
        margin: Any shape, floating point, infinities allowed.
        power: Gamma, where it is known to be a small whole number.

    Returns:
        The parts, each of the margin's shape. ``log_u`` stays finite: ``gamma * log_u`` is never 0 * inf.

    Example:
        >>> parts = split(torch.tensor([0.0]))
        >>> parts.p.item(), parts.u.item(), round(parts.nll.item(), 4)
        (0.5, 0.5, 0.6931)
    """
    small = margin.abs().neg_().exp_()
    larger = (1 + small).reciprocal_()
    # one of the two factors is 1, the other the small exponential: a maximum is faster than a choice
    wrong = margin.sign().relu_()
    rest = torch.log1p(small)
    return Parts(
        margin=margin,
        p=torch.maximum(small, 1 - wrong).mul_(larger),
        u=torch.maximum(small, wrong).mul_(larger),
        nll=torch.relu(margin) + rest,
        log_u=margin.clamp(min=-FINITE, max=0).sub_(rest) if power is None else None,
        power=power,
    )


def modulation(parts: Parts, gamma: Number, *, log_scale: Number | None = None) -> Tensor:
    """Compute the focal factor ``(u / scale)^g``, 1 for ``g = 0`` even where ``u = 0``."""
    if log_scale is not None:
        return modulation(parts, gamma) * torch.exp(-gamma * torch.as_tensor(log_scale))
    if parts.power is None:
        assert parts.log_u is not None
        return torch.exp(gamma * parts.log_u)
    return functools.reduce(torch.mul, [parts.u] * parts.power) if parts.power else torch.ones_like(parts.u)


def cross_entropy(parts: Parts) -> PixelLoss:
    """Compute cross-entropy ``-log p``; slope ``u``."""
    return PixelLoss(parts.nll, parts.u)


def focal(parts: Parts, gamma: Number, *, log_scale: Number | None = None) -> PixelLoss:
    """Compute focal loss ``u^g (-log p)``; slope ``u^g (u - g p log p)``.

    Args:
        parts: ``split(margin)``.
        gamma: Exponent >= 0, broadcastable to the margin; 0 is exactly cross-entropy.
        log_scale: Logarithm of what divides ``u`` before the power (reduced focal).

    Returns:
        Loss in nats and slope, each of the margin's shape.

    Source:
        Lin et al., Focal Loss for Dense Object Detection, 2017, eq. 4.

    Example:
        >>> round(focal(split(torch.tensor([0.0])), 2.0).loss.item(), 4)  # 0.25 log 2
        0.1733
    """
    factor = modulation(parts, gamma, log_scale=log_scale)
    # clamped, p * nll is 0 at margin = inf and not 0 * inf
    pull = gamma * (parts.p * parts.nll.clamp(max=FINITE))
    return PixelLoss(factor * parts.nll, factor * (parts.u + pull))


def part(weight: Number, value: Tensor) -> Tensor:
    """Return ``weight * value`` of a loss, 0 for weight 0 where the loss is infinite too; a NaN stays one."""
    if not isinstance(weight, Tensor):
        return weight * value if weight else value.masked_fill(value == math.inf, 0) * weight
    weight = weight.to(value.dtype)
    return weight * value.masked_fill((weight == 0) & (value == math.inf), 0)


def poly(parts: Parts, gamma: Number, epsilon: Number) -> PixelLoss:
    """Compute Poly-1 focal loss: focal ``+ epsilon u^(g+1)``.

    Source:
        Leng et al., PolyLoss, 2022, eq. 8.

    Example:
        >>> round(poly(split(torch.tensor([0.0])), 0.0, 1.0).loss.item(), 4)  # log 2 + 0.5
        1.1931
    """
    loss, slope = focal(parts, gamma)
    extra = epsilon * (modulation(parts, gamma) * parts.u)
    return PixelLoss(loss + extra, slope + (gamma + 1) * (parts.p * extra))


def tail(parts: Parts, gamma: Number, tau: Number) -> PixelLoss:
    """Compute tail-mixed focal loss ``tau CE + (1 - tau) focal``: easy pixels keep tau of CE's slope.

    Example:
        >>> tail(split(torch.tensor([0.0])), 2.0, 1.0).slope.item()
        0.5
    """
    loss, slope = focal(parts, gamma)
    return PixelLoss(part(tau, parts.nll) + part(1 - tau, loss), tau * parts.u + (1 - tau) * slope)


def knee(parts: Parts, gamma: Number, at: Number, tau: Number, offset: Number) -> PixelLoss:
    """Compute knee focal loss: focal ``+ offset`` where the margin exceeds ``at``, else ``tau`` times CE.

    ``curve.curve`` finds the numbers that make loss and slope continuous at the knee.
    """
    loss, slope = focal(parts, gamma)
    hard = parts.margin > at
    return PixelLoss(
        torch.where(hard, loss + offset, tau * parts.nll), torch.where(hard, slope, tau * parts.u)
    )


def reduced(parts: Parts, gamma: Number, at: Number, log_threshold: Number) -> PixelLoss:
    """Compute reduced focal loss: CE where the margin exceeds ``at``, else times ``(u / threshold)^g``.

    Discontinuous unless the threshold is 0.5.
    """
    loss, slope = focal(parts, gamma, log_scale=log_threshold)
    hard = parts.margin > at
    return PixelLoss(torch.where(hard, parts.nll, loss), torch.where(hard, parts.u, slope))


def convex(parts: Parts, gamma: Number, shift: Number, tau: Number) -> PixelLoss:
    """Compute convex focal loss ``tau CE + (1 - tau) softplus(g z - shift) / g``, with gamma > 0.

    Source:
        Lin et al. 2017, appendix, FL*; (gamma, shift) = (2, 1) and (4, 0) are the paper's. The mix is ours.

    Example:
        >>> round(convex(split(torch.tensor([0.0])), 4.0, 0.0, 0.0).loss.item(), 4)  # log 2 / 4
        0.1733
    """
    steep = split(gamma * parts.margin - shift)
    loss = part(tau, parts.nll) + part(1 - tau, steep.nll / gamma)
    return PixelLoss(loss, tau * parts.u + (1 - tau) * steep.u)


def pixel_loss(form: str, parts: Parts, curve: Sequence[Tensor]) -> PixelLoss:
    """Compute the pixel loss that ``form`` names.

    Args:
        form: One of ``curve.FORMS``.
        parts: ``split(margin)``.
        curve: The numbers of the form in the order of ``curve.curve``: gamma, then what the form adds.

    Returns:
        Loss in nats and slope, each of the margin's shape.
    """
    forms = {"focal": focal, "poly": poly, "tail": tail, "knee": knee, "reduced": reduced, "convex": convex}
    found: PixelLoss = forms[form](parts, *curve)  # type: ignore[operator]
    return found
