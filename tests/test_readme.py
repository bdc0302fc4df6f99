"""The README says what happens: its code is run, its printed numbers are compared, its table is measured."""

import contextlib
import csv
import io
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = [sys.executable, "-m", "segfocal"]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)


def python_blocks():
    """Each python block with the text block that follows it."""
    following = [*BLOCKS[1:], ("", "")]
    return [
        (code, text)
        for (kind, code), (after, text) in zip(BLOCKS, following, strict=True)
        if kind == "python"
    ]


def bash_lines():
    lines = [
        line.split("#")[0].strip() for kind, code in BLOCKS if kind == "bash" for line in code.splitlines()
    ]
    return [shlex.split(line) for line in lines if line]


def printed_by(code):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "README.md", "exec"), {})
    return out.getvalue()


def test_every_block_is_of_a_kind_that_is_run():
    assert {kind for kind, _ in BLOCKS} == {"bash", "python", "text"}
    assert {words[0] for words in bash_lines()} == {"make", "pip", "segfocal"}


def test_first_example_prints_its_numbers():
    code, text = python_blocks()[0]
    assert printed_by(code) == text


def test_make_knows_every_target():
    for words in bash_lines():
        if words[0] == "make":
            subprocess.run([*words, "--dry-run"], cwd=ROOT, check=True, capture_output=True)


def test_measured_table_is_in_the_results():
    results = ROOT / "experiments" / "bench" / "results.csv"
    rows = list(csv.DictReader(results.read_text().splitlines()))
    measured = {f"{float(row['value']):.1f}" for row in rows if row["unit"] == "ms"}
    shown = re.findall(r"(\d+\.\d) ms", README.split("## What is exact")[0])
    assert shown
    assert set(shown) <= measured


def first_line_of_server(words, *, cwd):
    """What a command that serves until it is stopped says first; on a port that is free."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = [*PROGRAM, *words[1:], "--port", port]
    with subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            return server.stdout.readline()
        finally:
            server.terminate()


@pytest.mark.slow
def test_own_files_section_runs_as_it_stands(tmp_path, monkeypatch):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    for words in bash_lines():
        if words[:2] == ["segfocal", "dashboard"]:
            assert "http://127.0.0.1:" in first_line_of_server(words, cwd=tmp_path)
        elif words[0] == "segfocal":
            done = subprocess.run(
                [*PROGRAM, *words[1:]],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                timeout=400,
                check=False,
            )
            assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
    monkeypatch.chdir(tmp_path)
    for code, text in python_blocks()[1:]:
        assert printed_by(code) == text
