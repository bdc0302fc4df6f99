"""Augmentation of patches of volumes: named presets and MONAI's transforms, seeded per sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import monai.transforms
import numpy as np
from monai.data import get_track_meta, set_track_meta
from monai.transforms import Compose, MapTransform, RandomizableTransform
from torch import Tensor

from segfocal.errors import SegfocalError, check_choice, nearest

Spec = str | Mapping[str, Any]

AFFINE = {
    "class_path": "RandAffined",
    "init_args": {"prob": 0.2, "rotate_range": [0.26, 0.26, 0.26], "scale_range": [0.15, 0.15, 0.15]},
}
NOISE = {"class_path": "RandGaussianNoised", "init_args": {"prob": 0.1, "std": 0.1}}
SMOOTH = {
    "class_path": "RandGaussianSmoothd",
    "init_args": {"prob": 0.1, "sigma_x": [0.5, 1.0], "sigma_y": [0.5, 1.0], "sigma_z": [0.5, 1.0]},
}
BRIGHTNESS = {"class_path": "RandScaleIntensityd", "init_args": {"prob": 0.15, "factors": 0.25}}
CONTRAST = {"class_path": "RandAdjustContrastd", "init_args": {"prob": 0.15, "gamma": [0.7, 1.5]}}

# the first words are symmetries, which torch does in microseconds
PRESETS: dict[str, tuple[Spec, ...]] = {
    "none": (),
    "mirror": ("left_right",),
    "flips": ("every_axis",),
    "medical": ("every_axis", AFFINE, NOISE, SMOOTH, BRIGHTNESS, CONTRAST),
}
SYMMETRIES = {"left_right": (-3,), "every_axis": (-3, -2, -1)}
# these move voxels: the mask goes with the image
SPATIAL = ("RandAffined", "Rand3DElasticd", "RandZoomd", "RandRotated", "RandGridDistortiond")


class VolumeAugmentation:
    """Change image and mask together; everything random comes from the generator that is passed in.

    Args:
        spec: A preset's name (``none``; ``mirror``: left and right; ``flips``: all axes; ``medical``: flips,
            turns and sizes, noise, blur, brightness, contrast), or a list of presets and random dictionary
            transforms of MONAI ``{"class_path": "RandBiasFieldd", "init_args": {...}}``, whose ``keys`` are
            set here.
        ignore_index: Label of voxels that a warp brings in from outside; null: the border is repeated.

    Raises:
        SegfocalError: For unknown presets, transforms and arguments.

    Example:
        >>> flips = VolumeAugmentation("flips", ignore_index=255)
        >>> import torch
        >>> image, mask = torch.ones(1, 2, 2, 2), torch.ones(2, 2, 2, dtype=torch.uint8)
        >>> flips(image, mask, np.random.default_rng(0))[1].sum()
        tensor(8)
    """

    def __init__(self, spec: str | Sequence[Spec], *, ignore_index: int | None) -> None:
        self.ignore_index = ignore_index
        steps = list(_flat([spec] if isinstance(spec, str) else spec))
        self.flips = [axis for step in steps if isinstance(step, str) for axis in SYMMETRIES[step]]
        border = "border" if ignore_index is None else "zeros"
        made = [_build(step, border=border) for step in steps if not isinstance(step, str)]
        self.transform = Compose(made) if made else None

    def __call__(self, image: Tensor, mask: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return another view of a patch.

        Args:
            image: ``(C, X, Y, Z)`` float32.
            mask: ``(X, Y, Z)`` or ``(K, X, Y, Z)``.
            rng: Of this sample.
        """
        chosen = [axis for axis in self.flips if rng.random() < 0.5]
        if chosen:
            image, mask = image.flip(chosen), mask.flip(chosen)
        if self.transform is None:
            return image, mask
        planes = mask if mask.ndim == 4 else mask[None]
        # a warp fills with 0, which must come out as the ignore label
        shift = float(self.ignore_index or 0)
        self.transform.set_random_state(seed=int(rng.integers(2**32)))
        with _plain_tensors():
            found = self.transform({"image": image, "mask": planes.float() - shift})
        warped = (found["mask"] + shift).round().to(mask.dtype)
        return found["image"].contiguous(), (warped if mask.ndim == 4 else warped[0]).contiguous()


@contextmanager
def _plain_tensors() -> Iterator[None]:
    """Let MONAI skip its meta data, which nobody reads here and which costs more than a flip."""
    before = get_track_meta()
    set_track_meta(False)
    try:
        yield
    finally:
        set_track_meta(before)


def _flat(spec: Sequence[Spec]) -> Iterator[Spec]:
    for step in spec:
        if isinstance(step, str):
            check_choice("augment", step, PRESETS)
            yield from PRESETS[step]
        else:
            yield step


def _build(step: Mapping[str, Any], *, border: str) -> Any:
    name = str(step.get("class_path", "")).rpartition(".")[2]
    kind = getattr(monai.transforms, name, None)
    if not (
        isinstance(kind, type) and issubclass(kind, MapTransform) and issubclass(kind, RandomizableTransform)
    ):
        known = [n for n in dir(monai.transforms) if n.startswith("Rand") and n.endswith("d")]
        raise SegfocalError(
            f"augment: {name!r} is no random dictionary transform of monai.transforms.{nearest(name, known)}"
        )
    arguments = dict(step.get("init_args") or {})
    if name in SPATIAL:
        given = {"keys": ["image", "mask"], "mode": ["bilinear", "nearest"], "padding_mode": border}
    else:
        given = {"keys": ["image"]}
    try:
        return kind(**(given | arguments))
    except (TypeError, ValueError) as error:
        raise SegfocalError(f"augment: {name} does not take {arguments}: {error}") from error
