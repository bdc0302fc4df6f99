"""Time several providers of the same result in one process, in turns; write the findings as rows of a CSV."""

from __future__ import annotations

import csv
import datetime
import importlib.metadata
import platform
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

RESULTS = Path(__file__).with_name("results.csv")
PACKAGES = ("torch", "torchvision", "monai", "segmentation-models-pytorch", "kornia")


@dataclass(frozen=True)
class Row:
    """One measurement: what was run by whom on what, the median with p20 and p80, and where."""

    stem: str
    provider: str
    shape: str
    dtype: str
    mode: str
    value: float
    unit: str
    p20: float
    p80: float
    device: str
    versions: str
    commit: str
    date: str


def milliseconds(step: Callable[[], object], device: str) -> float:
    """Time one call, on CUDA until the device is done.

    One thread on a CPU is timed by the processor time it took: other programs hardly change that.
    """
    clock = time.thread_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    if device == "cuda":
        torch.cuda.synchronize()
    start = clock()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (clock() - start)


def in_turns(steps: dict[str, Callable[[], object]], device: str, rounds: int) -> dict[str, np.ndarray]:
    """Return the median, p20 and p80 in ms of every step.

    Each round runs every step once, after two rounds that do not count.
    """
    for step in (*steps.values(), *steps.values()):
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            times[name].append(milliseconds(step, device))
    return {name: np.percentile(values, [50, 20, 80]) for name, values in times.items()}


def device_name(device: str) -> str:
    """Name the device, with the number of threads where it is a CPU."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    return f"{model}, {torch.get_num_threads()} threads"


def versions() -> str:
    """Name the installed versions of ours and the peers."""
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return "; ".join(found)


def commit() -> str:
    """Return the commit of the checkout, with + where files differ from it."""
    folder = Path(__file__).parents[2]
    run = ["git", "-C", str(folder)]
    head = subprocess.run([*run, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run(
        [*run, "status", "--porcelain", "segfocal/losses"], capture_output=True, check=False
    )
    return head.stdout.strip() + ("+" if changed.stdout else "")


def context(device: str) -> dict[str, str]:
    """Return what is the same for all rows of a run."""
    return {
        "device": device_name(device),
        "versions": versions(),
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
    }


def append(rows: Iterable[Row]) -> None:
    """Add rows to results.csv."""
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(Row.__dataclass_fields__))
        if new:
            writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
