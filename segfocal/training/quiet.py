"""Keep what Lightning says on every run, and nobody acts on, out of the output."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from lightning_fabric.utilities.warnings import PossibleUserWarning

_LEVELS = {
    "pytorch_lightning": logging.WARNING,
    "lightning_fabric": logging.WARNING,
    "pytorch_lightning.utilities.rank_zero": logging.WARNING,
    "torch.utils.cpp_extension": logging.ERROR,  # torch.compile on a CPU misses a CUDA runtime
}


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Show warnings and errors of Lightning, but neither its tips and notes nor its advice on loaders.

    Yields:
        Nothing.
    """
    before = {name: logging.getLogger(name).level for name in _LEVELS}
    with warnings.catch_warnings():
        # "does not have many workers", "is not resumable" (SegmentationData is) and the like
        warnings.simplefilter("ignore", PossibleUserWarning)
        # no validation split is a choice
        warnings.filterwarnings("ignore", message="Total length of `list`", category=UserWarning)
        # a checkpoint is scored without the callbacks that only train
        warnings.filterwarnings(
            "ignore", message="Be aware that when using `ckpt_path`", category=UserWarning
        )
        # Lightning's own call of a torch function
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        for name, level in _LEVELS.items():
            logging.getLogger(name).setLevel(level)
        try:
            yield
        finally:
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)
