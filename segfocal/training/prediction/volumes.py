"""Predict volumes into NIfTI files on the grid of their images: ``segfocal predict`` of a run on volumes."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from segfocal.data.reading import unread_hint
from segfocal.data.rows import read_rows
from segfocal.data.volumes.arrange import arrange_images, without_labels
from segfocal.data.volumes.grid import Affine, turned
from segfocal.data.volumes.layout import ENDINGS, without_ending
from segfocal.data.volumes.reading import Volume, open_nifti, read_volume
from segfocal.data.volumes.series import find_series
from segfocal.errors import SegfocalError
from segfocal.runs.pictures import case_stem
from segfocal.runs.write import make_folder, write_bytes
from segfocal.training.prediction.files import Failed, PredictOptions, passing_over, table_files
from segfocal.training.prediction.overlay import axial, overlay, telling_slices, to_picture
from segfocal.training.prediction.pictures import png
from segfocal.training.prediction.predictor import Array, Prediction, Predictor

_CHANNEL = re.compile(r"_\d{4}$")


@dataclass(frozen=True)
class VolumeInput:
    """The image files of one case.

    Args:
        name: Of the results, without ending.
        paths: One file with all channels, or one per channel in their order; folders are DICOM series.
        ending: ``.nii`` or ``.nii.gz`` as the file has it, and so have the results; of DICOM ``.nii.gz``.
    """

    name: str
    paths: tuple[Path, ...]
    ending: str


def list_volumes(images: str | Path, *, channels: Sequence[str] = ()) -> list[VolumeInput]:
    """Find the volumes that a user means.

    Args:
        images: A NIfTI file, or a folder of them; or a DICOM series, or a folder with series in folders of
            their own at any depth, whose parts make the name (``patient1_ct``). nnU-Net's channel numbers
            (``_0000``) are taken off the names; what differs in nothing else are the channels of one case.
            Other folders, one per patient or with a file per channel, as `fingerprint` reads them.
        channels: Names of the channels of the training.

    Returns:
        The cases in order of their names; whether each has all its channels is seen when it is read.

    Raises:
        SegfocalError: If there are none.
    """
    given = Path(images)
    files = sorted(p for p in given.iterdir() if p.is_file()) if given.is_dir() else [given]
    files = without_labels(files)
    named = {p: without_ending(p.name) for p in files if p.name.endswith(ENDINGS) and p.name[0] != "."}
    if not named and given.is_dir():
        named = {folder: _series_name(folder, given) for folder in find_series(given)}
    found: dict[str, list[Path]] = {}
    for path, name in named.items():
        found.setdefault(_CHANNEL.sub("", name), []).append(path)
    partial = len(channels) > 1 and any(len(paths) not in (1, len(channels)) for paths in found.values())
    single = len(channels) > 1 and all(len(paths) == 1 for paths in found.values())
    if given.is_dir() and (not found or partial or single):
        arranged = arrange_images(given, channels or ("image",))
        if arranged:
            return [VolumeInput(name, paths, _ending(paths[0])) for name, paths in arranged]
    if not found or not all(path.exists() for paths in found.values() for path in paths):
        raise SegfocalError(
            f"expected volumes ({', '.join(ENDINGS)}, or DICOM series in folders) at {given}, found "
            f"{len(files)} other files.{unread_hint(files)}"
            if given.exists()
            else f"expected volumes at {given}, found no such file or folder."
        )
    return [VolumeInput(name, tuple(paths), _ending(paths[0])) for name, paths in sorted(found.items())]


def list_table(table: Path, *, channels: Sequence[str], roots: Sequence[Path]) -> list[VolumeInput]:
    """Return the volumes that a table lists, as `NiftiData` reads it; label maps are not needed.

    Args:
        table: Columns ``image``, or ``image_<channel>`` for each channel, and where wanted ``name``.
        channels: Names of the channels of the training.
        roots: What paths may start from.

    Raises:
        SegfocalError: As `table_files`, and where two cases would share a result.
    """
    several = [f"image_{name}" for name in channels]
    columns = several if len(several) > 1 and several[0] in read_rows(table)[0] else ["image", *several]
    cases: dict[str, VolumeInput] = {}
    for row, paths in table_files(table, columns, roots=roots):
        name = Path(row.get("name") or without_ending(paths[0].name)).name
        if name in cases:
            raise SegfocalError(
                f"{table}: {cases[name].paths[0]} and {paths[0]} would share the result {name}. Give the "
                "table a column name."
            )
        cases[name] = VolumeInput(name, tuple(paths), _ending(paths[0]))
    return list(cases.values())


def predict_volumes(
    predictor: Predictor,
    cases: Sequence[VolumeInput],
    out_dir: str | Path,
    *,
    values: Sequence[Sequence[int]],
    options: PredictOptions | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    failed: Failed | None = None,
) -> list[Path]:
    """Predict volumes one after the other; each result file appears whole or not at all.

    Args:
        predictor: From ``segfocal.load``.
        cases: From `list_volumes`.
        out_dir: Receives ``masks/`` and on request ``probabilities/`` and ``overlays/`` (axial slices in true
            proportions, the patient's right on the left); files of the same name are replaced.
            They have shape, affine and header of the image, masks the label values of the training.
            Multilabel masks and probabilities of several classes lie in a folder per class.
        values: Label values of each class of the training, the background first.
        options: What to write; ``None``: masks alone.
        progress: Called after each volume with how many are done, how many there are, and its name.
        failed: As in ``predict_files``.

    Returns:
        The files written.

    Raises:
        SegfocalError: If an image cannot be read or predicted (it is named) and ``failed`` is not given, or
            ``out_dir`` not be written.
    """
    options = options or PredictOptions()
    predictor.check(tiling=options.tiling, posterior=options.posterior, threshold=options.threshold)
    make_folder(out_dir, option="--out")
    written: list[Path] = []
    for number, case in enumerate(cases, start=1):
        maps: dict[str, bytes] = {}
        with passing_over(case.paths[0], failed):
            maps = _predict_one(predictor, case, values, options)
        for name, content in maps.items():
            path = Path(out_dir) / name
            packed = gzip.compress(content, compresslevel=6, mtime=0) if path.suffix == ".gz" else content
            write_bytes(path, packed, option="--out")
            written.append(path)
        if progress is not None:
            progress(number, len(cases), case.name)
    return written


def encode_like(array: Array, original: Any) -> bytes:
    """Encode a map as NIfTI with the affine and header of another image.

    Args:
        array: ``(X, Y, Z)``; its dtype is the file's.
        original: nibabel's image.

    Returns:
        The file, not compressed.
    """
    kind = nibabel.Nifti2Image if isinstance(original, nibabel.Nifti2Image) else nibabel.Nifti1Image
    same = isinstance(original, nibabel.Nifti1Image)
    image = kind(array, _affine(original), header=original.header.copy() if same else None)
    image.header.set_data_dtype(array.dtype)
    image.header.set_slope_inter(1, 0)
    # display limits of the image's intensities mean nothing for labels
    image.header["cal_min"], image.header["cal_max"] = 0, 0
    content: bytes = image.to_bytes()
    return content


def _predict_one(
    predictor: Predictor, case: VolumeInput, values: Sequence[Sequence[int]], options: PredictOptions
) -> dict[str, bytes]:
    volume = read_volume(case.paths, channels=predictor.preprocess.in_channels)
    try:
        prediction = predictor(
            volume,
            tiling=options.tiling,
            tta=options.tta,
            posterior=options.posterior,
            threshold=options.threshold,
        )
    except SegfocalError as error:
        raise SegfocalError(f"{case.paths[0]}: {error}") from error
    original = _original(volume)
    maps = {f"masks/{name}": mask for name, mask in _masks(prediction, case.name, values).items()}
    if options.probabilities:
        folders = [f"{name}/" for name in prediction.class_names] if len(prediction.class_names) > 1 else [""]
        planes = zip(folders, prediction.probabilities, strict=True)
        maps |= {f"probabilities/{folder}{case.name}": plane for folder, plane in planes}
    files = {f"{name}{case.ending}": encode_like(array, original) for name, array in maps.items()}
    return files | (_overlays(volume, prediction.mask, case.name) if options.overlay else {})


def _overlays(volume: Volume, mask: Array, name: str) -> dict[str, bytes]:
    """Return a few axial slices with the prediction tinted, by the number of the slice from below."""
    upright = np.eye(4)
    image, affine = turned(volume.array[:1], volume.affine, like=upright)
    planes, _ = turned(mask if mask.ndim == 4 else mask[None], volume.affine, like=upright)
    right, anterior, _ = np.linalg.norm(affine[:3, :3], axis=0)
    picture = to_picture(image[0].reshape(image.shape[1], -1))[..., 0].reshape(image.shape[1:])
    files = {}
    for place in telling_slices(planes > 0):
        shown = _stretched(axial(picture, place), anterior / right)
        labels = [_stretched(plane, anterior / right) for plane in axial(planes, place)]
        tinted = overlay(shown, np.stack(labels) if mask.ndim == 4 else labels[0])
        files[f"overlays/{case_stem(name, slice_index=place)}.png"] = png(tinted)
    return files


def _stretched(plane: Array, ratio: float) -> Array:
    """Repeat the rows, or the columns, of a picture whose pixels are ``ratio`` times as high as wide."""
    height, width = plane.shape
    rows, columns = round(height * max(1.0, ratio)), round(width * max(1.0, 1 / ratio))
    chosen = [(np.arange(new) * old // new) for new, old in ((rows, height), (columns, width))]
    return np.asarray(plane[np.ix_(*chosen)])


def _original(volume: Volume) -> Any:
    """Return the NIfTI image whose header the results take over; of a DICOM series one with its place."""
    if not volume.path.is_dir():
        return open_nifti(volume.path)
    image = nibabel.Nifti1Image(volume.array[0], volume.affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(volume.affine, code="scanner")
    image.set_sform(volume.affine, code="scanner")
    return image


def _ending(path: Path) -> str:
    return ENDINGS[0] if path.is_dir() else path.name.removeprefix(without_ending(path.name))


def _series_name(folder: Path, above: Path) -> str:
    return "_".join(folder.relative_to(above).parts) or folder.resolve().name


def _masks(prediction: Prediction, name: str, values: Sequence[Sequence[int]]) -> dict[str, Array]:
    mask = prediction.mask
    if prediction.task == "multilabel":
        planes = zip(prediction.class_names, mask, strict=True)
        return {f"{label}/{name}": plane for label, plane in planes}
    # a foreground of several labels has no value of its own
    chosen = [each[0] if len(each) == 1 else number for number, each in enumerate(values)]
    small = max(chosen) <= 255 and min(chosen) >= 0
    return {name: np.array(chosen, dtype=np.uint8 if small else np.int16)[mask]}


def _affine(original: Any) -> Affine:
    return np.asarray(original.affine, dtype=np.float64)
