"""Turn a scene into a picture that no intensity threshold can read."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from segfocal.data.synthetic.noise import illumination, smooth_noise
from segfocal.data.synthetic.scene import Scene

Array = npt.NDArray[np.float64]

# grey levels; the illumination runs over a range several times the contrast, which is what defeats thresholds
_MIDDLE, _ILLUMINATION, _CONTRAST, _TEXTURE, _NOISE = 128.0, 75.0, 30.0, 5.0, 5.0
_WAVES = 2
_TILE_PX = 4


def render(rng: np.random.Generator, scene: Scene, *, channels: int) -> npt.NDArray[np.uint8]:
    """Render a scene under uneven light, with texture and noise.

    Each layer shows as contrast in proportion to its probability: the first plainly, the second as upright
    stripes, the third as a checkerboard, so that classes that overlap stay visible.

    Args:
        rng: Source of randomness, independent of the labels'.
        scene: What to show.
        channels: Number of channels; each has its own share of the light and of the contrast.

    Returns:
        uint8 ``(H, W, channels)``.
    """
    shape = scene.decoy.shape[0], scene.decoy.shape[1]
    signal = _signal(rng, scene)
    shared = illumination(rng, shape, waves=_WAVES)
    own = np.stack([illumination(rng, shape, waves=_WAVES) for _ in range(channels)])
    light = 0.75 * shared + 0.25 * own
    gain = rng.uniform(0.8, 1.2, (channels, 1, 1))
    texture = _TEXTURE * smooth_noise(rng, (1, *shape), sigma_px=1.5)
    noise = _NOISE * rng.standard_normal((channels, *shape))
    picture = _MIDDLE + _ILLUMINATION * light + gain * (_CONTRAST * signal + texture) + noise
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8).transpose(1, 2, 0)


def _signal(rng: np.random.Generator, scene: Scene) -> Array:
    height, width = scene.decoy.shape
    y = (np.arange(height) + rng.integers(_TILE_PX))[:, None] // (_TILE_PX // 2) % 2
    x = (np.arange(width) + rng.integers(_TILE_PX)) // (_TILE_PX // 2) % 2
    patterns = (np.ones((1, 1)), 1.0 - 2.0 * x[None], 1.0 - 2.0 * (x ^ y))
    layers = zip(scene.probability, scene.polarity, patterns, strict=False)
    return np.asarray(sum((q * sign * pattern for q, sign, pattern in layers), start=scene.decoy))
