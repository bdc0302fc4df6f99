"""Images and masks that a table lists, and which split each row belongs to; needs no torch."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from segfocal.data.division import Spreading
from segfocal.data.json_files import exists, is_file
from segfocal.data.lists import separator
from segfocal.data.pairs import Pair
from segfocal.data.rules import kind
from segfocal.data.splits import SPLITS, Split
from segfocal.data.strata import Presence
from segfocal.errors import SegfocalError, nearest

Row = Mapping[str, str]
SUFFIXES = (".csv", ".tsv", ".parquet")  # of tables, in lower case

_COLUMNS = ("image", "mask", "name", "split", "group", "region")  # in any case
_MOST_COLUMNS = 1000
_SEPARATOR = re.compile(r"sep=(.)\n")
_AS_LISTED = Split(train="train")


class TableLayout:
    """The rows of a table.

    Args:
        root: What paths start from, expanded.
        table: The file, below ``root`` or anywhere.
        classes: Multilabel classes with a column each; None: one column ``mask``.
        split: How the rows are divided; where the table has a column ``split``, that decides, and of this
            setting only folds, ``val_share`` (without rows for val) and ``train_fraction`` act.
        allowed: Names and groups that may lie in two splits.
    """

    def __init__(
        self,
        root: Path,
        table: str,
        *,
        classes: Sequence[str] | None,
        split: Split | None,
        allowed: Sequence[str] = (),
    ) -> None:
        self.root, self.split, self.allowed = root, split, allowed
        self.path = root / Path(table).expanduser()
        self.columns = ["mask"] if classes is None else [f"mask_{name}" for name in classes]
        self.multilabel = classes is not None
        self._groups: dict[str, str] = {}

    def divide(self, *, spreading: Spreading | None = None) -> dict[str, list[Pair]]:
        """Return the files of train, val and test.

        Args:
            spreading: Which classes a row holds, for ``split.stratify``; None: masks are not read.

        Raises:
            SegfocalError: Naming the row or column that is wrong.
        """
        rows = read_rows(self.path)
        _check_columns(rows[0], ["image", *self.columns], path=self.path)
        pairs: dict[str, Pair] = {}
        first: dict[str, Row] = {}
        for number, row in enumerate(rows, start=2):  # the first line of a CSV holds the names
            where = f"{self.path}, row {number}"
            pair = self._pair(row, where=where)
            if pair.name in pairs:
                pair = _joined(pairs[pair.name], pair, where=where)
                _check_same(first[pair.name], row, where=where)
            pairs[pair.name] = pair
            first.setdefault(pair.name, row)
            self._groups[pair.name] = row.get("group", "")
        presence = None if spreading is None else spreading.presence(pairs)
        final = self._divided(first, presence)
        return {part: [pairs[name] for name in final.get(part, [])] for part in SPLITS}

    def group_of(self, name: str) -> str:
        """Return the group of a row: what its column says, else what ``split`` finds in the name."""
        return self._groups[name] or (self.split.group_of(name) if self.split else name)

    def note(self) -> str:
        """Return what of ``split`` does not act, because the column decides; "" where all does."""
        rule = self.split
        if rule is None or rule.test_folds is not None or rule.by_folder():
            return ""
        rows = read_rows(self.path)
        if not any(row.get("split") for row in rows):
            return ""
        return (
            f"the column split of {self.path.name} divides the images; the rules of data.init_args.split do "
            "not act"
        )

    def _pair(self, row: Row, *, where: str) -> Pair:
        missing = [name for name in ("image", *self.columns) if not row[name] and not self.multilabel]
        if missing or not row["image"]:
            raise SegfocalError(f"{where}: the column {(missing or ['image'])[0]} is empty.")
        named = [row[name] for name in ("image", *self.columns)]
        paths = [placed(self.root, name) if name else None for name in named]
        for path in paths:
            if path is not None and not is_file(path):
                raise SegfocalError(
                    f"{where}: there is no file {path!s:.300}. Set root to what paths start from."
                )
        image, *masks = paths
        assert image is not None
        region = self._region(row, where)
        name = row.get("name") or row["image"].replace("\\", "/").removesuffix(image.suffix)
        return Pair(name, image, tuple(masks), region)

    def _region(self, row: Row, where: str) -> Path | None:
        if "region" not in row:
            return None
        path = placed(self.root, row["region"])
        if not row["region"] or not is_file(path):
            got = f"no file {path!s:.300}" if row["region"] else "an empty cell"
            raise SegfocalError(
                f"{where}: the column region needs the path of a mask below {self.root}, got {got}. Give "
                "each row one, or take the column out."
            )
        return path

    def _divided(self, rows: Mapping[str, Row], presence: Presence | None) -> dict[str, list[str]]:
        rule = self.split
        if any(row.get("split") for row in rows.values()):
            return self._as_listed(rows, presence)
        if rule is None:
            raise SegfocalError(f"{self.path} has no column split: add one, or set split.")
        common: dict[str, Any] = {"group_of": self.group_of, "presence": presence}
        drawn = rule.divide(sorted(rows), root=self.root, **common)
        return rule.finish(drawn, allowed=self.allowed, **common)

    def _as_listed(self, rows: Mapping[str, Row], presence: Presence | None) -> dict[str, list[str]]:
        """Return the splits of the column; of ``split``, folds, ``val_share`` and ``train_fraction`` act."""
        names: dict[str, list[str]] = {part: [] for part in SPLITS}
        for name, row in rows.items():
            part = row.get("split") or ""
            if part not in SPLITS:
                raise SegfocalError(
                    f"{self.path}: split of {name!r} must be train, val or test, got {part!r}."
                    f"{nearest(part, SPLITS)}"
                )
            names[part].append(name)
        rule = self.split
        if rule is None:
            return _AS_LISTED.finish(names, group_of=self.group_of, allowed=self.allowed)
        common: dict[str, Any] = {"group_of": self.group_of, "presence": presence}
        if rule.test_folds is not None:  # asked for in so many words: folds of all rows
            drawn = rule.divide(sorted(rows), root=self.root, **common)
            return rule.finish(drawn, allowed=self.allowed, **common)
        self._check_rule(rule)
        if rule.val_share and names["val"]:
            rule = replace(rule, val_share=0.0)  # the table has validation rows of its own
        if rule.val_folds is not None:
            names["val"] = []  # folds of train take their place
        return rule.finish(names, allowed=self.allowed, **common)

    def _check_rule(self, rule: Split) -> None:
        """The column decides over shares, numbers and folders; a list of names says something else."""
        if any(kind(given) == "list" for given in rule.rules().values()):
            raise SegfocalError(
                f"{self.path} has a column split, and the setting split lists names: leave one of them out."
            )


def placed(root: Path, name: str) -> Path:
    """Return the path that a cell means; written on Windows, its folders are parted by backslashes.

    Args:
        root: What paths start from.
        name: The cell.
    """
    given = Path(name)
    path = root / (given.expanduser() if name.startswith(("~/", "~\\")) or name == "~" else given)
    if "\\" in name and not exists(path):
        return root / name.replace("\\", "/")
    return path


def _joined(first: Pair, again: Pair, *, where: str) -> Pair:
    """Return a case with the masks of a further row of the same image."""
    if again.image != first.image:
        raise SegfocalError(
            f"{where}: the name {first.name!r} is there twice, for {first.image} and for {again.image}."
        )
    masks, more = list(first.masks), list(first.more or ((),) * len(first.masks))
    for place, path in enumerate(again.masks):
        if path is not None and path in first.mask_files(place):
            raise SegfocalError(
                f"{where}: the name {first.name!r} is there twice with the same mask {path}. Rows of one "
                "image are joined if their masks differ: remove one."
            )
        if path is not None and masks[place] is None:
            masks[place] = path
        elif path is not None:
            more[place] = (*more[place], path)
    return replace(first, masks=tuple(masks), more=tuple(more))


def _check_same(first: Row, again: Row, *, where: str) -> None:
    for column in ("split", "group", "region"):
        if first.get(column, "") != again.get(column, ""):
            raise SegfocalError(
                f"{where}: rows of one image must agree on {column}, got {first[column]!r} and "
                f"{again[column]!r}."
            )


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a table, column to text, without the spaces around names and cells.

    Args:
        path: Parquet, or text in UTF-8 or UTF-16 (a byte order mark is passed over) with commas, tabs,
            semicolons or bars between the columns, as its first line shows.

    Raises:
        SegfocalError: Where there is no such table, or it is empty or damaged.
    """
    import polars as pl  # planning a study on folders does not wait for it

    if not path.is_file():
        raise SegfocalError(f"there is no table {path}. Set root and table.")
    try:
        if path.suffix.lower() == ".parquet":
            table = pl.read_parquet(path).with_columns(pl.all().cast(pl.String).fill_null(""))
        else:
            text = _table_text(path)
            hint = _SEPARATOR.match(text)  # a line that spreadsheets write above the names
            text = text[hint.end() :] if hint else text
            head = text.partition("\n")[0]
            mark = hint.group(1) if hint else separator(head)
            if head.count(mark) >= _MOST_COLUMNS:
                raise SegfocalError(
                    f"{path} has over {_MOST_COLUMNS} columns. Is it a table of images and masks?"
                )
            table = pl.read_csv(io.BytesIO(text.encode()), infer_schema=False, separator=mark)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, UnicodeDecodeError, OSError) as error:
        reason = (str(error).splitlines() or [""])[0][:300].rstrip(".")  # what follows is for its programmers
        raise SegfocalError(f"{path} must be a CSV or Parquet table: {reason}.") from error
    names = [_known(_bare(name)) for name in table.columns]
    if twice := [name for name in names if names.count(name) > 1]:
        raise SegfocalError(f"{path} has two columns {twice[0]!r}. Rename or remove one.")
    if not len(table):
        raise SegfocalError(f"{path} must have a row per image, got none.")
    return [dict(zip(names, (_bare(cell or "") for cell in row), strict=True)) for row in table.rows()]


def _known(name: str) -> str:
    """Return a column that is written Image or MASK as the name that it stands for."""
    return name.lower() if name.lower() in _COLUMNS else name


def _bare(cell: str) -> str:
    """Return a cell without spaces and the quotes that a space before them kept from being read."""
    return cell.strip().removeprefix('"').removesuffix('"')


def _table_text(path: Path) -> str:
    """Return the text of a table with plain ends of lines: UTF-8, or UTF-16 as spreadsheets save it."""
    content = path.read_bytes()
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = content.decode("utf-16" if wide else "utf-8-sig")
    if "\0" in text:
        raise SegfocalError(f"{path} must be a CSV table, got NUL characters in it. Save it again as text.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _check_columns(row: Row, wanted: Sequence[str], *, path: Path) -> None:
    missing = [name for name in wanted if name not in row]
    if missing:
        raise SegfocalError(
            f"{path} must have the columns {', '.join(wanted)}; {missing[0]} is missing."
            f"{nearest(missing[0], row)} Found: {', '.join(row)}."
        )
