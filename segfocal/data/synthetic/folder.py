"""Write generated cases as folders of images and masks."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from segfocal.data.module import Split
from segfocal.data.synthetic.data import SyntheticData
from segfocal.data.synthetic.source import SyntheticSource
from segfocal.errors import SegfocalError, check_range


def write_folder(
    data: SyntheticData, out: str | Path, split: Split = "train", count: int | None = None
) -> Path:
    """Write pictures and masks of one split as PNG files under matching names.

    ``images/NAME.png`` and ``masks/NAME.png``: binary masks hold 0 and 255, multiclass masks class
    numbers. Multilabel masks are ``masks/CLASS/NAME.png`` with 0 and 255, without a file where the label
    is absent. The folder appears complete or not at all.

    Args:
        data: What to write; of 1 or 3 channels.
        out: The folder; may exist if it is empty.
        split: Which pictures.
        count: The first so many; None writes the whole split.

    Returns:
        The folder.

    Raises:
        SegfocalError: When the folder holds something already, the split has fewer pictures, or PNG cannot
            hold the channels.
    """
    size = len(data.source(split))
    wanted = size if count is None else count
    check_range("count", wanted, low=1, high=size)
    with _complete(data, Path(out)) as partial:
        _write_split(data, partial, split, wanted)
    return Path(out)


def write_splits(data: SyntheticData, out: str | Path) -> Path:
    """Write every split that has pictures into a folder of its name, each as `write_folder` does.

    Args:
        data: What to write; of 1 or 3 channels.
        out: The folder that gets ``train``, ``val`` and ``test``; may exist if it is empty.

    Returns:
        The folder, which `FolderData` reads as it stands.

    Raises:
        SegfocalError: When the folder holds something already or PNG cannot hold the channels.
    """
    with _complete(data, Path(out)) as partial:
        for split in data.splits():
            _write_split(data, partial / split, split, len(data.source(split)))
    return Path(out)


@contextmanager
def _complete(data: SyntheticData, target: Path) -> Iterator[Path]:
    """Give a folder to write into that takes the target's name at the end, or vanishes on any error."""
    if data.channels not in (1, 3):
        raise SegfocalError(f"PNG holds 1 or 3 channels, got channels={data.channels}.")
    if target.exists() and not target.is_dir():
        raise SegfocalError(f"{target} must be a new or empty folder, got a file. Name another.")
    if target.exists() and any(target.iterdir()):
        raise SegfocalError(f"{target} must be a new or empty folder, got one with content. Name another.")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        partial.chmod(0o755)  # mkdtemp makes it private
        yield partial
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write_split(data: SyntheticData, out: Path, split: Split, count: int) -> None:
    source = data.source(split)
    for index in range(count):
        _write_case(source, index, out, data)


def _write_case(source: SyntheticSource, index: int, out: Path, data: SyntheticData) -> None:
    name = f"{source.names[index]}.png"
    picture, mask = source.image(index), source.mask(index)
    _save(out / "images" / name, picture[..., 0] if data.channels == 1 else picture)
    if data.task == "multiclass":
        _save(out / "masks" / name, mask)
    elif data.task == "binary":
        _save(out / "masks" / name, mask * np.uint8(255))
    else:
        for label, channel in zip(data.class_names, mask, strict=True):
            (out / "masks" / label).mkdir(parents=True, exist_ok=True)
            if channel.any():
                _save(out / "masks" / label / name, channel * np.uint8(255))


def _save(path: Path, array: npt.NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
