"""Bars of results.csv as an SVG: a panel per problem, a column per dtype, milliseconds on a log scale."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from pathlib import Path

from experiments.bench.rows import RESULTS, read
from experiments.bench.table import Rows, label, latest

WIDTH, NAMES, BARS, LINE, HEAD = 640, 270, 300, 17, 46
OURS, PEERS, FLOOR = "#0072b2", "#999999", "#d55e00"


def scale(rows: Rows) -> tuple[int, int]:
    """Return the powers of ten between which all of a panel lies."""
    values = [float(row[name]) for row in rows for name in ("value", "p20", "p80", "floor_ms") if row[name]]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def text(x: float, y: float, words: str, *, anchor: str = "start", weight: str = "normal") -> str:
    """Write words."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{escape(words)}</text>'
    )


def line(x: float, top: float, bottom: float, colour: str, width: float) -> str:
    """Draw a vertical line."""
    return f'<path d="M{x:.1f} {top:.1f}V{bottom:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def bars(rows: Rows, left: float, top: float, powers: tuple[int, int]) -> Iterator[str]:
    """Draw a bar per provider, p20 to p80 across its end."""
    start = left + NAMES

    def at(value: str) -> float:
        return start + BARS * (math.log10(float(value)) - powers[0]) / (powers[1] - powers[0])

    for number, row in enumerate(sorted(rows, key=lambda row: float(row["value"]))):
        y = top + LINE * number
        name, end = label(row).strip("*"), at(row["value"])
        colour = OURS if name.startswith("segfocal") else PEERS
        yield text(start - 6, y + 12, name, anchor="end", weight="bold" if colour == OURS else "normal")
        yield f'<rect x="{start}" y="{y + 2}" width="{end - start:.1f}" height="{LINE - 5}" fill="{colour}"/>'
        yield f'<path d="M{at(row["p20"]):.1f} {y + 8}H{at(row["p80"]):.1f}" stroke="#000"/>'
        yield text(max(end, at(row["p80"])) + 5, y + 12, f"{float(row['value']):.3g}")
    if rows[0]["floor_ms"]:
        yield line(at(rows[0]["floor_ms"]), top, top + LINE * len(rows), FLOOR, 2)


def panel(rows: Rows, left: float, top: float) -> Iterator[str]:
    """Draw the panel of one problem in one dtype."""
    powers = scale(rows)
    first = rows[0]
    yield text(left + 8, top + 18, f"{first['stem']}, {first['shape']}, {first['dtype']}", weight="bold")
    bottom = top + HEAD + LINE * len(rows)
    for power in range(powers[0], powers[1] + 1):
        x = left + NAMES + BARS * (power - powers[0]) / (powers[1] - powers[0])
        yield line(x, top + HEAD - 4, bottom, "#dddddd", 1)
        yield text(x, top + HEAD - 8, f"{10.0**power:g} ms", anchor="middle")
    yield from bars(rows, left, top + HEAD, powers)


def draw(rows: Rows) -> str:
    """Return the SVG of forward + gradient: per device its problems, a column per dtype."""
    rows = [row for row in latest(rows) if row["mode"] == "forward+gradient"]
    body, y = [], 30.0
    body.append(
        text(8, 18, "forward + gradient; black: p20 to p80; red: the floor's bytes at the speed of a copy")
    )
    for device in dict.fromkeys(row["device"] for row in rows):
        body.append(text(8, y + 14, device, weight="bold"))
        y += 22
        here = [row for row in rows if row["device"] == device]
        for problem in dict.fromkeys((row["stem"], row["shape"]) for row in here):
            group = [row for row in here if (row["stem"], row["shape"]) == problem]
            columns = [[row for row in group if row["dtype"] == kind] for kind in ("float32", "bfloat16")]
            for number, column in enumerate(columns):
                body += panel(column, WIDTH * number, y) if column else []
            y += HEAD + LINE * max(map(len, columns)) + 14
    size = f'width="{2 * WIDTH}" height="{y:.0f}" viewBox="0 0 {2 * WIDTH} {y:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
    paper = '<rect width="100%" height="100%" fill="#fff"/>'
    return "\n".join([head, paper, *body, "</svg>"]) + "\n"


def write(results: Path = RESULTS) -> Path:
    """Draw losses.svg beside the rows."""
    path = results.with_name("losses.svg")
    path.write_text(draw(read(results)))
    return path


if __name__ == "__main__":
    print(write())
