"""Names from folders, YAML and data sets, made fit to be shown."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_HIDDEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}  # control, direction marks, private use, line separators


def clean(name: str, *, longest: int = 48) -> str:
    r"""Return a name on one line: hidden characters become spaces, a long one loses its middle.

    Direction marks would turn the text around them; they are hidden characters too. Nothing is escaped here:
    that is the work of whoever writes HTML.

    Args:
        name: Any text.
        longest: Most characters to keep.

    Returns:
        What to show, never empty.

    Example:
        >>> clean("a\nb")
        'a b'
        >>> clean("0123456789", longest=7)
        '012…789'
    """
    seen = "".join(" " if unicodedata.category(letter) in _HIDDEN else letter for letter in name)
    short = " ".join(seen.split()) or "(no name)"
    if len(short) <= longest:
        return short
    half = (longest - 1) // 2
    return f"{short[: longest - 1 - half]}…{short[len(short) - half :]}"


def distinct(names: Sequence[str], *, longest: int = 48) -> list[str]:
    r"""Return what to show for each of several names, no two alike.

    Args:
        names: Any texts.
        longest: As in ``clean``.

    Returns:
        One text per name, in order; those that would look alike are numbered.

    Example:
        >>> distinct(["a", "a\n"])
        ['a', 'a (2)']
    """
    taken: dict[str, None] = {}
    for name in names:
        short, count = clean(name, longest=longest), 1
        candidate = short
        while candidate in taken:
            count += 1
            candidate = f"{short} ({count})"
        taken[candidate] = None
    return list(taken)


def plotly_text(name: str) -> str:
    """Return a name that Plotly shows as it is, although its labels understand some HTML.

    Example:
        >>> plotly_text("<b>&")
        '&lt;b&gt;&amp;'
    """
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
