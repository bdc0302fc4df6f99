"""What all adapters share: settings that can be printed, and one pass for all terms."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from segfocal.errors import SegfocalError, check_choice
from segfocal.losses.checks import numbers
from segfocal.losses.evaluation import result_dtype
from segfocal.losses.module import LossModule
from segfocal.losses.needs import Needs, compute, plan, union
from segfocal.losses.primitive.sums import PixelSums


class Call(NamedTuple):
    """What a peer's call comes down to: the arguments of one pass.

    Args:
        logits: ``(N, C, *S)``.
        target: Label map ``(N, *S)`` or masks ``(N, C, *S)``.
        ignore_index: Label left out, or ``None``.
        weight: Pixel weights, see ``pixel_sums``, or ``None``.
    """

    logits: Tensor
    target: Tensor
    ignore_index: int | None = None
    weight: Tensor | None = None


class Adapter(LossModule):
    """A module with the constructor of a peer.

    Args:
        given: The constructor's arguments by name, more may be in it.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__()
        self._given = {name: plain(given[name]) for name in inspect.signature(type(self)).parameters}

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return self._given


class PeerLoss(Adapter):
    """A peer's loss as arithmetic on sums; unlike our own losses it may ask for sizes.

    Peers divide by elements that no sum holds, such as the ignored ones.
    """

    @abstractmethod
    def needs(self, call: Call) -> Needs:
        """Return which sums the loss is computed from."""

    @abstractmethod
    def from_sums(self, sums: PixelSums, call: Call) -> Tensor:
        """Return the loss from the sums that :meth:`needs` names, and the sizes of the call's tensors."""


def evaluate(losses: Sequence[PeerLoss], call: Call) -> list[Tensor]:
    """Compute losses of the same logits and target, in one pass where activations agree.

    Args:
        losses: At most one pixel loss per activation.
        call: The tensors.

    Returns:
        The value of each; float32, or float64 for float64 logits.

    Raises:
        SegfocalError: For shapes, dtypes or labels that do not fit.
    """
    needs = [loss.needs(call) for loss in losses]
    values: dict[int, Tensor] = {}
    for group in plan(needs):
        sums = compute(union([needs[i] for i in group]), call.logits, call.target, call.weight)
        for i in group:
            values[i] = losses[i].from_sums(sums, call).to(result_dtype(call.logits))
    return [values[i] for i in range(len(losses))]


def not_carried(argument: str, value: object, remedy: str) -> SegfocalError:
    """Return the error for an argument that has no counterpart here.

    Args:
        argument: Its name.
        value: What the caller gave.
        remedy: One or two sentences: why, and what to do instead.

    Returns:
        The error, to be raised.
    """
    return SegfocalError(f"{argument}={plain(value)!r} is not carried over by this adapter: {remedy}")


def choice(argument: str, value: str, choices: Sequence[str]) -> str:
    """Return one of the choices as a plain string; peers give enumerations too.

    Args:
        argument: Its name, for the message.
        value: A string, or a member of an enumeration of strings.
        choices: What is allowed.

    Returns:
        The choice that equals the value.

    Raises:
        SegfocalError: For anything else.
    """
    check_choice(argument, value, choices)
    return choices[list(choices).index(value)]


def constants(argument: str, value: Any, *, high: float = float("inf")) -> Tensor | None:
    """Turn an optional number or list of numbers into a float64 buffer, at least 0 and finite.

    Args:
        argument: Its name, for the message.
        value: A number, a flat list, array or tensor of numbers, or ``None``.
        high: Largest value allowed.

    Returns:
        ``()`` or ``(C,)``, or ``None``.

    Raises:
        SegfocalError: For numbers out of range, and for weights that would have to be learnt.
    """
    if value is None:
        return None
    if isinstance(value, Tensor) and value.requires_grad:
        raise not_carried(argument, value, f"it asks for a gradient. Pass {argument}.detach().")
    return numbers(argument, value, high=high)


def per_class(argument: str, values: Tensor, classes: int) -> Tensor:
    """Return one number per class.

    Args:
        argument: Its name, for the message.
        values: ``()``, ``(1,)`` where there is one class, or ``(C,)``.
        classes: C.

    Returns:
        ``(C,)``.

    Raises:
        SegfocalError: For another length.
    """
    if values.ndim and values.numel() != classes:
        raise SegfocalError(
            f"{argument} must hold one number for each of the {classes} classes in the loss, got "
            f"{values.numel()}."
        )
    return values.reshape(-1).expand(classes)


def plain(value: Any) -> Any:
    """Return tensors as lists, so that settings can be compared and printed."""
    return value.tolist() if isinstance(value, Tensor) else value
