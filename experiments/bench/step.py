"""What a step of `segfocal fit` costs beside a bare loop with the same network, loss, data and optimizer.

python experiments/bench/step.py [--steps 200] [--rounds 5] [--network small|tiny]

Both sides alternate in one process; each round times the same number of steps after a warm-up. `tiny` is a
network of one convolution, whose step is almost nothing but overhead: its difference in milliseconds holds
for every network.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from pytorch_lightning import Callback

from segfocal.runs.layout import RunPaths
from segfocal.training.assemble import fit_callbacks, fit_loggers
from segfocal.training.cli import SegfocalCLI
from segfocal.training.interrupt import StopSignal
from segfocal.training.quiet import quiet_lightning

CONFIG = Path(__file__).parents[2] / "configs/train/demo.yaml"
TINY = ["--model.network", "torch.nn.Conv2d", "--model.network.init_args.in_channels", "1"]
TINY += ["--model.network.init_args.out_channels", "1", "--model.network.init_args.kernel_size", "1"]
TINY += ["--data.init_args.patch_size", "16", "--data.init_args.batch_size", "1"]


def arguments(options: argparse.Namespace) -> list[str]:
    """Return the words that both sides are built from."""
    steps = options.warmup + options.steps
    argv = ["--config", str(CONFIG), "--trainer.max_steps", str(steps), "--trainer.limit_val_batches", "0"]
    argv += [
        "--data.init_args.patches_per_epoch",
        str(8 * steps),
        "--trainer.accelerator",
        options.accelerator,
    ]
    return argv + (TINY if options.network == "tiny" else [])


def bare_loop(argv: list[str], options: argparse.Namespace) -> float:
    """Return seconds per step of a plain PyTorch loop."""
    cli = SegfocalCLI(argv)
    data, network, loss = cli.datamodule, cli.model.network, cli.model.loss
    device = torch.device("cuda" if options.accelerator == "gpu" else "cpu")
    network.to(device).train()
    loss.to(device)
    data.setup("fit")
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    start = 0.0
    for number, batch in enumerate(data.train_dataloader()):
        if number == options.warmup:
            start = clock(device)
        if number == options.warmup + options.steps:
            break
        images = batch["image"].to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
        value = loss(network(images), batch["mask"].to(device, non_blocking=True))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return (clock(device) - start) / options.steps


class Stopwatch(Callback):
    """Times the steps after a warm-up, validation and saving apart."""

    def __init__(self, warmup: int) -> None:
        self.warmup, self.start, self.end = warmup, 0.0, 0.0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:  # noqa: ANN001
        """Start after the warm-up."""
        if trainer.global_step == self.warmup and self.start == 0.0:
            self.start = clock(pl_module.device)

    def on_train_epoch_end(self, trainer, pl_module) -> None:  # noqa: ANN001
        """Stop."""
        self.end = clock(pl_module.device)


def fit_loop(argv: list[str], options: argparse.Namespace) -> float:
    """Return seconds per step of `segfocal fit`, logging to metrics.csv and TensorBoard."""
    with tempfile.TemporaryDirectory() as folder, quiet_lightning():
        run, cli, watch = RunPaths(folder), SegfocalCLI(argv), Stopwatch(options.warmup)
        run.info.write_text('{"schema_version": 1, "status": "running"}')
        cli.datamodule.setup("fit")
        cli.model.prepare(cli.datamodule, "fit")
        cli.checkpoints.attach(run, StopSignal())
        callbacks = [watch, *fit_callbacks(run, cli.checkpoints)]
        trainer = cli.build_trainer(
            loggers=fit_loggers(run, resume_step=None), callbacks=callbacks, root=folder
        )
        trainer.fit(cli.model, datamodule=cli.datamodule)
    return (watch.end - watch.start) / options.steps


def clock(device: torch.device) -> float:
    """Return seconds, once the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--warmup", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--network", choices=("small", "tiny"), default="small")
    parser.add_argument("--accelerator", choices=("cpu", "gpu"), default="cpu")
    options = parser.parse_args()
    argv = arguments(options)
    times = (
        np.array([(bare_loop(argv, options), fit_loop(argv, options)) for _ in range(options.rounds)]) * 1e3
    )
    bare, ours = np.median(times, axis=0)
    for name, column in (("bare loop", times[:, 0]), ("segfocal fit", times[:, 1])):
        low, middle, high = np.percentile(column, (20, 50, 80))
        print(f"{name:13s} {middle:8.3f} ms per step (p20 {low:.3f}, p80 {high:.3f})")
    print(f"overhead      {ours - bare:8.3f} ms per step, {100 * (ours / bare - 1):.1f} %")


if __name__ == "__main__":
    main()
