"""Does loading keep the network busy, and does memory stay flat?

    SEGFOCAL_DATA=DIR python experiments/loading/measure.py CONFIG [CONFIG ...] [--threads 1] [--workers 2]
    SEGFOCAL_DATA=DIR python experiments/loading/measure.py CONFIG --memory [--epochs 20]

Speed: the configuration's network, loss and optimizer take the same number of steps on batches that lie in
memory and on those of the data module's loader, in turns in one process. Memory: the loaders alone take
some epochs of 400 patches and all validation images, and the memory of this process and its workers is read
after each (proportional set size: shared pages count once; and of those the ones in no file). Further words
go to the configuration: --data.init_args.cache_mib 256 --data.init_args.cache_dir DIR.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Iterable, Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch

from segfocal.data.base import CaseData
from segfocal.training.cli import SegfocalCLI
from segfocal.training.quiet import quiet_lightning

KEYS = ("Pss", "Pss_Anon")


class Side:
    """One network with its optimizer, to be stepped on any batches."""

    def __init__(self, cli: SegfocalCLI) -> None:
        self.network, self.loss = cli.model.network.train(), cli.model.loss
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-4, fused=True)
        self.half = cli.config.trainer.precision == "bf16-mixed"
        self.format = torch.channels_last if cli.model.channels_last else torch.contiguous_format

    def seconds(self, batches: Iterable[dict], *, steps: int) -> float:
        """Return seconds per step."""
        begin = time.perf_counter()
        for batch in islice(batches, steps):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.half):
                logits = self.network(batch["image"].contiguous(memory_format=self.format))
            value = self.loss(logits.float(), batch["mask"])
            self.optimizer.zero_grad()
            value.backward()
            self.optimizer.step()
        return (time.perf_counter() - begin) / steps


def endless(data: CaseData) -> Iterator[dict]:
    """Yield training batches, epoch after epoch, from one loader."""
    loader = data.train_dataloader()
    while True:
        yield from loader


def speed(config: str, options: argparse.Namespace) -> None:
    """Measure one configuration in turns and print a row."""
    cli = build(config, *options.words, workers=options.workers)
    data, side = cli.datamodule, Side(cli)
    data.setup("fit")
    loaded = endless(data)
    kept = cycle(list(islice(loaded, 16)))
    side.seconds(kept, steps=10)
    times = []
    for _ in range(options.rounds):
        memory = side.seconds(kept, steps=options.steps)
        list(islice(loaded, 8))  # what the workers made ready while nobody asked
        times.append((memory, side.seconds(loaded, steps=options.steps)))
    memory, files = 1e3 * np.median(times, axis=0)
    ratios = [one / other for one, other in times]
    name = Path(config).stem
    print(
        f"{name:22s} {options.threads} threads, {options.workers} workers: "
        f"{memory:7.1f} ms a step from memory, "
        f"{files:7.1f} from files, {np.median(ratios):.3f} of the steps per second "
        f"({min(ratios):.3f} .. {max(ratios):.3f})",
        flush=True,
    )


def memory(config: str, options: argparse.Namespace) -> None:
    """Print the memory after each epoch of one configuration's loaders."""
    words = ["--data.init_args.patches_per_epoch", "400", *options.words]
    cli = build(config, *words, workers=options.workers)
    data = cli.datamodule
    data.setup("fit")
    train, val = data.train_dataloader(), data.val_dataloader()
    sizes = []
    for _ in range(options.epochs):
        for _ in train:
            pass
        for _ in val:
            pass
        sizes.append(resident())
    listed = " ".join(f"{size:.0f}({anonymous:.0f})" for size, anonymous in sizes)
    print(f"{Path(config).stem:22s} MiB after each epoch: {listed}", flush=True)


def resident() -> tuple[float, float]:
    """Return MiB of this process and its children, shared pages once; and of those the ones in no file."""
    own = os.getpid()
    children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
    maps = [Path(f"/proc/{process}/smaps_rollup").read_text() for process in [str(own), *children]]
    sizes = [sum(int(re.search(rf"^{key}:\s+(\d+)", text, re.M)[1]) for text in maps) for key in KEYS]
    return sizes[0] / 1024, sizes[1] / 1024


def build(config: str, *words: str, workers: int) -> SegfocalCLI:
    """Return what a configuration and further words describe, with that many loader processes."""
    return SegfocalCLI(["--config", config, "--data.init_args.num_workers", str(workers), *words])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configs", nargs="+")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--epochs", type=int, default=20)
    options, options.words = parser.parse_known_args()
    torch.set_num_threads(options.threads)
    with quiet_lightning():
        for config in options.configs:
            (memory if options.memory else speed)(config, options)


if __name__ == "__main__":
    main()
