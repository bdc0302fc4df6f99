"""Tables and bars come from the rows; older rows stay readable."""

import re
import shutil
import xml.etree.ElementTree

from experiments.bench import plot, rows, table


def test_old_rows_stay_readable_and_take_new_ones(tiny, tmp_path):
    path = tmp_path / "results.csv"
    old = "stem,provider,shape,dtype,mode,value,unit,p20,p80,device,versions,commit,date\n"
    old += "binary focal,monai,1x1x4x4,float32,forward+gradient,25.04,ms,24,26,old,torch 2,abc,2026-11-01\n"
    old += "binary focal,monai,1x1x4x4,float32,kept for gradient,24.0,MiB,24,24,old,torch 2,abc,2026-11-01\n"
    path.write_text(old)
    before = table.tables(path)
    assert "| MONAI | 25.0 ms, 24 MiB |" in before
    assert tiny("--only", "image") == 0
    assert table.tables(path).startswith(before)
    assert {row["provider"] for row in rows.read(path)} == {
        "monai",
        "segfocal compiled",
        "segfocal eager",
        "torch bce",
    }


def test_table_shows_the_last_run_of_every_problem(tiny, tmp_path):
    path = tmp_path / "results.csv"
    assert tiny("--commit", "first") == 0
    assert tiny("--commit", "second", "--only", "volume", "--dtypes", "float32") == 0
    shown = table.tables(path, dtype="float32")
    assert shown.count("commit first") == shown.count("commit second") == 1
    assert "+ dice" not in shown.split("commit second")[0]
    values = {
        f"{float(row['value']):.{1 if float(row['value']) >= 1 else 3}f}"
        for row in table.latest(rows.read(path))
    }
    assert set(re.findall(r"([\d.]+) ms", shown)) <= values


def test_plot_has_a_bar_per_provider(tiny, tmp_path):
    assert tiny("--dtypes", "float32") == 0
    drawing = xml.etree.ElementTree.parse(tmp_path / "losses.svg").getroot()
    blank_sheet = 1
    assert len(drawing.findall("{*}rect")) == blank_sheet + 3 + 4 + 4


def test_rows_of_the_repository_make_tables_and_a_plot(tmp_path):
    path = tmp_path / "results.csv"
    shutil.copy(rows.RESULTS, path)
    assert "segfocal compiled" in table.tables(path)
    xml.etree.ElementTree.parse(plot.write(path))
