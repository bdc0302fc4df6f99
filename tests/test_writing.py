"""What a command may write where: properties over names, links, spellings, lists and kills."""

import csv
import hashlib
import io
import json
import os
import subprocess
import sys

import polars as pl
import pytest

from segfocal.data.fingerprint.accounts import Account, account_table
from segfocal.errors import SegfocalError
from segfocal.report.page.bundle import csv_text
from segfocal.writing import LISTED, claim_file, claim_files, claim_stems, replace_folder


def wrote(folder, **files):
    """Write files as a command does."""
    names = [f"{name}.txt" for name in files]
    place = claim_files(folder, names)
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text)
    place.record(names)


def refused(words, *given, call=claim_files, **options):
    with pytest.raises(SegfocalError, match=words):
        call(*given, **options)


def test_new_names_are_accepted_in_any_folder(tmp_path):
    claim_files(tmp_path / "missing", ["a.txt"])
    (tmp_path / "other.txt").write_text("")
    claim_files(tmp_path, ["a.txt", "deep/b.txt"])


def test_only_listed_unedited_names_are_replaced_and_only_on_request(tmp_path):
    wrote(tmp_path, a="1", b="2")
    refused("Add --overwrite", tmp_path, ["a.txt"])
    claim_files(tmp_path, ["a.txt", "b.txt"], overwrite=True)
    (tmp_path / "b.txt").write_text("edited")
    refused("b.txt was edited", tmp_path, ["a.txt", "b.txt"], overwrite=True)
    (tmp_path / "c.txt").write_text("theirs")
    refused("c.txt exists and is not listed", tmp_path, ["a.txt", "c.txt"], overwrite=True)


@pytest.mark.parametrize("name", ["a.txt", "deep/a.txt", LISTED])
def test_links_are_never_written_through(name, tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/a.txt").write_text("theirs")
    (tmp_path / "out").mkdir()
    link = tmp_path / "out" / name.split("/")[0]
    link.symlink_to(tmp_path / "theirs" / ("" if "/" in name else "a.txt"))
    refused("is a link", tmp_path / "out", [name if name != LISTED else "b.txt"], overwrite=True)


@pytest.mark.parametrize(
    "spelling", ["data", "data/sub", "./data/../data", "link", "link/sub", "data/new/deep"]
)
def test_nothing_goes_into_an_input_folder_by_any_spelling(spelling, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("data")
    for given in ("data", tmp_path / "link"):
        refused("must not lie in", spelling, ["a.txt"], inputs=[given], overwrite=True)
    refused("must not lie in", "data", ["masks"], ["a"], inputs=[tmp_path / "data"], call=claim_stems)


def test_a_folder_of_results_that_is_the_input_is_refused(tmp_path):
    (tmp_path / "masks").mkdir()
    refused("must not lie in", tmp_path, ["masks"], ["a"], inputs=[tmp_path / "masks"], call=claim_stems)


def test_an_input_file_is_no_output(tmp_path):
    (tmp_path / "a.yaml").write_text("")
    os.link(tmp_path / "a.yaml", tmp_path / "b.yaml")
    refused("must not lie in", tmp_path / "b.yaml", inputs=[tmp_path / "a.yaml"], call=claim_file)


def test_results_named_after_inputs_are_found_at_any_depth(tmp_path):
    (tmp_path / "masks/lesion").mkdir(parents=True)
    (tmp_path / "masks/lesion/case_1.png").write_text("truth")
    claim_stems(tmp_path, ["masks"], ["case_2"])
    refused("case_1.png exists", tmp_path, ["masks"], ["case_1"], overwrite=True, call=claim_stems)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"files": []}', '{"files": {"a.txt": 1}}', "\xff", "[" * 100_000, "null"]
)
def test_a_damaged_list_allows_nothing(text, tmp_path):
    (tmp_path / LISTED).write_text(text)
    refused("must list the files", tmp_path, ["a.txt"], overwrite=True)


@pytest.mark.parametrize("spelling", ["../theirs.txt", "{}/theirs.txt", "link/theirs.txt", ".", ""])
def test_a_hostile_list_deletes_nothing_outside(spelling, tmp_path):
    theirs = tmp_path / "theirs.txt"
    theirs.write_text("theirs")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/link").symlink_to(tmp_path)
    sha = hashlib.sha256(b"theirs").hexdigest()
    (tmp_path / "out" / LISTED).write_text(json.dumps({"files": {spelling.format(tmp_path): sha}}))
    replace_folder(claim_files(tmp_path / "out", ["a.txt"], overwrite=True), {"a.txt": b"new"})
    assert theirs.read_text() == "theirs"
    assert (tmp_path / "out/a.txt").read_bytes() == b"new"


KILLED = """
import os, sys
from segfocal.writing import claim_files, replace_folder
left = int(sys.argv[2])
def count(event, _):
    global left
    if event == "open" or event.startswith(("os.", "ctypes.call")):
        left -= 1
        if left < 0:
            os._exit(9)
place = claim_files(sys.argv[1], ["index", "d/data"], overwrite=True)
sys.addaudithook(count)
replace_folder(place, {"index": b"new", "d/data": b"new"})
"""


def test_a_kill_at_any_operation_leaves_the_old_page_or_the_new(tmp_path):
    seen = set()
    for number in range(60):
        out = tmp_path / str(number) / "out"
        out.parent.mkdir()
        replace_folder(claim_files(out, ["index", "d/data"]), {"index": b"old", "d/data": b"old"})
        (out / "mine").write_text("mine")
        done = subprocess.run([sys.executable, "-c", KILLED, out, str(number)], check=False)
        pair = (out / "index").read_bytes(), (out / "d/data").read_bytes()
        assert pair in ((b"old", b"old"), (b"new", b"new"))
        assert [path.read_text() for path in out.parent.rglob("mine")] == ["mine"]
        seen.add(pair)
        if done.returncode == 0:
            break
    assert done.returncode == 0
    assert len(seen) == 2


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_no_text_of_a_table_is_a_formula(first):
    name = f"{first}1+1"
    frame = pl.DataFrame({"arm": [name, "plain", None], "dice": [-0.5, 0.5, None]})
    tables = [csv_text(frame), account_table([Account(name, "image", "train", "")])]
    for text in tables:
        rows = list(csv.reader(io.StringIO(text, newline="")))[1:]
        assert rows[0][0] == (r"\r1+1" if first == "\r" else f" {name}")
    rows = list(csv.reader(io.StringIO(tables[0], newline="")))[1:]
    assert [row[1] for row in rows] == ["-0.500000", "0.500000", ""]
    assert rows[1][0] == "plain"
