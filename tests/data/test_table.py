"""TableData: rows of a CSV or Parquet file as cases."""

import numpy as np
import polars as pl
import pytest
from PIL import Image

from segfocal.__main__ import main
from segfocal.data import Split, TableData
from segfocal.data.content import content_hashes
from segfocal.errors import SegfocalError

SETTINGS = {"patch_size": 16, "batch_size": 2}


@pytest.fixture
def rows(tmp_path):
    """Six images of three patients, each with masks of two lesions."""
    table = []
    for number in range(6):
        image, mask, other = f"scans/{number}.png", f"labels/{number}_a.png", f"labels/{number}_b.png"
        for path in (image, mask, other):
            (tmp_path / path).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((20, 24), 40 * number, np.uint8)).save(tmp_path / image)
        for position, path in enumerate((mask, other)):
            plane = np.zeros((20, 24), np.uint8)
            plane[position : number + 1 + position, 3] = 255
            Image.fromarray(plane).save(tmp_path / path)
        table.append(
            {"image": image, "mask": mask, "mask_ma": mask, "mask_he": other, "group": f"p{number // 2}"}
        )
    return tmp_path, table


def write(folder, table, name="cases.csv"):
    frame = pl.DataFrame(table)
    frame.write_parquet(folder / name) if name.endswith("parquet") else frame.write_csv(folder / name)


@pytest.mark.parametrize("name", ["cases.csv", "cases.parquet"])
def test_column_split_divides(rows, name):
    folder, table = rows
    for row, part in zip(table, ["train", "train", "train", "train", "val", "val"], strict=True):
        row["split"] = part
    write(folder, table, name)
    data = TableData(str(folder), name, "binary", **SETTINGS)
    assert data.source("train").names == ["scans/0", "scans/1", "scans/2", "scans/3"]
    assert data.source("val").groups == ["p2", "p2"]
    assert len(data.source("test")) == 0
    assert int(data.source("train").mask(3).sum()) == 4


def test_groups_of_the_table_are_never_divided(rows):
    folder, table = rows
    write(folder, table)
    for seed in range(5):
        split = Split(train=0.34, val=0.33, test=0.33, seed=seed)
        data = TableData(str(folder), "cases.csv", "binary", split=split, **SETTINGS)
        groups = [set(data.source(part).groups) for part in ("train", "val", "test")]
        assert [len(found) for found in groups] == [1, 1, 1]
        assert len(set.union(*groups)) == 3


def test_a_group_in_two_splits_is_refused(rows):
    folder, table = rows
    for number, row in enumerate(table):
        row["split"] = "val" if number == 1 else "train"
    write(folder, table)
    with pytest.raises(SegfocalError, match=r"group 'p0' .* is in train and in val"):
        TableData(str(folder), "cases.csv", "binary", **SETTINGS).source("train")


def test_multilabel_has_a_column_per_class(rows):
    folder, table = rows
    table[0]["mask_he"] = ""
    write(folder, table)
    data = TableData(
        str(folder), "cases.csv", "multilabel", ["ma", "he"], split=Split(train=4, val=2), **SETTINGS
    )
    source = data.source("train")
    assert source.mask(0).shape == (2, 20, 24)
    assert [int(plane.sum()) for plane in source.mask(0)] == [1, 0]
    assert [int(plane.sum()) for plane in source.mask(3)] == [4, 4]


def test_names_may_be_given(rows):
    folder, table = rows
    for number, row in enumerate(table):
        row["name"] = f"case {number}"
    write(folder, table)
    data = TableData(str(folder), "cases.csv", "binary", split=Split(train=["case [0-3]"]), **SETTINGS)
    assert data.source("train").names == ["case 0", "case 1", "case 2", "case 3"]


