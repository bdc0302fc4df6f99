"""The sums written out naively: float64 probabilities, one-hot targets, autograd. Plainly the formulas."""

import math

import torch
import torch.nn.functional as F


def phi(p, gamma, form, parameter):
    """The pixel loss as a function of the probability of the true class."""
    nll, u = -p.log(), 1 - p
    focal = u**gamma * nll
    if form == "poly":
        return focal + parameter * u ** (gamma + 1)
    if form == "tail":
        return parameter * nll + (1 - parameter) * focal
    if form == "knee":
        k, rest = parameter, 1 - parameter
        tau = rest**gamma - gamma * k * rest ** (gamma - 1) * math.log(k)
        return torch.where(p < k, focal + (tau - rest**gamma) * -math.log(k), tau * nll)
    if form == "reduced":
        return torch.where(p < parameter, nll, (u / parameter) ** gamma * nll)
    if form == "convex":
        shift, tau = parameter
        return tau * nll + (1 - tau) * F.softplus(-(gamma * (p / u).log() + shift)) / gamma
    return focal


def distribution(logits, target, ignore_index):
    """The target as q (N, C, *S) and where it counts."""
    classes = logits.shape[1]
    if target.ndim < logits.ndim and classes > 1:
        valid = torch.ones_like(target, dtype=torch.bool) if ignore_index is None else target != ignore_index
        label = torch.where(valid, target.long(), 0)
        q = F.one_hot(label, classes).movedim(-1, 1).double()
        return q * valid.unsqueeze(1), valid.unsqueeze(1).expand_as(q)
    masks = target.reshape(logits.shape)
    valid = torch.ones_like(masks, dtype=torch.bool) if ignore_index is None else masks != ignore_index
    return torch.where(valid, masks.double(), 0.0), valid


def total(value):
    """Sum over space."""
    return value.unsqueeze(-1).flatten(2).sum(2)


def reference_sums(
    logits, target, *, activation, gamma=0.0, alpha=None, form="focal", parameter=None, label_smoothing=0.0,
    ignore_index=None, weight=None,
):  # fmt: skip
    """All fields of PixelSums, and the loss of every element as ``map``."""
    softmax, e = activation == "softmax", label_smoothing
    q, valid = distribution(logits, target, ignore_index)
    if softmax:
        valid = valid.all(1, keepdim=True).expand_as(q)
        q = q * valid
    w = (
        torch.ones_like(q)
        if weight is None
        else weight.double().reshape(len(q), -1, *q.shape[2:]).expand_as(q)
    )
    w = w * valid
    shape = (1, -1, *[1] * (logits.ndim - 2))
    g = torch.as_tensor(gamma, dtype=torch.float64).reshape(shape)
    p = logits.softmax(1) if softmax else logits.sigmoid()
    found = {}
    if softmax:
        each = phi(p, g, form, parameter) * (
            1 if alpha is None else torch.as_tensor(alpha, dtype=torch.float64).reshape(shape)
        )
        share = w * q * ((1 - e) * each + e * each.mean(1, keepdim=True))
        found["map"], found["loss"] = share.sum(1), total(share)
        found["modulation"], found["weight"] = total(w * q * (1 - p) ** g), total(w * q)
        found["count"] = total(q)
    else:
        a = 1 if alpha is None else torch.as_tensor(alpha, dtype=torch.float64).reshape(shape)
        as_0, as_1 = (
            phi(1 - p, g, form, parameter) * (1 if alpha is None else 1 - a),
            phi(p, g, form, parameter) * a,
        )
        sides = ((1 - q) * ((1 - e / 2) * as_0 + e / 2 * as_1), q * ((1 - e / 2) * as_1 + e / 2 * as_0))
        found["map"] = w * (sides[0] + sides[1])
        found["loss"] = torch.stack([total(w * side) for side in sides], -1)
        factors = ((1 - q) * p**g, q * (1 - p) ** g)
        found["modulation"] = torch.stack([total(w * factor) for factor in factors], -1)
        found["weight"] = torch.stack([total(w * (1 - q)), total(w * q)], -1)
        found["count"] = torch.stack([total((1 - q) * valid), total(q * valid)], -1)
    found |= {
        "intersection": total(w * p * q),
        "prediction": total(w * p),
        "prediction_squared": total(w * p * p),
    }
    found |= {"target": total(w * q), "target_squared": total(w * q * q)}
    return found | hard_counts(logits, q, valid, softmax)


def hard_counts(logits, q, valid, softmax):
    """Hard true positives, false positives and false negatives."""
    if softmax:
        classes = logits.shape[1]
        decided, label = (F.one_hot(v.argmax(1), classes).movedim(-1, 1).bool() & valid for v in (logits, q))
    else:
        decided, label = (logits > 0) & valid, (q > 0.5) & valid
    return {"tp": total(decided & label), "fp": total(decided & ~label), "fn": total(~decided & label)}
