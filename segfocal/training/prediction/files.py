"""Predict image files into a folder of pictures: what ``segfocal predict`` does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from segfocal.data.json_files import exists
from segfocal.data.preprocess import Preprocess
from segfocal.data.reading import PLAIN, SUFFIXES, read_image, unread_hint
from segfocal.data.rows import SUFFIXES as TABLES
from segfocal.data.rows import Row, placed, read_rows
from segfocal.errors import SegfocalError
from segfocal.runs.write import make_folder, write_bytes
from segfocal.training.messages import is_out_of_memory
from segfocal.training.prediction.overlay import overlay
from segfocal.training.prediction.pictures import mask_pictures, png, probability_pictures
from segfocal.training.prediction.predictor import Array, Prediction, Predictor
from segfocal.training.prediction.tiles import Tiling
from segfocal.training.prediction.tta import Symmetry

Failed = Callable[[Path, str], None]


@dataclass(frozen=True)
class PredictOptions:
    """What to predict and what to write besides masks.

    Args:
        probabilities: Also write 16-bit probabilities.
        overlay: Also write the image with the prediction tinted, and the reference outlined where there is
            one.
        posterior: As in ``Predictor``.
        tta: As in ``Predictor``.
        threshold: As in ``Predictor``.
        tiling: As in ``Predictor``.
    """

    probabilities: bool = False
    overlay: bool = False
    posterior: bool = False
    tta: Symmetry = "none"
    threshold: float | Sequence[float] | None = None
    tiling: Tiling | None = None


def predict_files(
    predictor: Predictor,
    images: str | Path | Sequence[str | Path],
    out_dir: str | Path,
    *,
    options: PredictOptions | None = None,
    reference: Callable[[Path], Array | None] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    failed: Failed | None = None,
) -> list[Path]:
    """Predict images one after the other; each result file appears whole or not at all.

    Args:
        predictor: From ``segfocal.load``.
        images: A folder (its own files, not those of its subfolders), a file, or a list of files.
        out_dir: Receives ``masks/``, and on request ``probabilities/`` and ``overlays/``; files of the same
            name are replaced.
        options: What to write; ``None``: masks alone.
        reference: Gives the true labels of an image file where they are known, for the overlays.
        progress: Called after each image with how many are done, how many there are, and its name.
        failed: Called for an image that cannot be read or predicted, with its file and why; the others go on.
            ``None``: it ends the prediction.

    Returns:
        The files written.

    Raises:
        SegfocalError: If there are no images, two share a stem, the options do not fit the predictor, one
            image cannot be read or predicted and ``failed`` is not given (it is named, and none of its files
            are written), or ``out_dir`` cannot be written.
    """
    options = options or PredictOptions()
    paths = list_images(images)
    predictor.check(tiling=options.tiling, posterior=options.posterior, threshold=options.threshold)
    make_folder(out_dir, option="--out")
    written: list[Path] = []
    for number, path in enumerate(paths, start=1):
        pictures: dict[str, bytes] = {}
        with passing_over(path, failed):
            pictures = _predict_one(predictor, path, options, reference)
        for name, content in pictures.items():
            write_bytes(Path(out_dir) / name, content, option="--out")
            written.append(Path(out_dir) / name)
        if progress is not None:
            progress(number, len(paths), path.name)
    return written


@contextmanager
def passing_over(path: Path, failed: Failed | None) -> Iterator[None]:
    """Hand what goes wrong with one image to ``failed``.

    Args:
        path: Its file.
        failed: As in `predict_files`; ``None`` lets errors pass.
    """
    try:
        yield
    except Exception as error:  # of a damaged file decoders raise whatever they stumble over
        if failed is None:
            raise
        words = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, SegfocalError) and is_out_of_memory(error):
            words = f"out of memory ({words[:300].rstrip('.')}). Use --tile, or --device cpu."
        failed(path, words.removeprefix(f"{path}: "))


def passed_over(images: str | Path, used: Collection[Path]) -> str:
    """Return which files of a folder are not predicted, in a line; empty where all are.

    Args:
        images: What the user named.
        used: Files and folders that are predicted.
    """
    folder = Path(images)
    if not folder.is_dir():
        return ""
    within = {folder / path.relative_to(folder).parts[0] for path in used if folder in path.parents}
    rest = sorted(p for p in folder.iterdir() if p not in within and not p.name.startswith("."))
    names = [f"{path.name}/" if path.is_dir() else path.name for path in rest]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"not predicted: {', '.join(names[:5])}{more} of {folder}" if names else ""


def is_table(images: str | Path) -> bool:
    """Return whether ``--images`` names a table that lists them."""
    path = Path(images)
    return path.is_file() and path.suffix.lower() in TABLES


def table_files(
    table: Path, columns: Sequence[str], *, roots: Sequence[Path]
) -> list[tuple[Row, list[Path]]]:
    """Return the rows of a table and the files that they name.

    Args:
        table: CSV or Parquet.
        columns: Names that its columns of images may have; there must be one at least.
        roots: Folders of which the first that holds the files of the first row is what paths start from.

    Raises:
        SegfocalError: For a damaged table, without such columns, or files that are not there.
    """
    rows = read_rows(table)
    chosen = [name for name in columns if name in rows[0]]
    if not chosen:
        raise SegfocalError(f"{table} must have the column {' or '.join(columns)}, got {', '.join(rows[0])}.")
    root = next((r for r in roots if exists(placed(r, rows[0][chosen[0]]))), roots[0])
    found = []
    for number, row in enumerate(rows, start=2):
        paths = [placed(root, row[name]) for name in chosen if row[name]]
        missing = [path for path in paths if not exists(path)]
        if len(paths) < len(chosen) or missing:
            got = f"there is no file {missing[0]!s:.300}" if missing else "a column of images is empty"
            raise SegfocalError(
                f"{table}, row {number}: {got}. Paths start from {' or '.join(map(str, roots))}."
            )
        found.append((row, paths))
    return found


def list_images(images: str | Path | Sequence[str | Path]) -> list[Path]:
    """Find the image files that a user means.

    Args:
        images: A folder, a file, or a list of files.

    Returns:
        The files, those of a folder in order of their names.

    Raises:
        SegfocalError: If something does not exist, a folder holds no image, or two files would share a
            result.
    """
    given = [Path(images)] if isinstance(images, (str, Path)) else [Path(path) for path in images]
    paths = [file for path in given for file in (_folder_images(path) if path.is_dir() else [path])]
    if not paths:
        raise SegfocalError("Expected at least one image, got an empty list.")
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise SegfocalError(f"Expected image files, found no {', '.join(missing[:5])}.")
    stems: dict[str, Path] = {}
    for path in paths:
        if path.stem in stems:
            raise SegfocalError(
                f"{stems[path.stem]} and {path} share the stem {path.stem!r}, so their results would "
                f"overwrite each other. Rename one or predict them into two folders."
            )
        stems[path.stem] = path
    return paths


def _folder_images(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    found = [path for path in files if path.suffix.lower() in SUFFIXES]
    if found:
        return found
    inner = sorted(path.name for path in folder.iterdir() if path.is_dir())
    hint = f" Its subfolders are {', '.join(inner[:5])}: name one of them." if inner else ""
    raise SegfocalError(
        f"Expected images ({', '.join(SUFFIXES)}) in {folder}, found {len(files)} other files."
        f"{hint}{unread_hint(files)}"
    )


def _predict_one(
    predictor: Predictor,
    path: Path,
    options: PredictOptions,
    reference: Callable[[Path], Array | None] | None,
) -> dict[str, bytes]:
    # predictions of volumes have files of their own
    rules = predictor.preprocess.rules() if isinstance(predictor.preprocess, Preprocess) else PLAIN
    image = read_image(path, rules=rules)
    try:
        prediction = predictor(
            image,
            tiling=options.tiling,
            tta=options.tta,
            posterior=options.posterior,
            threshold=options.threshold,
        )
    except SegfocalError as error:
        raise SegfocalError(f"{path}: {error}") from error
    known = reference(path) if options.overlay and reference is not None else None
    return _pictures(image, prediction, path.stem, options, known)


def _pictures(
    image: Array, prediction: Prediction, stem: str, options: PredictOptions, reference: Array | None
) -> dict[str, bytes]:
    pictures = {f"masks/{name}": data for name, data in mask_pictures(prediction, stem).items()}
    if options.probabilities:
        found = probability_pictures(prediction, stem)
        pictures |= {f"probabilities/{name}": data for name, data in found.items()}
    if options.overlay:
        pictures[f"overlays/{stem}.png"] = png(overlay(image, prediction.mask, reference=reference))
    return pictures
