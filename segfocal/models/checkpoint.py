"""Read the weights of a run's own checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segfocal.errors import SegfocalError
from segfocal.models.weights_refuse import check_archive, unsafe_names


def read_checkpoint(path: str | Path, *, mmap: bool = False) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, tensors and plain values only: nothing in the file is executed.

    Args:
        path: A ``.ckpt`` file that segfocal wrote.
        mmap: Whether the tensors stay in the file until they are used.

    Returns:
        What Lightning stored: ``state_dict``, ``epoch``, ``global_step``, ...

    Raises:
        SegfocalError: If the file is missing, cut short, holds objects that would have to be executed, or
            has no ``state_dict``.
    """
    try:
        check_archive(Path(path))
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except FileNotFoundError as error:
        raise SegfocalError(f"Expected a checkpoint at {path}, found no such file.") from error
    except SegfocalError:
        raise
    except Exception as error:  # bytes at random raise anything
        raise SegfocalError(
            f"Cannot read the checkpoint {path} as plain tensors; it is damaged or was not written by "
            f"segfocal: {_reason(Path(path), error)}. Nothing in it was run. Train again, or take an earlier "
            "copy."
        ) from error
    if not isinstance(found, dict) or not isinstance(found.get("state_dict"), Mapping):
        got = sorted(map(str, found))[:8] if isinstance(found, dict) else type(found).__name__
        raise SegfocalError(f"Expected a checkpoint with a 'state_dict' in {path}, got {got}.")
    return found


def _reason(path: Path, error: Exception) -> str:
    """Say why, in words of ours: torch's own advise to load the file anyway."""
    if names := unsafe_names(path, str(error)):
        return f"it holds {', '.join(names)}, which is code"
    first = (str(error).strip().splitlines() or [""])[0]
    return type(error).__name__ if "load" in first.lower() else f"{type(error).__name__}: {first[:200]}"


def network_weights(checkpoint: Mapping[str, Any], *, prefix: str = "network.") -> dict[str, Tensor]:
    """Select the network's weights from a task's ``state_dict``.

    Args:
        checkpoint: As ``read_checkpoint`` returns it.
        prefix: The network's attribute name in the task, with its dot. The ``_orig_mod.`` that torch.compile
            puts into names is dropped.

    Returns:
        Names as the network itself knows them.

    Example:
        >>> network_weights({"state_dict": {"network._orig_mod.bias": torch.zeros(1), "loss.alpha": 0}})
        {'bias': tensor([0.])}
    """
    state = {name.replace("_orig_mod.", ""): value for name, value in checkpoint["state_dict"].items()}
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def load_weights(
    network: nn.Module, weights: Mapping[str, Tensor], *, origin: str | Path = "the checkpoint"
) -> None:
    """Copy weights into a network: all of them, each of the right shape, or none.

    Args:
        network: Changed in place.
        weights: As ``network_weights`` returns them.
        origin: Named in messages.

    Raises:
        SegfocalError: Naming what is missing, what is too much, and which shapes differ.

    Example:
        >>> load_weights(nn.Linear(1, 1), {"weight": torch.ones(1, 1), "bias": torch.zeros(1)})
    """
    own = network.state_dict()
    missing = sorted(own.keys() - weights.keys())
    extra = sorted(weights.keys() - own.keys())
    differing = [
        f"{name} {tuple(weights[name].shape)} for {tuple(own[name].shape)}"
        for name in sorted(own.keys() & weights.keys())
        if weights[name].shape != own[name].shape
    ]
    if missing or extra or differing:
        raise SegfocalError(
            f"The weights in {origin} do not fit {type(network).__name__}: missing {_some(missing)}; too "
            f"many {_some(extra)}; other shapes {_some(differing)}. Build the network with the run's own "
            "settings."
        )
    network.load_state_dict(dict(weights))


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    shown = ", ".join(listed[:4]) or "none"
    return f"{shown} and {len(listed) - 4} more" if len(listed) > 4 else shown
