"""The table of the README, made from results.csv: numbers are never typed by hand.

python -m experiments.bench.table [--device TEXT] [--dtype float32] [--how plain] [--mode forward+gradient]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from experiments.bench.rows import RESULTS, read

SHOWN = {
    "torch bce": "torch, cross-entropy alone",
    "torch cross_entropy": "torch, cross-entropy alone",
    "monai": "MONAI",
    "monai DiceFocal": "MONAI",
    "monai Focal+Dice": "MONAI, softmax in both terms",
    "smp": "segmentation-models-pytorch",
    "smp Focal+Dice": "segmentation-models-pytorch",
    "kornia focal": "kornia, no Dice",
    "nnU-Net CE+Dice": "nnU-Net's formula, no focal",
}
Rows = list[dict[str, str]]


def latest(rows: Iterable[dict[str, str]]) -> Rows:
    """Keep times only, and of every problem on a device those of its last commit and date."""
    timed = [row for row in rows if row["unit"] == "ms"]
    where = ("device", "stem", "shape", "dtype")
    last = {tuple(map(row.get, where)): (row["commit"], row["date"]) for row in timed}
    kept = [row for row in timed if last[tuple(map(row.get, where))] == (row["commit"], row["date"])]
    what = (*where, "provider", "how", "mode")
    return list({tuple(map(row.get, what)): row for row in kept}.values())


def milliseconds(row: dict[str, str]) -> str:
    """Write a time."""
    value = float(row["value"])
    return f"{value:.1f} ms" if value >= 1 else f"{value:.3f} ms"


def cell(row: dict[str, str]) -> str:
    """Write the time, how many times the floor's it is, and the memory."""
    words = [milliseconds(row)]
    if row["times_floor"]:
        words.append(f"{float(row['times_floor']):.1f}x floor")
    memory = row["peak_mib"] or row["kept_mib"]
    if memory:
        words.append(f"{float(memory):.0f} MiB")
    return ", ".join(words)


def label(row: dict[str, str]) -> str:
    """Name the line of a provider."""
    name = SHOWN.get(row["provider"], row["provider"])
    name = name if row["how"] == "plain" else f"{name}, {row['how']}"
    return f"**{name}**" if name.startswith("segfocal") else name


def markdown(rows: Rows) -> str:
    """Write one table: a line per provider, a column per problem."""
    columns = list(dict.fromkeys((row["stem"], row["shape"]) for row in rows))
    cells = {(label(row), row["stem"], row["shape"]): cell(row) for row in rows}
    lines = [f"| | {' | '.join(f'{stem}, {shape}' for stem, shape in columns)} |"]
    lines.append(f"| --- |{' --- |' * len(columns)}")
    for name in dict.fromkeys(label(row) for row in rows):
        lines.append(f"| {name} | {' | '.join(cells.get((name, *column), '') for column in columns)} |")
    return "\n".join(lines)


def tables(
    path: Path = RESULTS, *, device: str = "", dtype: str = "", how: str = "", mode: str = "forward+gradient"
) -> str:
    """Write a table per device, dtype and commit of what fits; "" fits everything.

    MiB on CUDA: the peak above the inputs, gradient included; on a CPU: what is kept between the passes.
    """
    fitting = [
        row
        for row in latest(read(path))
        if device in row["device"] and dtype in row["dtype"] and how in row["how"] and row["mode"] == mode
    ]
    groups: dict[tuple[str, ...], Rows] = {}
    for row in fitting:
        key = tuple(row[name] for name in ("device", "dtype", "mode", "versions", "commit", "date"))
        groups.setdefault(key, []).append(row)
    found = []
    for (where, kind, what, versions, commit, date), group in groups.items():
        memory = "peak above the inputs" if group[0]["peak_mib"] else "kept between the passes"
        head = f"{where}, {kind}, {what}, MiB {memory}; {versions}; commit {commit}, {date}:"
        found.append(f"{head}\n\n{markdown(group)}\n")
    return "\n".join(found)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for option in ("device", "dtype", "how"):
        parser.add_argument(f"--{option}", default="", help="part of its name; by default all")
    parser.add_argument("--mode", default="forward+gradient")
    parser.add_argument("--file", type=Path, default=RESULTS)
    options = parser.parse_args()
    print(
        tables(options.file, device=options.device, dtype=options.dtype, how=options.how, mode=options.mode),
        end="",
    )


if __name__ == "__main__":
    main()