def spoil(table, **changes):
    return [table[0] | changes, *table[1:]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: [{k: v for k, v in row.items() if k != "mask"} for row in t], "mask is missing"),
        (lambda t: spoil(t, image="scans/9.png"), r"row 2: there is no file .*scans/9.png"),
        (lambda t: spoil(t, mask=""), "row 2: the column mask is empty"),
        (lambda t: [*t, t[0]], r"row 8: the name 'scans/0' is there twice"),
        (
            lambda t: [row | {"split": "trian"} for row in t],
            r"must be train, val or test, got 'trian'. Did you",
        ),
        (lambda t: t[:0] or [dict.fromkeys(t[0], "")][:0], "must be a CSV or Parquet table|a row per image"),
    ],
    ids=["column", "file", "empty", "twice", "split", "rows"],
)
def test_wrong_tables_are_named(rows, change, message):
    folder, table = rows
    write(folder, change(table))
    split = None if message.startswith("must be train") else Split(train=6)
    with pytest.raises(SegfocalError, match=message):
        TableData(str(folder), "cases.csv", "binary", split=split, **SETTINGS).source("train")


def test_a_row_of_too_many_cells_is_named_in_one_line(rows):
    folder, table = rows
    write(folder, table)
    with (folder / "cases.csv").open("a") as file:
        file.write("a,b,c,d,e,f,g,h,i\n")
    with pytest.raises(SegfocalError, match="must be a CSV or Parquet table: found more fields") as caught:
        TableData(str(folder), "cases.csv", "binary", split=Split(train=6), **SETTINGS).source("train")
    assert "\n" not in str(caught.value)


def test_no_split_at_all_is_named(rows):
    folder, table = rows
    write(folder, table)
    with pytest.raises(SegfocalError, match="has no column split"):
        TableData(str(folder), "cases.csv", "binary", **SETTINGS).source("train")
    with pytest.raises(SegfocalError, match="there is no table"):
        TableData(str(folder), "absent.csv", "binary", **SETTINGS).source("train")


def test_the_column_split_decides_and_says_so(rows, capsys):
    """A configuration with shares, as configs/train/folder.yaml, takes such a table as it is."""
    folder, table = rows
    parts = ["train", "train", "train", "train", "test", "test"]
    write(folder, [row | {"split": part} for row, part in zip(table, parts, strict=True)])

    def names(**split):
        data = TableData(str(folder), "cases.csv", "binary", split=Split(**split), **SETTINGS)
        return [[name[-1] for name in data.source(part).names] for part in ("train", "val", "test")]

    assert names(train=0.7, val=0.15, test=0.15) == [["0", "1", "2", "3"], [], ["4", "5"]]
    assert "the column split of cases.csv divides the images" in capsys.readouterr().err
    # folds of train, as tune asks for them; the patients of the column group stay whole
    folds = [names(train="train", test="test", val_folds=2, val_fold=fold) for fold in range(2)]
    assert [fold[2] for fold in folds] == [["4", "5"]] * 2
    assert sorted(fold[1] for fold in folds) == [["0", "1"], ["2", "3"]]
    with pytest.raises(SegfocalError, match="leave one of them out"):
        names(train=["*[0-3]"])


def test_rows_of_one_image_are_one_case(rows):
    """What one of its masks marks is marked; splits and groups must agree."""
    folder, table = rows
    extra = [row | {"mask": row["mask_he"]} for row in table[:2]]
    write(folder, [*table, *extra])
    data = TableData(str(folder), "cases.csv", "binary", split=Split(train=6), **SETTINGS)
    source = data.source("train")
    assert len(source) == 6
    # rows 0 to n and 1 to n + 1 of one column are marked
    assert [int(source.mask(n).sum()) for n in range(3)] == [2, 3, 3]
    before = source.identity(0, content_hashes(source.case_files(0)))
    plane = np.full((20, 24), 255, np.uint8)
    Image.fromarray(plane).save(folder / table[0]["mask_he"])
    assert source.identity(0, content_hashes(source.case_files(0))) != before
    write(folder, [*table, extra[0] | {"group": "p9"}])
    with pytest.raises(SegfocalError, match="must agree on group"):
        TableData(str(folder), "cases.csv", "binary", split=Split(train=6), **SETTINGS).source("train")


