"""The page that `segfocal fingerprint` prints."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from segfocal.data.fingerprint.classes import Classes
from segfocal.data.fingerprint.groups import Groups
from segfocal.data.fingerprint.pairing import Match
from segfocal.data.fingerprint.scan import Totals

_BAR = 30
_SHOWN = 5


def print_page(
    console: Console, root: Path, match: Match, totals: Totals, classes: Classes, groups: Groups | None
) -> None:
    """Print what was found.

    Args:
        console: Where to.
        root: Folder of the data set.
        match: Images and masks.
        totals: Of all cases.
        classes: What the masks mean.
        groups: Groups in the names.
    """
    console.print(Group(_facts(root, match, totals, groups), _chart(classes, totals), _remarks(totals)))


def _facts(root: Path, match: Match, totals: Totals, groups: Groups | None) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    splits = ", ".join(f"{name} {count}" for name, count in totals.splits.items() if name)
    rows = {
        "folder": str(root),
        "images": f"{len(totals.names)} in {match.images.pattern}" + (f" ({splits})" if splits else ""),
        "masks": match.mask_setting(),
        "size (px)": _most(Counter({f"{h}x{w}": n for (h, w), n in totals.sizes.items()})),
        "channels": _most(Counter({str(c): n for c, n in totals.channels.items()})),
        "type": f"{_most(totals.dtypes)}, values {totals.low:g} to {totals.high:g}",
        "pieces (px)": _pieces(totals),
    }
    if groups is not None:
        rows["groups"] = f"{groups.count} by {groups.pattern}, up to {groups.largest} images each"
    for name, value in rows.items():
        table.add_row(Text(name, style="bold"), Text(value))
    return table


def _chart(classes: Classes, totals: Totals) -> RenderableType:
    table = Table(title=f"{classes.task}: {'; '.join(classes.reasons)}", title_justify="left")
    for name, justify in (("class", "left"), ("pixels", "right"), ("images", "right"), ("", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    shares = classes.shares()
    for name, share, images in zip(classes.names, shares, classes.images, strict=True):
        bar = "█" * round(_BAR * share) or ("▏" if share else "")
        table.add_row(Text(name), f"{100 * share:.3g} %", str(images), bar)
    if classes.ignored_px:
        table.add_row(Text("ignored"), f"{classes.ignored_px:,} px", "", "")
    return table


def _remarks(totals: Totals) -> RenderableType:
    lines = [Text(f"! {problem}", style="red") for problem in totals.problems[:_SHOWN]]
    if len(totals.problems) > _SHOWN:
        lines.append(Text(f"! and {len(totals.problems) - _SHOWN} more files with problems", style="red"))
    if empty := sum(totals.empty):
        lines.append(Text(f"{empty} of {sum(totals.masks)} masks hold one value only (empty)"))
    twice = totals.duplicates()
    leaks = [places for places in twice if len({split for split, _ in places}) > 1]
    for what, found in (("the same picture in two splits", leaks), ("the same picture twice", twice)):
        if found:
            names = "; ".join(
                " = ".join(f"{s}/{n}" if s else n for s, n in places) for places in found[:_SHOWN]
            )
            lines.append(Text(f"! {what}, {len(found)} times: {names}", style="red"))
            break
    return Group(*lines)


def _pieces(totals: Totals) -> str:
    areas = sorted(totals.component_px)
    if not areas:
        return "none"
    return f"{len(areas)} connected, area median {areas[len(areas) // 2]}, least {areas[0]}, most {areas[-1]}"


def _most(counts: Counter[str]) -> str:
    shown = ", ".join(f"{name} ({count})" for name, count in counts.most_common(_SHOWN))
    return shown + (f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else "")
