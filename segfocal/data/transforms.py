"""Augmentation of patches: named presets and albumentations; the only module that knows that library."""

from __future__ import annotations

import inspect
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from segfocal.data.labels import Mask
from segfocal.data.landmarks import Points
from segfocal.data.preprocess import Image
from segfocal.errors import SegfocalError, check_choice, nearest

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # its import contacts a package index otherwise
import albumentations

Spec = str | Mapping[str, Any]

MILD_AFFINE = {
    "class_path": "Affine",
    "init_args": {"scale": [0.9, 1.1], "rotate": [-15, 15], "translate_percent": [-0.05, 0.05], "p": 0.3},
}
SMALL_AFFINE = {"class_path": "Affine", "init_args": {"scale": [0.9, 1.1], "rotate": [-5, 5], "p": 0.3}}
ELASTIC = {
    "class_path": "ElasticTransform",
    "init_args": {"alpha": 30, "sigma": 6, "approximate": True, "p": 0.1},
}
BRIGHTNESS = {"class_path": "RandomBrightnessContrast", "init_args": {"p": 0.3}}
GAMMA = {"class_path": "RandomGamma", "init_args": {"gamma_limit": [80, 125], "p": 0.2}}
HUE = {
    "class_path": "HueSaturationValue",
    "init_args": {"hue_shift_limit": 8, "sat_shift_limit": 20, "val_shift_limit": 10, "p": 0.3},
}
BLUR = {"class_path": "GaussianBlur", "init_args": {"blur_limit": [3, 5], "p": 0.1}}

# the first word is a symmetry done by numpy, which costs microseconds where albumentations takes 160
PRESETS: dict[str, tuple[Spec, ...]] = {
    "none": (),
    "flips": ("square",),
    "medical": ("square", MILD_AFFINE, ELASTIC, BRIGHTNESS, GAMMA),
    "road": ("mirror", SMALL_AFFINE, BRIGHTNESS, HUE, BLUR),
}
SYMMETRIES = ("square", "mirror")


class Augmentation:
    """Change image and mask together; everything random comes from the generator that is passed in.

    Args:
        spec: A preset's name (``none``, ``flips``: mirrors and quarter turns, ``medical``, ``road``), or a
            list of presets and albumentations transforms ``{"class_path": ..., "init_args": {...}}``.
        ignore_index: Label of pixels that a warp brings in from outside; every warp gets it as ``fill_mask``.
        in_channels: Channels of the image; ``road`` shifts hues only where there are 3.
        points: Whether `with_points` is called.

    Raises:
        SegfocalError: For unknown presets, transforms and arguments, and for warps without ``ignore_index``.

    Example:
        >>> import numpy as np
        >>> image, mask = np.zeros((4, 4, 3), np.uint8), np.eye(4, dtype=np.uint8)
        >>> Augmentation("flips", ignore_index=255)(image, mask, np.random.default_rng(0))[1].sum()
        np.uint64(4)
    """

    def __init__(
        self,
        spec: str | Sequence[Spec],
        *,
        ignore_index: int | None,
        in_channels: int = 3,
        points: bool = False,
    ) -> None:
        if not isinstance(spec, (str, Sequence)):
            raise SegfocalError(f"augment must be a preset or a list of transforms, got {spec!r}.")
        steps = list(_expanded([spec] if isinstance(spec, str) else spec))
        self.symmetries = [step for step in steps if isinstance(step, str)]
        built = [
            _build(step, ignore_index=ignore_index)
            for step in steps
            if not isinstance(step, str) and not (step is HUE and in_channels != 3)
        ]
        # what leaves the picture stays in the list: a line is drawn up to the border
        kept = albumentations.KeypointParams("xy", remove_invisible=False) if points else None
        self.compose = albumentations.Compose(built, keypoint_params=kept) if built else None

    def __call__(self, image: Image, mask: Mask, rng: np.random.Generator) -> tuple[Image, Mask]:
        """Return the changed pair.

        Args:
            image: ``(H, W, C)``, uint8 or float32 in [0, 1].
            mask: ``(H, W)`` or ``(K, H, W)``, uint8 or int32.
            rng: The sample's generator.

        Returns:
            Image and mask of the same shapes and types.

        Raises:
            SegfocalError: When a transform changes shape or type.
        """
        return self._changed(image, mask, None, rng)[:2]

    def with_points(
        self, image: Image, mask: Mask, points: Points, rng: np.random.Generator
    ) -> tuple[Image, Mask, Points]:
        """Return the changed pair, as a call does, and where points ``(N, 2)`` x, y went, all and in order.

        Raises:
            SegfocalError: When a transform changes shape or type, or loses points.
        """
        image, mask, moved = self._changed(image, mask, points, rng)
        if moved is None or len(moved) != len(points):
            raise SegfocalError(
                f"augment must keep all {len(points)} points of the lanes. Leave out what removes some."
            )
        return image, mask, moved

    def _changed(
        self, image: Image, mask: Mask, points: Points | None, rng: np.random.Generator
    ) -> tuple[Image, Mask, Points | None]:
        for symmetry in self.symmetries:
            image, mask, points = _symmetry(image, mask, points, turns=symmetry == "square", rng=rng)
        if self.compose is None:
            return image, mask, points
        self.compose.set_random_seed(int(rng.integers(2**31)))
        before = image.shape, image.dtype, mask.shape, mask.dtype
        layered = mask.ndim == 3
        moved = np.moveaxis(mask, 0, -1) if layered else mask
        given = {} if points is None else {"keypoints": points.astype(np.float32)}
        try:
            result = self.compose(
                image=np.ascontiguousarray(image), mask=np.ascontiguousarray(moved), **given
            )
        except Exception as error:  # transforms raise whatever they like
            raise SegfocalError(
                f"augment: {type(error).__name__}: {_line(error)}. The image has shape and type "
                f"{before[:2]}, the mask {before[2:]}: leave out the transform that does not take them."
            ) from error
        image, mask = result["image"], result["mask"]
        mask = np.moveaxis(mask, -1, 0) if layered else mask
        after = image.shape, image.dtype, mask.shape, mask.dtype
        if before != after:
            raise SegfocalError(
                f"augment must keep shape and type of image and mask, {before} became {after}. Leave out "
                "transforms that crop, resize, normalise or convert: patch_size and preprocess do that."
            )
        return image, mask, None if points is None else np.asarray(result["keypoints"], dtype=np.float64)


