"""What a loss is as a module: it adds, it scales, it prints, and its numbers keep their precision."""

from __future__ import annotations

import functools
import inspect
import types
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from segfocal.errors import SegfocalError
from segfocal.losses.primitive.fields import sum_dtype

if TYPE_CHECKING:
    from segfocal.losses.base import SegmentationLoss


class LossModule(nn.Module):
    """Base of ``SegmentationLoss``: everything that is not about sums.

    Every loss has a ``forward`` of its own: torch.compile counts how often one piece of code is compiled, and
    one that all losses share reaches ``recompile_limit`` at the ninth kind of loss in a process.
    """

    def __init__(self) -> None:
        super().__init__()
        self._own_forward()

    def _own_forward(self) -> None:
        """Bind a copy of the class's ``forward`` to this very loss."""
        if torch.compiler.is_compiling():  # made inside a graph: part of its code
            return
        shared = type(self).forward
        if (
            isinstance(shared, types.FunctionType) and inspect.unwrap(shared) is shared
        ):  # else it is decorated
            self.forward = types.MethodType(copy_of(shared), self)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "forward"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._own_forward()

    def _replicate_for_data_parallel(self) -> LossModule:
        replica: LossModule = super()._replicate_for_data_parallel()
        replica._own_forward()
        return replica

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain values; ``repr`` prints those that are not defaults."""

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self)).parameters
        shown = [f"{k}={v!r}" for k, v in self.settings().items() if v != defaults[k].default]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __add__(self, other: nn.Module) -> SegmentationLoss:
        from segfocal.losses.compound import add  # compound is built on this class

        return add(self, other)

    def __radd__(self, other: nn.Module | int) -> SegmentationLoss:
        from segfocal.losses.compound import add

        if isinstance(other, nn.Module):
            return add(other, self)
        if other == 0:  # where sum() starts
            return self  # type: ignore[return-value]
        raise SegfocalError(f"a loss can be added to a loss only, got {other!r}.")

    def __mul__(self, factor: float) -> SegmentationLoss:
        from segfocal.losses.compound import scale

        return scale(self, factor)

    __rmul__ = __mul__

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LossModule:
        # gamma = 0.3 rounded to bf16 is another loss: buffers follow the device of the network, not its dtype
        for child in self.children() if recurse else ():
            child._apply(fn)
        for name, buffer in self.named_buffers(recurse=False):
            device = fn(torch.zeros((), device=buffer.device)).device
            setattr(self, name, buffer.to(device, sum_dtype(device)))
        return self


def copy_of(function: types.FunctionType) -> Callable[..., Any]:
    """Return a function that does the same and whose code is another object."""
    code, names = function.__code__.replace(), function.__globals__
    copy = types.FunctionType(code, names, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    functools.update_wrapper(copy, function)
    del copy.__dict__["__wrapped__"]
    return copy
