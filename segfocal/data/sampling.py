"""Which samples make which batch, and the randomness of each: functions of (seed, epoch, index) alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from segfocal.errors import SegfocalError, check_range

Key = tuple[int, int]


def sample_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the random generator of one training sample.

    Args:
        seed: The data module's seed.
        epoch: Epoch, from 0.
        index: Number of the sample in the epoch.

    Example:
        >>> bool(sample_rng(0, 1, 2).random() == sample_rng(0, 1, 2).random())
        True
    """
    return np.random.default_rng((seed, epoch, index))


class EpochBatchSampler(Sampler[list[Key]]):
    """Yield batches of ``(epoch, index)`` keys in an order that depends on (seed, epoch) alone.

    Every rank walks through the same permutation and takes its own slice of each global batch, so ranks never
    share a sample. Samples that do not fill a last batch are left out (others in each epoch).

    Args:
        num_samples: Samples in an epoch.
        batch_size: Samples per batch and rank.
        seed: Seed of the order.
        epoch: First epoch.
        start_batch: Batches of the first epoch to pass over: where an interrupted run goes on.
        rank: This process.
        world_size: Number of processes.

    Raises:
        SegfocalError: When an epoch does not fill one batch.

    Example:
        >>> [len(batch) for batch in EpochBatchSampler(10, 4, seed=0)]
        [4, 4]
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        seed: int,
        *,
        epoch: int = 0,
        start_batch: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        check_range("batch_size", batch_size, low=1)
        if num_samples < batch_size * world_size:
            raise SegfocalError(
                f"an epoch of {num_samples} samples does not fill one batch of {batch_size} on {world_size} "
                "process(es). Raise patches_per_epoch or lower batch_size."
            )
        self.num_samples, self.batch_size, self.seed = num_samples, batch_size, seed
        self.epoch, self.start_batch = epoch, start_batch
        self.rank, self.world_size = rank, world_size
        self._place = {"epoch": epoch, "start_batch": start_batch}

    @property
    def sampler(self) -> EpochBatchSampler:
        """Itself: Lightning announces epochs to ``batch_sampler.sampler``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch; within the current one keep the place."""
        if epoch != self.epoch:
            self.load_state_dict({"epoch": epoch, "start_batch": 0})

    def __len__(self) -> int:
        """Batches of a whole epoch, whatever ``start_batch`` is."""
        return self.num_samples // (self.batch_size * self.world_size)

    def __iter__(self) -> Iterator[list[Key]]:
        epoch, start = self.epoch, self.start_batch
        order = np.random.default_rng((self.seed, epoch)).permutation(self.num_samples)
        step = self.batch_size * self.world_size
        for batch in range(start, len(self)):
            first = batch * step + self.rank * self.batch_size
            # start_batch stays: Lightning may begin the same epoch twice before it uses a batch
            self._place = {"epoch": epoch, "start_batch": batch + 1}
            yield [(epoch, int(index)) for index in order[first : first + self.batch_size]]
        if self.epoch == epoch:  # so that a plain loop without set_epoch sees new samples too
            self.set_epoch(epoch + 1)

    def state_dict(self) -> dict[str, Any]:
        """Return the place after the last batch handed out.

        A loader that fetches ahead runs in front of the training loop: resume from the loop's own count then.
        """
        return dict(self._place)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to the place that ``state_dict`` described."""
        self.epoch, self.start_batch = state["epoch"], state["start_batch"]
        self._place = dict(state)
