"""Rows of results.csv: what was measured, of whom, on what, where."""

from __future__ import annotations

import csv
import datetime
import importlib.metadata
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

import segfocal

RESULTS = Path(__file__).with_name("results.csv")
PACKAGES = ("torch", "triton", "torchvision", "monai", "segmentation-models-pytorch", "kornia")


@dataclass(frozen=True)
class Row:
    """One measurement; ``value`` is the median. What does not apply is None.

    Attributes:
        stem: The loss.
        provider: Library or backend.
        how: "plain", "torch.compile" or "cuda graph".
        version: Of the provider's package.
        shape: Of the logits.
        dtype: Of the logits.
        mode: "forward", "backward", "forward+gradient" or "calls in a row".
        value: Median.
        unit: Of value, p20 and p80.
        p20: 20th percentile.
        p80: 80th percentile.
        floor_ms: Time to move the floor's bytes at the speed of the copy.
        times_floor: value / floor_ms.
        floor_gbps: The floor's bytes over value.
        copy_gbps: A copy on the device, read and write counted, in the same run.
        kept_mib: Kept between the passes besides logits and target.
        peak_mib: Peak above the inputs, gradient included; CUDA only.
        device: With the number of threads where it is a CPU.
        versions: Of all packages.
        commit: With + where files differ from it.
        date: ISO.
    """

    stem: str
    provider: str
    how: str
    version: str
    shape: str
    dtype: str
    mode: str
    value: float
    unit: str
    p20: float
    p80: float
    floor_ms: float | None
    times_floor: float | None
    floor_gbps: float | None
    copy_gbps: float | None
    kept_mib: float | None
    peak_mib: float | None
    device: str
    versions: str
    commit: str
    date: str


COLUMNS = tuple(Row.__dataclass_fields__)


def device_name(device: str) -> str:
    """Name the device, with the number of threads where it is a CPU."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return f"{next(names, platform.machine())}, {torch.get_num_threads()} threads"


def version(package: str) -> str:
    """Name the version of a package, "" where it is not installed; ours may run from the checkout."""
    if package == "segfocal":
        return f"segfocal {segfocal.__version__}"
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return ""


def commit() -> str:
    """Return the commit of the checkout, with + where code differs from it; "" without git."""
    run = ["git", "-C", str(Path(__file__).parents[2])]
    try:
        head = subprocess.run([*run, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
        changed = subprocess.run(
            [*run, "status", "--porcelain", "segfocal/losses", "experiments/bench/*.py"], capture_output=True
        )
    except FileNotFoundError:
        return ""
    return head.stdout.strip() + ("+" if changed.stdout else "")


def context(device: str, known_commit: str | None = None) -> dict[str, str]:
    """Return what is the same for all rows of a run."""
    return {
        "device": device_name(device),
        "versions": "; ".join(filter(None, map(version, PACKAGES))),
        "commit": known_commit or commit(),
        "date": datetime.date.today().isoformat(),
    }


def read(path: Path = RESULTS) -> list[dict[str, str]]:
    """Read rows, older ones included: what they do not have is "", ``how`` is "plain"."""
    with path.open(newline="") as file:
        rows = [{**dict.fromkeys(COLUMNS, ""), **row} for row in csv.DictReader(file)]
    # rows up to November 2026 give the MiB kept between the passes in a row of its own
    key = ("stem", "provider", "shape", "dtype", "device", "commit", "date")
    kept = {tuple(map(row.get, key)): row["value"] for row in rows if row["mode"] == "kept for gradient"}
    for row in rows:
        row["how"] = row["how"] or "plain"
        row["kept_mib"] = row["kept_mib"] or kept.get(tuple(map(row.get, key)), "")
    return rows


def append(rows: Iterable[Row], path: Path = RESULTS) -> None:
    """Add rows; a file with older columns is written anew with these, its values untouched."""
    before: list[dict[str, str]] = []
    if path.exists():
        with path.open(newline="") as file:
            before = list(csv.DictReader(file))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(before)
        writer.writerows(asdict(row) for row in rows)
