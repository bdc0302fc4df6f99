"""Which pixels carry the loss: gathered in validate and test, for losses that every pixel has by itself."""

from __future__ import annotations

from torch import nn

from segfocal.errors import SegfocalError
from segfocal.losses.pixel_part import pixel_part
from segfocal.losses.pixelwise import PixelwiseLoss
from segfocal.runs.info import read_info, update_info
from segfocal.runs.layout import RunPaths


def find_pixel_loss(loss: nn.Module) -> tuple[PixelwiseLoss | None, str | None]:
    """Return the pixel loss inside a loss, or None and why there is none.

    Example:
        >>> from segfocal.losses import DiceLoss
        >>> find_pixel_loss(DiceLoss("binary"))[1][:32]
        'DiceLoss has no loss per pixel: '
    """
    try:
        return pixel_part(loss), None
    except SegfocalError as error:
        return None, str(error)


def note_absence(run: RunPaths, loss: nn.Module) -> str | None:
    """Write into run.json why concentration.parquet is not there; on one process only.

    Args:
        run: The run directory's paths.
        loss: What the run was trained with.

    Returns:
        The reason; None where the loss has pixels.
    """
    _, reason = find_pixel_loss(loss)
    if reason != read_info(run).get("absent", {}).get("concentration"):
        update_info(run, absent={"concentration": reason})
    return reason
