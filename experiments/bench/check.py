"""No number without this: every provider against its formula in float64, on a cut of the same data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.bench.problems import Problem, halved, make
from experiments.bench.providers import Provider, forced, target_for
from experiments.bench.references import FORMULAS

LARGEST = {"cpu": 2**18, "cuda": 2**26}
OURS, PEERS = (1e-5, 1e-4), (1e-4, 1e-3)
# one rounding of the gradient to the dtype of the logits
ROUNDING = {torch.float32: 0.0, torch.bfloat16: 2**-8}


class WrongNumberError(Exception):
    """A provider does not compute its formula: nothing may be printed of it."""


@dataclass(frozen=True)
class Reference:
    """Value and gradient of a formula in float64."""

    value: Tensor
    gradient: Tensor


def reference(formula: str, logits: Tensor, labels: Tensor) -> Reference:
    """Compute a formula in float64."""
    leaf = logits.double().requires_grad_()
    value = FORMULAS[formula](leaf, labels.long())
    return Reference(value.detach(), torch.autograd.grad(value, leaf)[0])


def gradient_error(gradient: Tensor, expected: Tensor, rounding: float) -> float:
    """Return the largest error of an element relative to it, where it is above 1 % of the largest one.

    Elements below are measured by 1 % of the largest.
    """
    size = expected.abs()
    error = (gradient.double() - expected).abs() - rounding * size
    return float((error / size.clamp_min(0.01 * size.max())).max())


def check(provider: Provider, logits: Tensor, labels: Tensor, known: Reference) -> None:
    """Raise where value or gradient of a provider is not that of its formula."""
    leaf, target = logits.clone().requires_grad_(), target_for(provider, logits, labels)
    with forced(provider.backend):
        value = provider.loss(leaf, target)
        gradient = torch.autograd.grad(value, leaf)[0]
    found = (
        float((value.detach().double() - known.value).abs() / known.value.abs()),
        gradient_error(gradient, known.gradient, ROUNDING[logits.dtype]),
    )
    allowed = OURS if provider.backend else PEERS
    # written so that NaN fails
    if not all(error <= limit for error, limit in zip(found, allowed, strict=True)):
        raise WrongNumberError(
            f"{provider.label} is not {provider.formula!r} on {tuple(logits.shape)} {logits.dtype}: relative "
            f"error of the value {found[0]:.1e} (allowed {allowed[0]:.0e}), of the gradient {found[1]:.1e} "
            f"(allowed {allowed[1]:.0e}). Nothing was measured."
        )


def check_all(problem: Problem, providers: list[Provider], dtype: torch.dtype, device: str) -> list[Provider]:
    """Return the providers that compute their formula; a peer that raises is left out with a line.

    Peers are checked in float32 whatever the dtype, since in half precision they round on the way.

    Raises:
        WrongNumberError: One of them computes something else.
    """
    cut = halved(problem, LARGEST[device])
    right = []
    for formula, group in by_formula(providers).items():
        for of_us in (True, False):
            mine = [provider for provider in group if bool(provider.backend) == of_us]
            if not mine:
                continue
            logits, labels = make(cut, dtype if of_us else torch.float32, device)
            known = reference(formula, logits, labels)
            right += [provider for provider in mine if passes(provider, logits, labels, known)]
    return sorted(right, key=providers.index)


def by_formula(providers: Iterable[Provider]) -> dict[str, list[Provider]]:
    """Group providers."""
    groups: dict[str, list[Provider]] = {}
    for provider in providers:
        groups.setdefault(provider.formula, []).append(provider)
    return groups


def passes(provider: Provider, logits: Tensor, labels: Tensor, known: Reference) -> bool:
    """Return whether the provider runs at all; raise where it gives a wrong number, or where ours raises."""
    try:
        check(provider, logits, labels, known)
    except WrongNumberError:
        raise
    except Exception as error:
        if provider.backend:
            raise
        print(f"skipped: {provider.label}, {(str(error).splitlines() or [type(error).__name__])[0]}")
        return False
    return True
