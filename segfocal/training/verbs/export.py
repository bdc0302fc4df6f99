"""``segfocal export``: the network of a run directory as one file that runs without segfocal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segfocal.options import TRUST_HELP, OptionParser
from segfocal.writing import OVERWRITE_HELP, claim_file

if TYPE_CHECKING:
    from segfocal.training.export.run import Exported


def parser() -> argparse.ArgumentParser:
    """Return the options of the verb."""
    options = OptionParser(
        prog="segfocal export",
        description="Write the network of a run directory with its preprocessing as one file: images in, "
        "probabilities out, any number and size. Class names, thresholds and what else its user must know "
        "are JSON inside. The file is run beside the network before it is kept.",
    )
    options.add_argument("--run", required=True, metavar="DIR", help="what `segfocal fit` made")
    options.add_argument(
        "--format", required=True, choices=("torch", "onnx"), help="for torch.export.load, or ONNX"
    )
    options.add_argument("--checkpoint", default="best", metavar="best|last|PATH", help="default: best")
    options.add_argument("--overwrite", action="store_true", help=OVERWRITE_HELP)
    options.add_argument("--out", metavar="FILE", help="default: export.pt2 or export.onnx in the run")
    options.add_argument(
        "--size",
        type=int,
        nargs="+",
        metavar="N",
        help="take images of this size alone, height and width or X, Y and Z, for networks that need that",
    )
    options.add_argument(
        "--full-scale",
        type=float,
        metavar="V",
        help="largest value of the images' type, if the file is to be given others than 8-bit (255): 65535 "
        "for 16 bit, 1 for floats; not for volumes, nor with preprocess.intensity_range",
    )
    options.add_argument(
        "--network-only",
        action="store_true",
        help="leave all preprocessing outside, for users who cut large images or volumes into windows",
    )
    options.add_argument("--trust", action="store_true", help=TRUST_HELP)
    return options


def export(argv: Sequence[str]) -> int:
    """Export a network.

    Args:
        argv: Words after ``export``.

    Returns:
        Exit code 0.

    Raises:
        SegfocalError: For wrong options, a folder that is no run, or a network that cannot be exported.
    """
    given = parser().parse_args(argv)
    # brings torch, which --help does not need
    from segfocal.training.export.run import ExportOptions, export_run

    options = ExportOptions(
        format=given.format,
        size=None if given.size is None else tuple(given.size),
        full_scale=given.full_scale,
        network_only=given.network_only,
    )
    place = None
    if given.out is not None and not Path(given.out).is_dir():  # which export_run names
        place = claim_file(given.out, inputs=[given.run], overwrite=given.overwrite)
    done = export_run(given.run, given.out, checkpoint=given.checkpoint, options=options, trust=given.trust)
    if place is not None:
        place.record([Path(given.out).name])
    sys.stdout.write(summary(done) + "\n")
    return 0


def summary(done: Exported) -> str:
    """Return what was written, and how it is used, in a few lines.

    Args:
        done: From ``export_run``.
    """
    metadata = done.metadata
    given, made = metadata["input"], metadata["output"]
    shapes = ", ".join("x".join(map(str, shape)) for shape in done.agreement.shapes)
    lines = [
        f"{done.path}: {done.path.stat().st_size / 2**20:.1f} MiB, {metadata['task']}, {_classes(metadata)}",
        f"{given['name']}: float32 {_shape(given, given['channels'])}, {given['values']}",
        f"{made['name']}: float32 {_shape(given, len(metadata['class_names']))}; mask: {metadata['mask']}",
    ]
    if given["least_size"] > 1:
        lines.append(f"sides of at least {given['least_size']} px")
    lines += [f"done inside: {'; '.join(metadata['inside'])}"] if metadata["inside"] else []
    lines += [f"yours before: {'; '.join(metadata['before'])}"] if metadata["before"] else []
    lines += [f"yours after: {'; '.join(metadata['after'])}"] if metadata["after"] else []
    lines.append(
        f"run beside the network on inputs of {shapes}: probabilities differ by "
        f"{done.agreement.difference:.1g} at most"
    )
    return "\n".join(lines)


def _classes(metadata: dict[str, Any]) -> str:
    names, thresholds = metadata["class_names"], metadata["thresholds"]
    if thresholds is None:
        return f"classes {', '.join(names)}"
    pairs = zip(names, thresholds, strict=True)
    return ", ".join(f"{name} above {threshold:.3g}" for name, threshold in pairs)


def _shape(given: dict[str, Any], channels: int) -> str:
    spatial = given["size"] or given["axes"][2:]
    return f"({', '.join(map(str, ['N', channels, *spatial]))})"
