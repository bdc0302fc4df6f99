"""The verb: what it refuses, before and after Dash is loaded."""

import subprocess
import sys

import pytest

from segfocal.__main__ import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "LOGDIR"),
        (["/no/such/folder"], "must be a folder"),
        (["{here}", "--port", "70000"], "65535"),
        (["{here}", "--host", "0.0.0.0"], "needs --token"),
        (["{here}", "--token", "short"], "16 printable"),
        (["{here}", "--prot", "1"], "Did you mean '--port'"),
    ],
)
def test_wrong_words_are_named(words, message, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("SEGFOCAL_TOKEN", raising=False)
    assert main(["dashboard", *(word.format(here=tmp_path) for word in words)]) == 2
    assert message in capsys.readouterr().err


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from segfocal.__main__ import main\n"
        "try: main(['dashboard', '--help'])\n"
        "except SystemExit: pass\n"
        "print('HEAVY', sorted({'dash', 'plotly', 'polars', 'torch', 'flask'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout


def test_serving_needs_no_torch():
    code = "import sys; import segfocal.report.dashboard.serve; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
