"""The rooms and the direction of dependence: read from the imports, not from a promise."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "segfocal"
ROOT = PACKAGE.parent

STACK = {"torch", "torchvision", "pytorch_lightning", "torchmetrics", "monai", "segmentation_models_pytorch"}
STACK |= {
    "albumentations",
    "cv2",
    "polars",
    "scipy",
    "skimage",
    "jsonargparse",
    "timm",
    "plotly",
    "dash",
    "triton",
}
STACK |= {"onnx", "onnxruntime", "onnxscript"}

# room -> (rooms it may import, heavy packages it may import)
MAY_IMPORT = {
    "losses": (set(), {"torch", "triton"}),
    "imbalance": (set(), set()),
    "runs": ({"imbalance"}, {"polars", "scipy"}),
    "metrics": ({"runs", "data", "imbalance"}, {"torch", "torchmetrics", "monai", "scipy", "skimage", "cv2"}),
    "models": ({"imbalance"}, {"torch", "segmentation_models_pytorch", "monai", "timm", "torchvision"}),
    "data": (
        {"imbalance"},
        {
            "torch",
            "pytorch_lightning",
            "albumentations",
            "monai",
            "cv2",
            "scipy",
            "polars",
            "pydicom",
            "pycocotools",
        },
    ),
    "training": (
        {"losses", "imbalance", "runs", "metrics", "models", "data"},
        STACK - {"plotly", "dash", "triton", "pydicom", "pycocotools"},
    ),
    "study": ({"runs", "training", "data", "imbalance"}, {"polars", "scipy"}),
    "report": ({"runs", "study"}, {"polars", "plotly", "dash"}),
}
LINES_PER_MODULE = 650
ENTRANCES = {
    "__init__.py",
    "__main__.py",
    "errors.py",
    "functional.py",
    "options.py",
    "writing.py",
    "yaml_text.py",
}


def imported_modules(path):
    """Every absolute module name that a file imports, at any depth."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules_of(room):
    return sorted((PACKAGE / room).rglob("*.py"))


def rooms():
    return sorted(p.name for p in PACKAGE.iterdir() if p.is_dir() and (p / "__init__.py").exists())


def test_every_room_is_known():
    assert set(rooms()) <= set(MAY_IMPORT)
    assert {p.name for p in PACKAGE.glob("*.py")} == ENTRANCES


@pytest.mark.parametrize("room", rooms())
def test_rooms_import_only_what_they_may(room):
    own_rooms, packages = MAY_IMPORT[room]
    wrong = []
    for path in modules_of(room):
        for name in imported_modules(path):
            parts = name.split(".")
            if parts[0] == "segfocal" and len(parts) > 1:
                if parts[1] not in own_rooms | {
                    room,
                    "errors",
                    "options",
                    "yaml_text",
                    "writing",
                    "__version__",
                }:
                    wrong.append(f"{path.relative_to(ROOT)} imports {name}")
            elif parts[0] in STACK - packages:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_albumentations_lives_in_one_module():
    users = {
        p
        for p in PACKAGE.rglob("*.py")
        for name in imported_modules(p)
        if name.split(".")[0] == "albumentations"
    }
    assert len(users) == 1


def test_triton_lives_in_its_own_backend():
    users = {
        p.parent
        for p in PACKAGE.rglob("*.py")
        for name in imported_modules(p)
        if name.split(".")[0] == "triton"
    }
    assert users == {PACKAGE / "losses" / "triton"}


def test_no_module_outgrows_its_budget():
    files = [path for kind in ("*.py", "*.h", "*.cpp") for path in PACKAGE.rglob(kind)]
    lengths = {p: len(p.read_text().splitlines()) for p in files}
    long = [f"{n} {p.relative_to(ROOT)}" for p, n in lengths.items() if n > LINES_PER_MODULE]
    assert not long, "\n".join(long)


def test_inits_hold_imports_only():
    for path in PACKAGE.rglob("__init__.py"):
        if path.parent in (PACKAGE, PACKAGE / "training", PACKAGE / "data", PACKAGE / "metrics"):
            continue  # lazy loaders: neither `import segfocal` nor `segfocal --help` waits for Lightning
        body = ast.parse(path.read_text()).body[1:]
        assert all(
            isinstance(node, ast.Import | ast.ImportFrom)
            or (isinstance(node, ast.Assign) and node.targets[0].id == "__all__")
            for node in body
        ), path


def loaded_after(statement):
    """The names in sys.modules after one statement in a fresh interpreter."""
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_importing_segfocal_is_light():
    assert not loaded_after("import segfocal") & (STACK - {"torch"})


def test_losses_need_torch_only():
    assert not loaded_after("import segfocal.losses") & (STACK - {"torch", "triton"})


def test_reading_runs_needs_no_torch():
    assert "torch" not in loaded_after("import segfocal.runs")


def test_the_root_holds_nothing_else():
    done = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    folders = {line.split("/")[0] for line in done.stdout.splitlines() if "/" in line}
    assert folders <= {"segfocal", "experiments", "tests", "configs", "docs", ".ci", ".github"}
