"""Layers of one case as small pictures: image, reference, prediction, errors, probability."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from segfocal.runs.layout import RunPaths
from segfocal.runs.pictures import case_picture, class_part, read_pictured

Bytes = NDArray[np.uint8]
IGNORED = 255
Colours = Sequence[tuple[int, int, int, int]]  # red, green, blue, opacity
# nothing, hit, false positive (orange), false negative (sky blue), ignored: told apart with any colour vision
ERROR_COLOURS: Colours = (
    (0, 0, 0, 0),
    (255, 255, 255, 110),
    (230, 159, 0, 255),
    (86, 180, 233, 255),
    (120, 120, 120, 160),
)
CLASS_COLOURS = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
# matplotlib's cividis at nine places; in between is interpolated
_CIVIDIS = ((0, 34, 78), (18, 53, 112), (59, 73, 108), (87, 93, 109), (112, 113, 115), (138, 134, 120),
            (165, 156, 116), (195, 179, 105), (225, 204, 85), (254, 232, 56))  # fmt: skip


@dataclass(frozen=True, eq=False)
class Layers:
    """The pictures of one slice of one case of one run, encoded.

    Args:
        image: JPEG.
        reference: PNG with a transparent background; each class has its colour.
        prediction: Likewise.
        errors: Class index to PNG: false positives, false negatives, hits.
        probability: Class index to PNG.
    """

    image: bytes
    reference: bytes
    prediction: bytes
    errors: Mapping[int, bytes] = field(default_factory=dict)
    probability: Mapping[int, bytes] = field(default_factory=dict)


def pictured_cases(run: Path, stage: str, *, checkpoint: str | None = None) -> dict[str, dict[str, str]]:
    """Return which cases of a run have pictures.

    Args:
        run: A run directory.
        stage: "val" or "test".
        checkpoint: First 12 digits of the sha256 of the weights whose scores are shown: pictures that are
            said to show others are left out. None takes any.

    Returns:
        Stem of the case (``case_stem`` of its name) to its slices: label ("" for an image) to the stem of the
        slice's files.
    """
    folder = RunPaths(run).case_pictures / stage
    found: dict[str, dict[str, str]] = {}
    said = read_pictured(RunPaths(run), stage)
    if said is not None and checkpoint is not None and said.checkpoint != checkpoint:
        return {}
    for path in sorted(folder.glob("*.image.png")):
        stem = path.name.removesuffix(".image.png")
        if said is not None and stem not in said.stems:
            continue
        case, mark, label = stem.rpartition("@")
        if mark and label.isdigit():
            found.setdefault(case, {})[label] = stem
        found.setdefault(stem, {})[""] = stem
    return found


def read_layers(run: Path, stage: str, stem: str, *, class_names: list[str], task: str) -> Layers | None:
    """Read and encode one slice of a case.

    Args:
        run: A run directory; pictures that are links out of it are not read.
        stage: "val" or "test".
        stem: Of ``pictured_cases``.
        class_names: One per logit channel.
        task: "binary", "multiclass" or "multilabel".

    Returns:
        The layers; None where a picture is missing, damaged, or of another size than the image.
    """
    paths = RunPaths(run)

    def read(kind: str, mode: str) -> Bytes:
        return _read(case_picture(paths, stage, stem, kind), inside=paths.case_pictures, mode=mode)

    try:
        image = read("image", "RGB")
        if task == "multilabel":
            parts = [class_part(name) for name in class_names]
            reference = np.stack([read(f"reference.{part}", "L") for part in parts])
            prediction = np.stack([read(f"prediction.{part}", "L") for part in parts])
        else:
            reference, prediction = (
                _planes(read(kind, "L"), task, len(class_names)) for kind in ("reference", "prediction")
            )
        probability = [read(f"probability.{class_part(name)}", "L") for name in class_names]
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    if any(plane.shape[-2:] != image.shape[:2] for plane in (reference, prediction, *probability)):
        return None
    return Layers(
        image=_jpeg(image),
        reference=_class_layer(reference, task),
        prediction=_class_layer(prediction, task),
        errors=dict(enumerate(map(error_layer, reference, prediction))),
        probability={index: probability_layer(plane) for index, plane in enumerate(probability)},
    )


def error_layer(reference: Bytes, prediction: Bytes) -> bytes:
    """Encode where one class was found, missed, and found in vain.

    Args:
        reference: ``(H, W)``, 1 for the class, 255 where ignored.
        prediction: ``(H, W)``, 1 for the class.

    Returns:
        A PNG of ``ERROR_COLOURS``: nothing, hit, false positive, false negative, ignored.
    """
    true, found = reference == 1, prediction == 1
    codes = np.where(true & found, 1, np.where(found, 2, np.where(true, 3, 0)))
    return _indexed(np.where(reference == IGNORED, 4, codes), ERROR_COLOURS)


def probability_layer(plane: Bytes) -> bytes:
    """Encode a probability (255 for 1) in 16 steps from dark blue to yellow."""
    places = np.linspace(0, len(_CIVIDIS) - 1, 16)
    channels = [np.interp(places, range(len(_CIVIDIS)), values) for values in zip(*_CIVIDIS, strict=True)]
    red, green, blue = np.round(channels).astype(int).tolist()
    return _indexed(plane // 16, [(*colour, 255) for colour in zip(red, green, blue, strict=True)])


def _planes(labels: Bytes, task: str, classes: int) -> Bytes:
    """Turn class numbers into one plane per class, 255 where ignored."""
    wanted = [1] if task == "binary" else range(classes)
    hits = np.stack([(labels == number).astype(np.uint8) for number in wanted])
    ignored = (labels == IGNORED) & (classes <= IGNORED)
    return np.where(ignored, np.uint8(IGNORED), hits)


def _class_layer(planes: Bytes, task: str) -> bytes:
    """Paint every class in its colour; the background of softmax classes, number 0, stays transparent."""
    codes = np.zeros(planes.shape[1:], np.uint8)
    first = 1 if task == "multiclass" else 0
    for number, plane in enumerate(planes[first : first + 250], start=1):
        codes[plane == 1] = number
    colours = [(*CLASS_COLOURS[number % len(CLASS_COLOURS)], 255) for number in range(len(planes))]
    return _indexed(codes, [(0, 0, 0, 0), *colours])


def _read(path: Path, *, inside: Path, mode: str) -> Bytes:
    if not path.resolve().is_relative_to(inside.resolve()):
        raise OSError(f"{path} leads out of {inside}")
    with Image.open(path, formats=("PNG",)) as picture:
        return np.asarray(picture.convert(mode) if mode == "RGB" or picture.mode != "L" else picture)


def _indexed(codes: NDArray[np.integer], colours: Colours) -> bytes:
    picture = Image.fromarray(codes.astype(np.uint8))
    picture.putpalette([channel for colour in colours for channel in colour[:3]])
    return _encoded(picture, "PNG", optimize=True, transparency=bytes(colour[3] for colour in colours))


def _jpeg(image: Bytes) -> bytes:
    return _encoded(Image.fromarray(image), "JPEG", quality=82, optimize=True)


def _encoded(picture: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=form, **options)
    return buffer.getvalue()
