"""Images and masks listed in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from segfocal.data.files import FileData
from segfocal.data.pairs import Pair
from segfocal.data.splits import SPLITS, Split
from segfocal.errors import SegfocalError, nearest
from segfocal.imbalance.counts import Task

Row = Mapping[str, str]

_AS_LISTED = Split(train="train")


class TableData(FileData):
    """Images with masks, a row each, from a CSV or Parquet file.

    Columns: ``image`` and ``mask`` (paths below ``root``; for multilabel ``mask_<class>`` per class, empty
    where the class is absent), and where wanted ``name`` (default: the path of the image without its
    ending), ``split`` (train, val or test) and ``group`` (patient, drive: never divided between splits).

    Args:
        root: As in ``FileData``.
        table: The file, below ``root`` or anywhere.
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        class_names: As in ``FileData``.
        split: How the rows are divided; null where the table has a column ``split``.
        **settings: Everything of ``FileData`` (values, colors, other, ...) and ``SegmentationData``
            (preprocess, patch_size, batch_size, augment, ...).

    Raises:
        SegfocalError: As ``FileData``, naming the row of the table.
    """

    def __init__(
        self,
        root: str,
        table: str,
        task: Task,
        class_names: list[str] | None = None,
        *,
        split: Split | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(root=root, task=task, class_names=class_names, **settings)
        self.table, self.split = table, split
        self._groups: dict[str, str] = {}

    def pairs(self) -> dict[str, list[Pair]]:
        """Return the files of train, val and test."""
        path = self.root / self.table
        rows = _rows(path)
        columns = ["mask"] if self.task != "multilabel" else [f"mask_{name}" for name in self.class_names]
        _check_columns(rows[0], ["image", *columns], path=path)
        pairs: dict[str, Pair] = {}
        for number, row in enumerate(rows, start=2):  # the first line of a CSV holds the names
            pair = self._pair(row, columns, where=f"{path}, row {number}")
            if pairs.setdefault(pair.name, pair) is not pair:
                raise SegfocalError(f"{path}, row {number}: the name {pair.name!r} is there twice.")
            self._groups[pair.name] = row.get("group", "")
        names = list(pairs)
        final = self._divided(dict(zip(names, rows, strict=True)), path=path)
        return {part: [pairs[name] for name in final.get(part, [])] for part in SPLITS}

    def group_of(self, name: str) -> str:
        """Return the group of a row: what its column says, else what ``split`` finds in the name."""
        return self._groups[name] or (self.split.group_of(name) if self.split else name)

    def _pair(self, row: Row, columns: Sequence[str], *, where: str) -> Pair:
        missing = [name for name in ("image", *columns) if not row[name] and self.task != "multilabel"]
        if missing or not row["image"]:
            raise SegfocalError(f"{where}: the column {(missing or ['image'])[0]} is empty.")
        paths = [self.root / row[name] if row[name] else None for name in ("image", *columns)]
        for path in paths:
            if path is not None and not path.is_file():
                raise SegfocalError(f"{where}: there is no file {path}. Set root to what paths start from.")
        image, *masks = paths
        assert image is not None
        name = row.get("name") or row["image"].removesuffix(image.suffix)
        return Pair(name, image, tuple(masks))

    def _divided(self, rows: Mapping[str, Row], *, path: Path) -> dict[str, list[str]]:
        rule = self.split
        if not any(row.get("split") for row in rows.values()):
            if rule is None:
                raise SegfocalError(f"{path} has no column split: add one, or set split.")
            drawn = rule.divide(sorted(rows), root=self.root, group_of=self.group_of)
            return rule.finish(drawn, group_of=self.group_of, allowed=self.allow_leaks)
        if rule is not None:
            raise SegfocalError(f"{path} has a column split: set split to null, or take the column out.")
        names: dict[str, list[str]] = {part: [] for part in SPLITS}
        for name, row in rows.items():
            part = row.get("split") or ""
            if part not in SPLITS:
                raise SegfocalError(
                    f"{path}: split of {name!r} must be train, val or test, got {part!r}."
                    f"{nearest(part, SPLITS)}"
                )
            names[part].append(name)
        return _AS_LISTED.finish(names, group_of=self.group_of, allowed=self.allow_leaks)


def _rows(path: Path) -> list[Row]:
    if not path.is_file():
        raise SegfocalError(f"there is no table {path}. Set root and table.")
    try:
        if path.suffix == ".parquet":
            table = pl.read_parquet(path).with_columns(pl.all().cast(pl.String).fill_null(""))
        else:
            table = pl.read_csv(path, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise SegfocalError(f"{path} must be a CSV or Parquet table: {error}.") from error
    if not len(table):
        raise SegfocalError(f"{path} must have a row per image, got none.")
    return [{name: (value or "").strip() for name, value in row.items()} for row in table.to_dicts()]


def _check_columns(row: Row, wanted: Sequence[str], *, path: Path) -> None:
    missing = [name for name in wanted if name not in row]
    if missing:
        raise SegfocalError(
            f"{path} must have the columns {', '.join(wanted)}; {missing[0]} is missing."
            f"{nearest(missing[0], row)} Found: {', '.join(row)}."
        )
