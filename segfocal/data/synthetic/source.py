"""One split of generated cases."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from segfocal.data.module import SPLITS, Split
from segfocal.data.source import Source
from segfocal.data.synthetic.render import render
from segfocal.data.synthetic.scene import Scene, draw_labels, make_scene, posterior
from segfocal.data.synthetic.shapes import Kind
from segfocal.imbalance.counts import Task

PARTS = ("even", "scene", "labels", "picture")

# quadratic irrationals, whose multiples fill the unit interval evenly
_EVEN = np.array([0.5 * (np.sqrt(5.0) - 1.0), np.sqrt(2.0) - 1.0, np.sqrt(3.0) - 1.0, np.sqrt(7.0) - 2.0])


class SyntheticSource(Source):
    """One split of generated cases. A case is a function of (seed, split, index) and the settings alone.

    Args:
        split: Which split.
        count: Number of cases.
        seed: Seed of the whole data set.
        kind: Shape of the structures.
        task: Form of the masks.
        layers: Number of foreground classes.
        shape: Height and width, px.
        foreground: Expected foreground fraction, averaged over the pictures; single ones have half to one and
            a half times as much.
        channels: Channels of the pictures.
    """

    def __init__(
        self,
        split: Split,
        *,
        count: int,
        seed: int,
        kind: Kind,
        task: Task,
        layers: int,
        shape: tuple[int, int],
        foreground: float,
        channels: int,
    ) -> None:
        super().__init__([f"{split}_{index:05d}" for index in range(count)])
        self.kind, self.task, self.layers, self.shape = kind, task, layers, shape
        self.foreground, self.channels = foreground, channels
        self._key = (seed, SPLITS.index(split))
        self._start = self._rng(0, "even").random(len(_EVEN))
        self._last: tuple[int, Scene] | None = None

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return the picture ``(H, W, channels)``."""
        return render(self._rng(index, "picture"), self.scene(index), channels=self.channels)

    def mask(self, index: int) -> npt.NDArray[np.uint8]:
        """Return the drawn labels: ``(H, W)``, or ``(K, H, W)`` for multilabel."""
        style = self._even(index)[1 : 1 + self.layers]
        probability = self.scene(index).probability
        return draw_labels(self._rng(index, "labels"), probability, task=self.task, style=style)

    def posterior(self, index: int) -> npt.NDArray[np.float32]:
        """Return P(label | scene), from which the labels are drawn: ``(C, H, W)``."""
        return posterior(self.scene(index).probability, task=self.task)

    def scene(self, index: int) -> Scene:
        """Return the scene of a case; the latest is kept, as picture and mask are asked for together."""
        last = self._last
        if last is not None and last[0] == index:
            return last[1]
        scene = make_scene(
            self._rng(index, "scene"),
            kind=self.kind,
            layers=self.layers,
            shape=self.shape,
            foreground=self.foreground * (0.5 + float(self._even(index)[0])),
        )
        self._last = (index, scene)
        return scene

    def _even(self, index: int) -> npt.NDArray[np.float64]:
        """Return uniform numbers for size and annotators that average out over few pictures.

        Four pictures in a row combine one draw and its mirror image in size with those of the annotators.
        """
        drawn = (self._start + (index // 4 + 1) * _EVEN) % 1.0
        mirrored = np.array([index % 2, *[index // 2 % 2] * (len(_EVEN) - 1)])
        return np.asarray(np.where(mirrored == 1, 1.0 - drawn, drawn))

    def _rng(self, index: int, part: str) -> np.random.Generator:
        # numpy pads a seed with zeros, so that a last number of 0 would repeat other generators
        return np.random.default_rng((*self._key, index, 1 + PARTS.index(part)))
