"""Train, kill, resume, test and report in turn for hours: does anything grow?

    python experiments/soak/soak.py --out DIR [--minutes 180]

One process runs the commands again and again on small generated data with two loader workers. In each round
it also starts a training as a process of its own, kills it without notice after its first checkpoint,
resumes it, and compares its weights with those of the undisturbed one. After each round it deletes the runs
and writes one row to DIR/soak.csv: memory, open files, threads and child processes of this process, and
what is left on disk. Exit code 1: something grew.
"""

from __future__ import annotations

import argparse
import atexit
import csv
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

CONFIG = Path(__file__).with_name("soak.yaml")
# how much the median of the last third may lie above that of the third before it
BOUNDS = {"memory_mib": 24.0, "files": 0.0, "threads": 0.0, "children": 0.0, "orphans": 0.0}
BOUNDS |= {"shared_memory": 0.0, "temporary": 0.0, "left_mib": 0.1, "run_mib": 0.1}


def command(*arguments: str) -> None:
    """Run one command of segfocal in this process, its output in a log."""
    from segfocal.__main__ import main

    code = main(list(arguments))
    if code:
        raise SystemExit(f"segfocal {' '.join(arguments)} ended with {code}")


def start_and_kill(folder: Path, log: Path, *, after: float) -> int:
    """Start a training, kill it after its first checkpoint, and return how many processes it left."""
    words = [sys.executable, "-m", "segfocal", "fit", "--config", str(CONFIG), "--run", str(folder)]
    with log.open("a") as output:
        training = subprocess.Popen(
            words, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )  # a session of its own: its loader workers can be counted by it
    limit = time.monotonic() + 120
    while not list(folder.rglob("last.ckpt")):
        if training.poll() is not None or time.monotonic() > limit:
            raise SystemExit(f"the training to be killed ended before its first checkpoint, see {log}")
        time.sleep(0.05)
    time.sleep(after)
    training.send_signal(signal.SIGKILL)
    training.wait()
    return _left_after(training.pid, seconds=20)


def _left_after(session: int, *, seconds: float) -> int:
    """Return how many processes of a session are alive after so many seconds at most."""
    limit = time.monotonic() + seconds
    while (left := _processes_of(session)) and time.monotonic() < limit:
        time.sleep(0.2)
    return left


def _processes_of(session: int) -> int:
    """Count the processes of a session that are no zombies."""
    count = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended between the listing and the reading
            continue
        count += fields[0] != "Z" and int(fields[3]) == session
    return count


def one_round(folder: Path, log: Path, *, after: float) -> dict[str, float]:
    """Run every command once and return what shows; `after`: seconds from checkpoint to kill."""
    whole, killed = folder / "whole", folder / "killed"
    command("fit", "--config", str(CONFIG), "--run", str(whole))
    command("test", "--run", str(whole))
    orphans = start_and_kill(killed, log, after=after)
    command("fit", "--resume", str(killed))
    command("test", "--run", str(killed))
    command("report", str(whole), str(killed), "--out", str(folder / "report"))
    for run in (whole, killed):
        status = json.loads((run / "run.json").read_text())["status"]
        if status != "finished":
            raise SystemExit(f"{run} is {status!r}, not finished")
    same = weights(whole), weights(killed)
    if any(not bool((same[0][name] == same[1][name]).all()) for name in same[0] | same[1]):
        raise SystemExit("the resumed training has other weights than the undisturbed one")
    return {"orphans": orphans, "run_mib": _mib(killed)}


def weights(run: Path) -> dict[str, Any]:
    """Return the last weights of a run by name."""
    import torch

    (path,) = run.rglob("last.ckpt")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    return state


def _mib(folder: Path) -> float:
    """Return the size of all files below a folder in MiB."""
    return sum(p.lstat().st_size for p in folder.rglob("*") if p.is_file()) / 2**20


def measure(work: Path) -> dict[str, float]:
    """Return what this process holds, and what lies on disk beside the data."""
    gc.collect()
    status = dict(
        line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line
    )
    own = os.getpid()
    children = sum(1 for p in Path(f"/proc/{own}/task").glob("*/children") for _ in p.read_text().split())
    return {
        "memory_mib": int(status["VmRSS"].split()[0]) / 1024,
        "files": len(os.listdir("/proc/self/fd")),
        "threads": int(status["Threads"]),
        "children": children,
        "shared_memory": sum(1 for p in Path("/dev/shm").iterdir() if p.stat().st_uid == os.getuid()),
        "temporary": sum(1 for _ in Path(os.environ["TMPDIR"]).rglob("*")),
        "left_mib": _mib(work),
    }


def growth(rows: list[dict[str, float]]) -> list[str]:
    """Return a line for each figure whose last third lies above the third before by more than its bound."""
    third = max(1, len(rows) // 3)
    before, last = rows[-2 * third : -third], rows[-third:]
    lines = []
    for name, bound in BOUNDS.items():
        old, new = (median(row[name] for row in part) for part in (before, last))
        if new - old > bound:
            lines.append(f"{name} grew from {old:g} to {new:g} (bound {bound:g})")
    return lines


def prepare(out: Path) -> Path:
    """Make the folder to work in and one for temporary files, which are counted and removed at the end."""
    work = out / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    # not below DIR: loader workers make sockets there, whose paths have 107 letters at most
    os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="soak")
    atexit.register(shutil.rmtree, os.environ["TMPDIR"], ignore_errors=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return work


def main() -> int:
    """Run rounds until the time is up, and say what grew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of soak.csv and the log")
    parser.add_argument("--minutes", type=float, default=180.0)
    parser.add_argument("--least", type=int, default=4, help="rounds, whatever the time")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    work, log, table = prepare(options.out), options.out / "soak.log", options.out / "soak.csv"
    rows: list[dict[str, float]] = []
    begin, terminal = time.monotonic(), os.dup(1)
    with log.open("a") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    while len(rows) < max(2, options.least) or time.monotonic() - begin < 60 * options.minutes:
        started = time.monotonic()
        shown = one_round(work / "runs", log, after=0.37 * len(rows) % 2)  # at another moment each time
        shutil.rmtree(work / "runs")
        row = {"round": len(rows) + 1, **measure(work), **shown, "seconds": time.monotonic() - started}
        rows.append({name: round(value, 2) for name, value in row.items()})
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        os.write(terminal, (" ".join(f"{k} {v:g}" for k, v in rows[-1].items()) + "\n").encode())
    lines = growth(rows)
    os.write(terminal, ("\n".join(lines or [f"nothing grew in {len(rows)} rounds"]) + "\n").encode())
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
