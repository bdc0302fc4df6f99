"""Export the network of a run directory: what ``segfocal export`` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from segfocal.errors import SegfocalError, check_choice, check_range
from segfocal.runs import layout
from segfocal.runs.info import read_info
from segfocal.runs.write import write_bytes
from segfocal.training.export import onnx_file, torch_file
from segfocal.training.export.check import Agreement, compare, other_shapes, traced_sizes
from segfocal.training.export.entry import Entry, graph_entry
from segfocal.training.export.graph import ExportGraph
from segfocal.training.export.metadata import as_text, describe
from segfocal.training.export.program import Traced, trace
from segfocal.training.prediction.predictor import Predictor, load
from segfocal.training.prepare import spatial_dims

ENDINGS = {"torch": ".pt2", "onnx": ".onnx"}


@dataclass(frozen=True)
class ExportOptions:
    """How to export.

    Args:
        format: ``"torch"`` for ``torch.export.load``, ``"onnx"`` for everything else.
        size: The only size of images that the file shall take, one number per spatial axis; None: any.
        full_scale: As in ``graph_entry``.
        network_only: As in ``graph_entry``.

    Raises:
        SegfocalError: For an unknown format, or where packages are missing that it needs.
    """

    format: Literal["torch", "onnx"] = "onnx"
    size: tuple[int, ...] | None = None
    full_scale: float | None = None
    network_only: bool = False

    def __post_init__(self) -> None:
        check_choice("--format", self.format, ENDINGS)
        if self.format == "onnx":
            onnx_file.check_installed()
        for edge in self.size or ():
            check_range("--size", edge, low=1)


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Args:
        path: Of the file.
        metadata: As inside the file.
        agreement: How it compares with the network.
    """

    path: Path
    metadata: dict[str, Any]
    agreement: Agreement


def export_run(
    run_dir: str | Path,
    out: str | Path | None = None,
    *,
    checkpoint: str | Path = "best",
    options: ExportOptions | None = None,
    trust: bool = False,
) -> Exported:
    """Write one file that maps images to probabilities, in float32, without segfocal.

    Args:
        run_dir: The folder that ``segfocal fit --run`` made.
        out: The file, replaced if it is there; None: ``export.onnx`` or ``export.pt2`` in ``run_dir``.
        checkpoint: ``"best"``, ``"last"``, or a file.
        options: How; None: ONNX for any size.
        trust: As in `segfocal.load`.

    Returns:
        The file, with what was found when it was run beside the network.

    Raises:
        SegfocalError: If the run cannot be loaded, the network cannot be exported, or the file gives other
            probabilities (by more than 1e-4); nothing is written then.
    """
    options = options or ExportOptions()
    paths = layout.open_run(run_dir)
    out = paths.root / f"export{ENDINGS[options.format]}" if out is None else Path(out)
    if out.is_dir():
        raise SegfocalError(f"--out must name a file, got the folder {out}.")
    predictor = load(run_dir, checkpoint=checkpoint, device="cpu", trust=trust)
    axes = _checked_axes(predictor, options)
    entry = graph_entry(
        predictor.preprocess, full_scale=options.full_scale, network_only=options.network_only
    )
    traced = _trace(predictor, entry, options=options)
    metadata = describe(
        predictor,
        entry,
        info=read_info(run_dir),
        paths=paths,
        checkpoint=layout.checkpoint(paths, checkpoint),
        axes=axes,
        size=options.size,
        least=traced.least,
    )
    content, agreement = _encode(predictor, entry, traced, options=options, metadata=as_text(metadata))
    write_bytes(out, content, option="--out")
    return Exported(out, metadata, agreement)


def encode_checked(predictor: Predictor, entry: Entry, *, options: ExportOptions) -> tuple[bytes, Agreement]:
    """Return the content of a file without metadata, after it was run beside the network.

    Args:
        predictor: On the CPU.
        entry: Where the graph begins.
        options: As in ``export_run``.

    Returns:
        The content, and how it compares.

    Raises:
        SegfocalError: As ``export_run``.
    """
    return _encode(
        predictor, entry, _trace(predictor, entry, options=options), options=options, metadata="{}"
    )


def _checked_axes(predictor: Predictor, options: ExportOptions) -> int:
    axes = spatial_dims(predictor.network)
    if options.size is not None and len(options.size) != axes:
        raise SegfocalError(f"--size must be {axes} numbers, one per spatial axis, got {list(options.size)}.")
    return axes


def _tile(predictor: Predictor) -> tuple[int, ...] | None:
    axes = spatial_dims(predictor.network)
    return predictor.tiling.edges(axes) if predictor.tiling.pad else None


def _graph(predictor: Predictor, entry: Entry) -> ExportGraph:
    graph = ExportGraph(
        predictor.network.to(memory_format=torch.contiguous_format),
        entry=entry.module,
        task=predictor.task,
        divisor=predictor.divisor,
        tile=_tile(predictor),
    )
    # nor do the results of those who load the file
    return graph.eval().requires_grad_(False)


def _trace(predictor: Predictor, entry: Entry, *, options: ExportOptions) -> Traced:
    return trace(
        _graph(predictor, entry),
        channels=predictor.preprocess.in_channels,
        sizes=options.size or traced_sizes(predictor.divisor, axes=spatial_dims(predictor.network)),
        divisor=predictor.divisor,
        fixed=options.size is not None,
    )


def _encode(
    predictor: Predictor, entry: Entry, traced: Traced, *, options: ExportOptions, metadata: str
) -> tuple[bytes, Agreement]:
    axes, channels = spatial_dims(predictor.network), predictor.preprocess.in_channels
    if options.format == "onnx":
        fixed = options.size is not None
        content = onnx_file.encode(traced.program, metadata=metadata, axes=axes, fixed=fixed)
        exported = onnx_file.open_content(content)
    else:
        content = torch_file.encode(traced.program, metadata=metadata)
        exported = torch_file.open_content(content)
    shapes: Sequence[tuple[int, ...]] = (
        other_shapes(predictor.divisor, channels=channels, axes=axes, tile=_tile(predictor))
        if options.size is None
        else ((1, channels, *options.size), (3, channels, *options.size))
    )
    return content, compare(exported, _graph(predictor, entry), shapes=shapes, sample=entry.sample)