def transform_names() -> frozenset[str]:
    """Return the names of albumentations' transforms that take no functions."""
    bases = (albumentations.BasicTransform, albumentations.BaseCompose)
    kinds = {name: kind for name, kind in vars(albumentations).items() if inspect.isclass(kind)}
    return frozenset(name for name, kind in kinds.items() if issubclass(kind, bases) and name != "Lambda")


def _symmetry(
    image: Image, mask: Mask, points: Points | None, *, turns: bool, rng: np.random.Generator
) -> tuple[Image, Mask, Points | None]:
    """One of the symmetries of the square (of the rectangle where it is none), or of the mirror alone."""
    draw = int(rng.integers(8))
    height, width = image.shape[:2]
    if draw & 1:
        image, mask = image[:, ::-1], mask[..., ::-1]
        points = None if points is None else points * [-1, 1] + [width - 1, 0]
    if turns and draw & 2:
        image, mask = image[::-1], mask[..., ::-1, :]
        points = None if points is None else points * [1, -1] + [0, height - 1]
    if turns and draw & 4 and height == width:
        image, mask = image.swapaxes(0, 1), mask.swapaxes(-1, -2)
        points = None if points is None else points[:, ::-1]
    return image, mask, points


def _expanded(spec: Sequence[Spec]) -> Iterator[Spec]:
    for step in spec:
        if isinstance(step, str) and step not in SYMMETRIES:
            check_choice("augment", step, PRESETS)
            yield from PRESETS[step]
        else:
            yield step


def _build(step: Any, *, ignore_index: int | None) -> Any:
    """Make one transform, and those that it holds (``OneOf``, ``SomeOf``, ``Sequential``) likewise."""
    if not isinstance(step, Mapping) or "class_path" not in step:
        raise SegfocalError(f"augment takes presets and dicts with class_path and init_args, got {step!r}.")
    name = str(step["class_path"])
    name = name.rpartition(".")[2] if name.startswith("albumentations.") else name
    kinds = {k: v for k, v in vars(albumentations).items() if inspect.isclass(v)}
    if name not in kinds:
        raise SegfocalError(f"albumentations has no transform {name!r}.{nearest(name, kinds)}")
    if extra := [key for key in step if key not in ("class_path", "init_args")]:
        raise SegfocalError(
            f"{name} takes class_path and init_args, got {extra[0]!r}. Put it below init_args."
        )
    given = dict(step.get("init_args") or {})
    known = inspect.signature(kinds[name]).parameters
    for argument in given:
        if argument not in known:  # albumentations itself would only warn
            raise SegfocalError(f"{name} has no argument {argument!r}.{nearest(argument, known)}")
    # a default of None (dropout) leaves the mask alone; a number is a class painted into the border
    warps = "fill_mask" in known and known["fill_mask"].default is not None
    if warps and given.setdefault("fill_mask", ignore_index) is None:
        raise SegfocalError(f"{name} brings in pixels from outside: set ignore_index, or leave it out.")
    arguments = {key: _argument(value, key, name, ignore_index=ignore_index) for key, value in given.items()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return kinds[name](**arguments)
    except Exception as error:  # its checks raise whatever they like
        raise SegfocalError(f"{name} does not take {given}: {_line(error)}.") from error


def _line(error: Exception) -> str:
    """Return what a transform says in one line, without the addresses of its validator."""
    said = re.sub(r"\s*For further information visit \S+", "", str(error))
    said = re.sub(r"^\d+ validation errors? for \w+\s*", "", said)
    said = re.sub(r"\[type=\w+, input_value=.*?, input_type=\w+\]", "", said)
    return " ".join(said.split())[:400].rstrip(". ") or "no reason given"


def _argument(value: Any, key: str, owner: str, *, ignore_index: int | None) -> Any:
    """Return an argument as albumentations takes it: transforms are built, other lists are tuples."""
    if key != "transforms":
        if isinstance(value, Mapping) and "class_path" in value:  # OneOrOther(first=..., second=...)
            return _build(value, ignore_index=ignore_index)
        return tuple(value) if isinstance(value, list) else value
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise SegfocalError(
            f"{owner} needs a list of transforms, each with class_path and init_args, got {value!r}."
        )
    inner = list(_expanded(value))
    if symmetries := [step for step in inner if isinstance(step, str)]:
        raise SegfocalError(
            f"{owner} cannot hold {symmetries[0]!r}, of which flips, medical and road begin: put the preset "
            f"beside {owner} in augment, or take HorizontalFlip, VerticalFlip, RandomRotate90."
        )
    return [_build(step, ignore_index=ignore_index) for step in inner]
