"""Load any checkpoint into a network, and say what became of every tensor."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from segfocal.errors import SegfocalError, check_choice, check_range
from segfocal.models.head import find_head, set_head_bias
from segfocal.models.weights_adapt import FIRST_CONV, Plan, image_convolution, plan_values, tensors_of
from segfocal.models.weights_find import find_weights
from segfocal.models.weights_match import Match, match_tensors
from segfocal.models.weights_read import read_tensors
from segfocal.models.weights_report import LoadReport, some

# random states and sums that a run keeps beside its weights
_NO_WEIGHTS = ("segfocal_resume.", "running_sums.")


def load_pretrained(
    network: nn.Module,
    path: str | Path,
    *,
    checkpoint: str = "best",
    first_conv: str = "sum",
    in_channels: int | None = None,
    min_matched: float = 0.5,
    new_head: bool = False,
    head_prior: Sequence[float] | Tensor | None = None,
    divisor: int | None = None,
) -> LoadReport:
    """Load weights by matching names, adapt the first convolution, leave a head of other classes as built.

    Nothing is downloaded, nothing in the file is executed, and no configuration beside it is read. The
    network changes only if all goes well.

    Args:
        network: Freshly built, of any prefix; changed in place.
        path: As for ``find_weights``: a file, run directory, ``save_pretrained`` directory or MONAI bundle.
        checkpoint: "best" or "last", of a run directory.
        first_conv: "sum" or "cycle", what to do about other image channels: see ``adapt_channels``.
        in_channels: Channels of the images; None takes those of the network's first convolution.
        min_matched: Share of the network's tensors that must come from the file.
        new_head: Whether the head stays as built though the file has one of the same size.
        head_prior: One bias per logit channel in nats, given to the head if it is new: ``bias_prior``.
        divisor: As for ``set_head_bias``.

    Returns:
        The report.

    Raises:
        SegfocalError: If the file cannot be read or is refused (``read_tensors``), fewer tensors match, or
            a value is not finite.

    Example:
        >>> import tempfile, torch
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     torch.save({"model": {"net.bias": torch.ones(1)}}, file.name)
        ...     load_pretrained(nn.LayerNorm(1), file.name).loaded
        {'bias': (1,)}
    """
    check_choice("first_conv", first_conv, FIRST_CONV)
    check_range("min_matched", min_matched, low=0.0, high=1.0)
    file = find_weights(path, checkpoint=checkpoint)
    found, own = read_tensors(file), tensors_of(network)
    match = match_tensors(own, found)
    named = {name: found[source] for name, source in match.pairs.items()}
    channels = _channels(network, in_channels) if new_head or head_prior is not None else None
    renew = _head_tensors(network, channels, divisor) if new_head else []
    plan = plan_values(network, named, first_conv=first_conv, in_channels=in_channels, renew=renew)
    report = _report(file, own, found, match, plan, first_conv)
    if report.matched < min_matched or not plan.values:
        raise _mismatch(network, report, match, found, min_matched)
    if head_prior is not None and (report.reinitialised or report.missing):
        report = _start_at_prior(network, report, head_prior, in_channels=channels, divisor=divisor)
    state = network.state_dict()
    state.update(plan.values)  # in place: it carries the versions of its layers
    network.load_state_dict(state)
    return report


def _report(
    file: Path,
    own: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
    match: Match,
    plan: Plan,
    first_conv: str,
) -> LoadReport:
    def both(name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return tuple(found[match.pairs[name]].shape), tuple(own[name].shape)

    used = set(match.pairs.values())
    with file.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    return LoadReport(
        path=str(file),
        sha256=sha256,
        prefix=match.prefix,
        into=match.into,
        first_conv=first_conv,
        head_prior=False,
        loaded={name: tuple(value.shape) for name, value in plan.loaded.items()},
        adapted={name: both(name) for name in plan.adapted},
        reinitialised={name: both(name) for name in plan.reinitialised},
        missing={name: tuple(value.shape) for name, value in own.items() if name not in match.pairs},
        unused={
            name: tuple(value.shape)
            for name, value in found.items()
            if name not in used and not name.startswith(_NO_WEIGHTS)
        },
    )


def _mismatch(
    network: nn.Module, report: LoadReport, match: Match, found: Mapping[str, Tensor], min_matched: float
) -> SegfocalError:
    taken = report.loaded | report.adapted
    used = {match.pairs[name] for name in taken}
    own = {name: tuple(value.shape) for name, value in tensors_of(network).items() if name not in taken}
    rest = {name: tuple(value.shape) for name, value in found.items() if name not in used}
    return SegfocalError(
        f"Expected at least {min_matched:.0%} of the {report.total} tensors of {type(network).__name__} in "
        f"{report.path}, found {len(taken)} ({report.matched:.0%}) of the same name and shape. First of the "
        f"rest in the network: {some(own)}; in the file: {some(rest)}. Build the network that the file was "
        "trained with, or lower min_matched if a part of it is enough."
    )


def _channels(network: nn.Module, in_channels: int | None) -> int:
    first = image_convolution(network)
    channels = in_channels if in_channels is not None else getattr(first, "in_channels", None)
    if channels is None:
        raise SegfocalError("in_channels must be given for a network without convolutions, got None.")
    return int(channels)


def _head_tensors(network: nn.Module, in_channels: int | None, divisor: int | None) -> list[str]:
    assert in_channels is not None
    dims = 3 if any(isinstance(module, nn.Conv3d) for module in network.modules()) else 2
    head = find_head(network, in_channels=in_channels, spatial_dims=dims, divisor=divisor)
    name = next(name for name, module in network.named_modules() if module is head)
    return [f"{name}.{own}" if name else own for own in head.state_dict()]


def _start_at_prior(
    network: nn.Module,
    report: LoadReport,
    head_prior: Sequence[float] | Tensor,
    *,
    in_channels: int | None,
    divisor: int | None,
) -> LoadReport:
    """Set the bias of a head that did not come from the file; a trained head has learnt its own."""
    assert in_channels is not None
    if not any(map(report.is_new, _head_tensors(network, in_channels, divisor))):
        return report
    dims = 3 if any(isinstance(module, nn.Conv3d) for module in network.modules()) else 2
    set_head_bias(network, head_prior, in_channels=in_channels, spatial_dims=dims, divisor=divisor)
    return replace(report, head_prior=True)
