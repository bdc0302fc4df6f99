"""The page that `segfocal fingerprint` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from segfocal.data.fingerprint.advice import orientation_of
from segfocal.data.fingerprint.classes import Classes
from segfocal.data.fingerprint.scan import Totals

_BAR = 30
_SHOWN = 5
_VALUES = 10


def remarks(totals: Totals, *, twins: bool = True) -> list[Text]:
    """Return files with problems, empty masks and, where ``twins`` says so, equal pictures."""
    lines = problem_lines(totals.problems)
    if empty := sum(totals.empty):
        lines.append(Text(f"{empty} of {sum(totals.masks)} masks hold one value only (empty)"))
    return lines + (twin_lines(totals.duplicates()) if twins else [])


def facts(rows: Mapping[str, str]) -> RenderableType:
    """Return names and values side by side."""
    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(Text(name, style="bold"), Text(value))
    return table


def chart(classes: Classes, *, unit: str = "pixels", cases: str = "images") -> RenderableType:
    """Return the share of each class as bars.

    Args:
        classes: What the masks mean.
        unit: What is counted.
        cases: What it is counted in.
    """
    table = Table(title=f"{classes.task}: {'; '.join(classes.reasons)}", title_justify="left")
    for name, justify in (("class", "left"), (unit, "right"), (cases, "right"), ("", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    shares = classes.shares()
    for name, share, images in zip(classes.names, shares, classes.images, strict=True):
        bar = "█" * round(_BAR * share) or ("▏" if share else "")
        table.add_row(Text(name), f"{100 * share:.3g} %", str(images), bar)
    if classes.ignored_px:
        table.add_row(Text("ignored"), f"{classes.ignored_px:,}", "", "")
    return table


def twin_lines(twice: Sequence[Sequence[tuple[str, str]]]) -> list[Text]:
    """Return what to say of equal pictures; where some lie in two splits, of those.

    Args:
        twice: (split, name) of pictures that are equal.
    """
    leaks = [places for places in twice if len({split for split, _ in places}) > 1]
    for what, found in (("the same picture in two splits", leaks), ("the same picture twice", twice)):
        if found:
            names = "; ".join(
                " = ".join(f"{s}/{n}" if s else n for s, n in places) for places in found[:_SHOWN]
            )
            return [Text(f"! {what}, {len(found)} times: {names}", style="red")]
    return []


def problem_lines(problems: Sequence[str]) -> list[Text]:
    """Return the first problems, and how many more there are."""
    lines = [Text(f"! {problem}", style="red") for problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(Text(f"! and {len(problems) - _SHOWN} more files with problems", style="red"))
    return lines


def most(counts: Counter[str], sep: str = ", ") -> str:
    """Return the most frequent values and how often each occurs."""
    shown = sep.join(f"{name} ({count})" for name, count in counts.most_common(_SHOWN))
    return shown + (f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else "")


def spread(values: Sequence[float], what: str) -> str:
    """Return number, median, least and most of some values."""
    if not values:
        return "none"
    middle = sorted(values)[len(values) // 2]
    return f"{len(values)} {what} median {middle:g}, least {min(values):g}, most {max(values):g}"


def picture_rows(totals: Totals) -> dict[str, str]:
    """Return what the pixels of pictures and masks are."""
    return {
        "mask values": _values(totals),
        "size (px)": most(Counter({f"{h}x{w}": n for (h, w), n in totals.sizes.items()})),
        "channels": most(Counter({str(c): n for c, n in totals.channels.items()})),
        "type": f"{most(totals.dtypes)}, values {totals.low:g} to {totals.high:g}",
        **({"read as": most(totals.notes, "; ")} if totals.notes else {}),
        **({"EXIF": said} if (said := orientation_of(totals)[1]) else {}),
        "pieces (px)": spread(totals.component_px, "connected, area"),
    }


def _values(totals: Totals) -> str:
    """Stored values and their share of the pixels, those of all folders together."""
    pixels = sum(totals.pixels, Counter())
    shown = sorted(number for number, _ in pixels.most_common(_VALUES))
    named = [f"#{number:06x}" if totals.colors else str(number) for number in shown]
    shares = [f"{100 * pixels[number] / pixels.total():.3g} %" for number in shown]
    listed = ", ".join(f"{name} ({share})" for name, share in zip(named, shares, strict=True))
    return listed + (f" and {len(pixels) - len(shown)} more" if len(pixels) > len(shown) else "")
