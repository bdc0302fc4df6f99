"""Find volumes: in a folder, or through a data set of MONAI, which downloads and divides them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from monai.data import CacheDataset

from segfocal.data.division import expand
from segfocal.data.foreign.making import Spec, check_parts, find_class, make_dataset
from segfocal.data.volumes.layout import VolumeSet, read_volume_set, read_volume_table, without_ending
from segfocal.errors import SegfocalError


def find_volumes(
    root: str | None,
    datasets: Mapping[str, Spec] | None,
    *,
    table: str | None = None,
    labels: Mapping[str, int | Sequence[int]] | None = None,
    channels: Sequence[str] | None = None,
) -> tuple[VolumeSet, dict[str, list[str]]]:
    """Return what dataset.json or a table says, and split to names, before anything is divided.

    Args:
        root: Folder with dataset.json, all of whose cases are those of train, or what the paths of ``table``
            start from; None with ``datasets``.
        datasets: ``train``, ``val`` and ``test`` to class path and arguments; None with ``root``.
        table: As in `NiftiData`.
        labels: As in `NiftiData`.
        channels: As in `NiftiData`.

    Raises:
        SegfocalError: As `read_volume_set`; where a data set cannot be made, is of another kind, has no
            labels, or where they lie in several folders.
    """
    if (root is None) == (datasets is None):
        raise SegfocalError(
            "NiftiData needs root, a folder with dataset.json, or datasets: give one of them."
        )
    if table is None and (labels or channels):
        raise SegfocalError("labels and channels belong to a table; dataset.json has its own. Set table.")
    if datasets is not None:
        if table is not None:
            raise SegfocalError("datasets divide themselves: give table or datasets, not both.")
        return _foreign(datasets)
    place = Path(expand(str(root)))
    if table is None and not (place / "dataset.json").is_file() and place.is_dir():
        raise SegfocalError(
            f"expected {place / 'dataset.json'}, found no such file. Give the folder that holds it, or list "
            f"the volumes in a table: segfocal fingerprint {place} --out X.yaml writes one."
        )
    found = read_volume_set(place) if table is None else read_volume_table(place, table, labels, channels)
    return found, found.parts()


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
