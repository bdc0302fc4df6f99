"""Find volumes: in a folder, or through a data set of MONAI, which downloads and divides them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from monai.data import CacheDataset

from segfocal.data.division import expand
from segfocal.data.foreign.making import Spec, check_parts, find_class, make_dataset
from segfocal.data.volumes.layout import VolumeSet, read_volume_set, without_ending
from segfocal.errors import SegfocalError


def find_volumes(
    root: str | None, datasets: Mapping[str, Spec] | None
) -> tuple[VolumeSet, dict[str, list[str]]]:
    """Return what dataset.json says, and split to the names that it has before anything is divided.

    Args:
        root: Folder with dataset.json, all of whose cases are those of train; None with ``datasets``.
        datasets: ``train``, ``val`` and ``test`` to class path and arguments; None with ``root``.

    Raises:
        SegfocalError: As `read_volume_set`; where a data set cannot be made, is of another kind, has no
            labels, or where they lie in several folders.
    """
    if (root is None) == (datasets is None):
        raise SegfocalError(
            "NiftiData needs root, a folder with dataset.json, or datasets: give one of them."
        )
    if datasets is not None:
        return _foreign(datasets)
    found = read_volume_set(Path(expand(str(root))))
    return found, {"train": [case.name for case in found.cases]}


def _foreign(datasets: Mapping[str, Spec]) -> tuple[VolumeSet, dict[str, list[str]]]:
    """Make data sets, and read the folder that they list."""
    check_parts(datasets)
    parts: dict[str, list[str]] = {}
    roots: set[Path] = set()
    for part, spec in datasets.items():
        kind = find_class(spec, part)
        if not issubclass(kind, CacheDataset):
            raise SegfocalError(
                f"datasets.{part} must be a data set of MONAI that lists images and labels of volumes, such "
                f"as monai.apps.DecathlonDataset, got {spec['class_path']}."
            )
        # left to itself it would read every volume
        items = make_dataset(spec, part, transform=[], cache_num=0).data
        if not items or not all(isinstance(item, dict) and {"image", "label"} <= set(item) for item in items):
            raise SegfocalError(
                f"datasets.{part}: {spec['class_path']} must list volumes with labels, got "
                f"{items[0] if items else 'none'}. Of the Decathlon, the sections training and validation "
                "have them."
            )
        images = [Path(str(item["image"])) for item in items]
        parts[part] = [without_ending(path.name) for path in images]
        roots |= {path.parents[1] for path in images}
    if len(roots) > 1:
        raise SegfocalError(f"datasets must lie in one folder, got {', '.join(sorted(map(str, roots)))}.")
    return read_volume_set(roots.pop()), parts
