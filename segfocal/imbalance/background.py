"""Which class is the background: the one that means over classes leave out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from segfocal.errors import SegfocalError
from segfocal.imbalance.counts import Task

Background = int | Literal["auto"] | None

# names of class 0 that say background, or, like "class 0", stand for no name; polars reads the same pattern
_ANYWHERE = "background|backgnd|bckgnd|bckg|bkg|bgd|bg|back|unlabell?ed|nothing"
_WHOLE = "none|no|void|others?|rest|outside|unknown|hintergrund|fond|fondo|((class|label|id)[\\W_]*)?0+"
BACKGROUND_NAME = rf"(?i)(^|[\W_])({_ANYWHERE})([\W_]|$)|^[\W_]*({_WHOLE}|)[\W_]*$|^[\W_]*(non|not|no)[\W_]"
_SAYS_SO = re.compile(rf"(?i)(^|[\W_])({_ANYWHERE})([\W_]|$)")


def background_class(
    background: Background, *, task: Task, class_names: Sequence[str], what: str = "background"
) -> int | None:
    """Return the number of the class that means leave out.

    Args:
        background: A class number; None: there is none; "auto": class 0 of multiclass where its name says so
            (background, bg, none, unlabelled, other, ...) or says nothing (0, class 0).
        task: "binary", "multiclass" or "multilabel".
        class_names: One per channel of the logits.
        what: The setting, for the message.

    Returns:
        The number, or None where all classes count.

    Raises:
        SegfocalError: For a number that is no class, or the only one.

    Example:
        >>> background_class("auto", task="multiclass", class_names=["Background", "liver"])
        0
        >>> background_class("auto", task="multiclass", class_names=["road", "car"]) is None
        True
    """
    if background is None:
        return None
    if background == "auto":
        return 0 if task == "multiclass" and says_background(class_names[0]) else None
    if task == "binary":
        raise SegfocalError(
            f"{what} must be null for task 'binary', whose one class is the foreground, got {background!r}."
        )
    known = isinstance(background, int) and not isinstance(background, bool)
    if not known or not 0 <= background < len(class_names) or len(class_names) < 2:
        raise SegfocalError(
            f"{what} must be the number of a class, 0 to {len(class_names) - 1}, beside which there are "
            f"others, or null or auto, got {background!r}. Classes: {', '.join(class_names)}."
        )
    return background


def says_background(name: str) -> bool:
    """Return whether a name of class 0 says that it is the background, or says nothing.

    Example:
        >>> [says_background(name) for name in ("_background_", "class 0", "not road", "backpack", "road")]
        [True, True, True, False, False]
    """
    return re.search(BACKGROUND_NAME, name) is not None


def named_background(names: Sequence[str]) -> int | None:
    """Return the class that says that it is the background: class 0, else the only one that does.

    Example:
        >>> named_background(["car", "background", "void"]), named_background(["road", "car"])
        (1, None)
    """
    if says_background(names[0]):
        return 0
    found = [number for number, name in enumerate(names) if _SAYS_SO.search(name)]
    return found[0] if len(found) == 1 else None


def auto_note(class_names: Sequence[str]) -> str:
    """Return what "auto" made of class 0 of a multiclass task, and how to have it otherwise.

    Args:
        class_names: One per channel of the logits.

    Example:
        >>> auto_note(["other", "road"])
        "background: auto takes class 0, 'other', by its name; data.init_args.background: null lets it count"
    """
    first = f"class 0, {class_names[0]!r}"
    if says_background(class_names[0]):
        return f"background: auto takes {first}, by its name; data.init_args.background: null lets it count"
    return (
        f"background: auto found none, as {first}, is not called so: all classes count; "
        "data.init_args.background: 0 leaves it out"
    )


def covered(class_names: Sequence[str], background: int | None) -> str:
    """Return which classes a mean covers, in words.

    Example:
        >>> covered(["background", "MA", "HE"], 0)
        'mean over: MA, HE; without background'
        >>> covered(["vessel"], None)
        'mean over: vessel'
    """
    names = [name for index, name in enumerate(class_names) if index != background]
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    left_out = "" if background is None else f"; without {class_names[background]}"
    return f"mean over: {shown}{left_out}"
