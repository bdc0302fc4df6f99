"""Spacing, patch and intensities that suit some volumes."""

from __future__ import annotations

import math
import re

import numpy as np

from segfocal.data.fingerprint.twins import equal_cases
from segfocal.data.fingerprint.voxels import VolumeFacts
from segfocal.data.volumes.layout import VolumeSet

LARGEST_PX = 96  # of a patch along an axis
_AIR = -500.0  # Hounsfield units
_CT = re.compile(r"(?i)(^|[^a-z])(ct|computed tomography|hu)([^a-z]|$)")


class Plan:
    """Spacing, patch and intensities that suit some volumes.

    Args:
        found: What dataset.json says.
        cases: Of the volumes that can be used.
    """

    def __init__(self, found: VolumeSet, cases: list[VolumeFacts]) -> None:
        spacings = np.array([case.spacing_mm for case in cases])
        self.spacing_mm = np.median(spacings, axis=0)
        self.resample = bool((np.abs(spacings / self.spacing_mm - 1) > 0.01).any())
        shapes = np.array([case.size_vx for case in cases], dtype=float)
        if self.resample:
            shapes = shapes * spacings / self.spacing_mm
        self.shape = np.median(shapes, axis=0).round().astype(int)
        self.levels = 4 if self.shape.min() >= 64 else 3
        self.stride = 2 ** (self.levels - 1)
        self.patch = [min(math.ceil(n / self.stride) * self.stride, LARGEST_PX) for n in self.shape]
        self.covers = bool((np.array(self.patch) >= self.shape).all())
        named = any(_CT.search(name) for name in found.channels)
        self.ct = all(_CT.search(name) for name in found.channels)
        lowest = np.median([case.percentiles[:, 0].max() for case in cases])
        if not named and found.channels == ("image",) and lowest < _AIR:
            self.ct = True  # no name says it, and air is about -1000 in no other kind of image
        sample = np.concatenate([case.foreground for case in cases])
        low, high = np.percentile(sample, [0.5, 99.5]) if len(sample) else (-1000.0, 1000.0)
        self.window = (math.floor(low), math.ceil(high) if math.ceil(high) > low else math.floor(low) + 1)
        self.twins = equal_volumes(cases)
        self.nonzero = not self.ct and float(np.median([case.zero_share for case in cases])) > 0.3


def equal_volumes(cases: list[VolumeFacts]) -> list[list[tuple[str, str]]]:
    """Return (split, name) of volumes that are equal; no split is known."""
    return equal_cases((case.digest, ("", case.name)) for case in cases)
