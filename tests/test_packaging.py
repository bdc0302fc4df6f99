"""The wheel installs, imports and answers, away from the checkout."""

import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def run(*words, **options):
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=300, **options).stdout


def test_dependencies_name_what_lightning_does_not_bring():
    named = {line.split(">")[0].split("[")[0] for line in project()["dependencies"]}
    assert {"jsonargparse", "tensorboard", "torch", "monai", "albumentations"} <= named
    assert not named & {"lightning", "albumentationsx", "opencv-python"}


def test_constraints_pin_every_dependency():
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().split()
    }
    wanted = project()["dependencies"] + project()["optional-dependencies"]["dev"]
    assert {line.split(">")[0].split("[")[0].lower() for line in wanted} <= pinned


@pytest.mark.slow
def test_wheel_installs_and_imports(tmp_path):
    run(
        *PIP,
        "wheel",
        ROOT,
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        tmp_path / "wheel",
        cwd=tmp_path,
    )
    (wheel,) = (tmp_path / "wheel").glob("segfocal-*.whl")
    run(*PIP, "install", "--no-deps", "--target", tmp_path / "site", wheel)
    away = {"cwd": tmp_path, "env": {"PYTHONPATH": str(tmp_path / "site"), "PATH": ""}}
    where = run(sys.executable, "-c", "import segfocal; print(segfocal.__file__)", **away)
    assert where.startswith(str(tmp_path / "site"))
    assert (tmp_path / "site" / "segfocal" / "py.typed").is_file()
    assert run(sys.executable, "-m", "segfocal", "--version", **away) == f"segfocal {project()['version']}\n"


def test_the_tests_of_an_sdist_are_whole_or_absent(tmp_path):
    """setuptools adds tests/test*.py by itself, without the modules that they import."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in {"pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"} & {p.name for p in ROOT.iterdir()}:
        shutil.copy(ROOT / name, copy)
    for room in ("segfocal", "tests"):
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    code = "import setuptools.build_meta as made; made.build_sdist('dist')"
    run(sys.executable, "-c", code, cwd=copy)
    (archive,) = (copy / "dist").glob("segfocal-*.tar.gz")
    with tarfile.open(archive) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert "segfocal/losses/compiled/sums.cpp" in names
    assert {"segfocal/writing.py", "LICENSE", "README.md"} <= names
    held = {name for name in names if name.startswith("tests/") and name.endswith(".py")}
    whole = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")}
    assert held in (set(), whole)
