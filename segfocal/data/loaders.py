"""Loaders over patches and whole images, for one process or several."""

from __future__ import annotations

from typing import Any, Protocol

import cv2
import torch
from pytorch_lightning.overrides.distributed import UnrepeatedDistributedSampler
from torch.utils.data import DataLoader, Dataset

from segfocal.data.patches import Sample, collate
from segfocal.data.sampling import EpochBatchSampler, Key
from segfocal.errors import SegfocalError

Ranks = tuple[int, int]


class Patches(Protocol):
    """Training patches of images or volumes: a map-style data set of keys (epoch, index)."""

    seed: int

    def __len__(self) -> int: ...

    def __getitem__(self, key: Key) -> Sample: ...

    def fill(self) -> None:
        """Read as many cases as are kept in memory."""


def patch_loader(
    dataset: Patches, *, batch_size: int, start: tuple[int, int], ranks: Ranks, num_workers: int
) -> DataLoader[Sample]:
    """Return a loader of training batches.

    Args:
        dataset: The patches; with workers, its cases are read first, so that the workers share them.
        batch_size: Patches per batch and process.
        start: Epoch and batch to begin at.
        ranks: This process and the number of processes.
        num_workers: Loader processes.

    Raises:
        SegfocalError: When an epoch does not fill one batch.
    """
    sampler = EpochBatchSampler(
        len(dataset),
        batch_size,
        dataset.seed,
        epoch=start[0],
        start_batch=start[1],
        rank=ranks[0],
        world_size=ranks[1],
    )
    if num_workers:
        dataset.fill()
    return DataLoader(dataset, batch_sampler=sampler, **_common(num_workers))  # type: ignore[arg-type]


def image_loader(
    dataset: Dataset[Sample], *, batch_size: int, ranks: Ranks, num_workers: int
) -> DataLoader[Sample]:
    """Return a loader of whole images, each in exactly one process and once.

    Args:
        dataset: The images.
        batch_size: Images per batch; above 1 they must be of one size.
        ranks: This process and the number of processes.
        num_workers: Loader processes.

    Raises:
        SegfocalError: When there are fewer images than processes.
    """
    rank, world_size = ranks
    images = len(dataset)  # type: ignore[arg-type]
    if images < world_size:
        raise SegfocalError(
            f"{images} whole images do not reach {world_size} processes. Use fewer processes."
        )
    # DistributedSampler itself would repeat images to make the shards equal
    sampler = UnrepeatedDistributedSampler(dataset, num_replicas=world_size, rank=rank, shuffle=False)
    return DataLoader(dataset, batch_size=batch_size, sampler=sampler, **_common(num_workers))


def _common(num_workers: int) -> dict[str, Any]:
    return {
        "num_workers": num_workers,
        "persistent_workers": num_workers > 0,
        "pin_memory": torch.cuda.is_available(),
        "collate_fn": collate,
        "worker_init_fn": _one_thread,
        # samples have their own; the global one stays as it is
        "generator": torch.Generator().manual_seed(0),
    }


def _one_thread(worker: int) -> None:
    """More threads than cores only wait for one another."""
    cv2.setNumThreads(0)
