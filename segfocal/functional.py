"""The losses as functions: what `segfocal.losses.functional` defines, under a shorter name."""

from __future__ import annotations

from segfocal.losses.functional import *  # noqa: F403
from segfocal.losses.functional import __all__ as __all__