FORMS = {
    "TABLE.CSV": (",", "\n", ""),
    "cases.tsv": ("\t", "\n", ""),
    "CASES.TSV": ("\t", "\r\n", "\ufeff"),
    "spaces.csv": (", ", "\n", ""),
    "german.csv": (";", "\r\n", "\ufeff"),
    "quoted.csv": (', "', "\n", ""),
    "bars.csv": ("|", "\n", ""),
    "old_mac.csv": (",", "\r", ""),
    "hinted.csv": (";", "\r\n", "sep=;\r\n"),
    "wide.csv": ("\t", "\r\n", "\ufeff"),
    "windows.csv": (";", "\r\n", ""),
    "headed.csv": (",", "\n", ""),
}


@pytest.mark.parametrize("name", [*FORMS, "CASES.PARQUET"])
def test_tables_of_every_form_hold_the_same_cases(rows, name, capsys):
    """The truth is the table as it was made; fingerprint and training read it alike."""
    folder, table = rows
    if name in FORMS:
        between, end, mark = FORMS[name]
        lines = [list(table[0]), *(list(row.values()) for row in table)]
        quote = '"' if between.endswith('"') else ""
        if name == "windows.csv":
            lines = [[cell.replace("/", "\\") for cell in line] for line in lines]
        if name == "headed.csv":
            lines[0] = [cell.upper() if "_" not in cell else cell for cell in lines[0]]
        text = end.join(line[0] + "".join(f"{between}{cell}{quote}" for cell in line[1:]) for line in lines)
        (folder / name).write_bytes(
            (mark + text + end).encode("utf-16-le" if name == "wide.csv" else "utf-8")
        )
    else:
        pl.DataFrame(table).write_parquet(folder / name)
    data = TableData(str(folder), name, "binary", split=Split(train=6), **SETTINGS)
    pairs = data.pairs()["train"]
    assert [str(pair.image) for pair in pairs] == [str(folder / row["image"]) for row in table]
    assert [str(pair.masks[0]) for pair in pairs] == [str(folder / row["mask"]) for row in table]
    assert [data.group_of(pair.name) for pair in pairs] == [row["group"] for row in table]
    assert main(["fingerprint", str(folder / name), "--processes", "1"]) == 0
    assert "images" in capsys.readouterr().out


def test_a_tilde_stands_for_the_home_folder(rows, monkeypatch, tmp_path_factory):
    folder, table = rows
    monkeypatch.setenv("HOME", str(folder))
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write(folder, [row | {"image": f"~/{row['image']}"} for row in table])
    (folder / "train.txt").write_text("0\n1\n")
    (folder / "classes.csv").write_bytes("\ufeffname; r; g; b\r\nlesion; 255; 255; 255\r\n".encode())
    settings = SETTINGS | {"colors": "~/classes.csv", "other": 0}
    data = TableData("~", "~/cases.csv", "binary", split=Split(train=["*"]), **settings)
    assert (len(data.pairs()["train"]), data.class_names) == (6, ["lesion"])
    assert TableData(
        str(elsewhere), "~/cases.csv", "binary", split=Split(train=2), **SETTINGS
    ).layout.path == (folder / "cases.csv")


def test_two_columns_of_one_name_are_refused(rows):
    folder, _ = rows
    (folder / "cases.csv").write_text("image,mask, mask\nscans/0.png,labels/0_a.png,labels/0_b.png\n")
    with pytest.raises(SegfocalError, match="two columns 'mask'"):
        TableData(str(folder), "cases.csv", "binary", split=Split(train=1), **SETTINGS).pairs()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"image,mask\nscans/0.png\0,labels/0_a.png\n", "NUL characters"),
        (b"image,mask," + b"," * 1_000_000 + b"\n", "over 1000 columns"),
        (b"image,mask\nscans/\xe4.png,labels/0_a.png\n", "must be a CSV or Parquet table: 'utf-8' codec"),
        (b"", "must be a CSV or Parquet table"),
        (b"PAR1 and no more", "must be a CSV or Parquet table"),
    ],
)
def test_what_is_no_table_is_named_in_one_line(rows, content, message):
    folder, _ = rows
    path = folder / ("cases.parquet" if content.startswith(b"PAR1") else "cases.csv")
    path.write_bytes(content)
    with pytest.raises(SegfocalError, match=message) as found:
        TableData(str(folder), path.name, "binary", split=Split(train=6), **SETTINGS).pairs()
    assert str(path) in str(found.value)
    assert "\n" not in str(found.value)
