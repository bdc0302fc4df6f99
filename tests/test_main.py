"""The front end: what it prints, what it exits with, and what it does not import."""

import re
import subprocess
import sys
from importlib import import_module

import pytest

from segfocal import __version__
from segfocal.__main__ import _VERBS, main

HEAVY = {"torch", "pytorch_lightning", "jsonargparse", "monai", "polars", "albumentations"}


@pytest.mark.parametrize(
    "argv",
    [["--help"], ["--version"], ["fit", "--help"], ["test", "--help"], ["predict", "--help"], ["fitt"]],
)
def test_light_words_import_nothing_heavy(argv):
    code = (
        "import sys; from segfocal.__main__ import main\n"
        f"try: main({argv!r})\n"
        "except SystemExit: pass\n"
        f"print('HEAVY', sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout


def test_help_names_every_verb(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(re.search(rf"\b{verb}\b", shown) for verb in _VERBS)


@pytest.mark.parametrize("verb", _VERBS)
def test_every_verb_has_its_function(verb):
    module, function = _VERBS[verb]
    assert callable(getattr(import_module(module), function))


def test_no_verb_shows_the_help_and_fails(capsys):
    assert main([]) == 2
    assert "usage: segfocal VERB" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"segfocal {__version__}\n"


def test_unknown_verb_names_the_nearest(capsys):
    assert main(["predcit"]) == 2
    shown = capsys.readouterr()
    assert "Did you mean 'predict'?" in shown.err
    assert shown.out == ""


def test_error_is_one_line_without_traceback(capsys):
    assert main(["test", "--run", "/no/such/run"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("segfocal: error: ")
    assert shown.count("\n") == 1


def test_debug_shows_the_traceback(monkeypatch):
    monkeypatch.setenv("SEGFOCAL_DEBUG", "1")
    with pytest.raises(ValueError, match="no such folder"):
        main(["test", "--run", "/no/such/run"])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["predict", "--run", "r", "--images", "i", "--out", "o", "--overlai"], "Did you mean '--overlay'"),
        (["predict", "--run", "r"], "--images, --out"),
        (["generate", "--out", "o", "--kind", "lesion"], "'lesions'"),
        (["validate"], "needs --run DIR"),
        (["fit"], "needs --config"),
        (["fit", "--resume"], "--resume needs a value"),
        (["fit", "--resume", "/no/such/run", "--run", "/other"], "leave out --run"),
    ],
)
def test_wrong_words_are_named(argv, message, capsys):
    assert main(argv) == 2
    assert message in capsys.readouterr().err


def test_generate_writes_matching_images_and_masks(tmp_path, capsys):
    out = tmp_path / "set"
    assert main(["generate", "--out", str(out), "--count", "2", "--size", "48"]) == 0
    names = {folder: sorted(path.name for path in (out / folder).iterdir()) for folder in ("images", "masks")}
    assert names["images"] == names["masks"]
    assert len(names["images"]) == 2
    assert main(["generate", "--out", str(out)]) == 2
    assert "new or empty folder" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["study", "--help"]], ids=" ".join)
def test_a_reader_that_leaves_is_no_error(words):
    command = [sys.executable, "-m", "segfocal", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
