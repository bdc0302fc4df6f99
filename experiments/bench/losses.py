"""Time and memory of the losses beside the peers: forward and gradient, in turns, in one process.

python -m experiments.bench.losses [--rounds 30] [--device cpu] [--threads 2] [--write]
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from experiments.bench.providers import Loss, binary_providers, softmax_providers
from experiments.bench.timing import Row, append, context, in_turns


def problems(device: str) -> dict[str, tuple[Tensor, Tensor, dict[str, tuple[Loss, torch.dtype]]]]:
    """Make the logits and labels of every problem, and name its providers."""
    torch.manual_seed(0)
    binary = 3 * torch.randn(1, 1, 1024, 1024, device=device)
    mask = torch.rand(1, 1, 1024, 1024, device=device) < 0.02
    volume = 2 * torch.randn(1, 8, 64, 64, 64, device=device)
    labels = torch.randint(0, 8, (1, 64, 64, 64), device=device)
    return {
        "binary focal": (binary, mask, binary_providers()),
        "softmax focal + dice": (volume, labels, softmax_providers()),
    }


def step_of(loss: Loss, logits: Tensor, target: Tensor) -> Callable[[], object]:
    """Return one forward pass with gradient."""
    leaf = logits.clone().requires_grad_()
    return lambda: torch.autograd.grad(loss(leaf, target), leaf)


def floor_bytes(logits: Tensor, target: Tensor) -> int:
    """Bytes that any implementation must move: logits and labels twice, the gradient once."""
    return 3 * logits.nbytes + 2 * target.nbytes


def saved_bytes(loss: Loss, logits: Tensor, target: Tensor) -> int:
    """Bytes kept between the passes besides logits and labels, each storage counted once."""
    leaf = logits.clone().requires_grad_()
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss(leaf, target)
    given = {leaf.untyped_storage().data_ptr(), target.untyped_storage().data_ptr()}
    return sum(size for pointer, size in kept.items() if pointer not in given)


def peak_mib(step: Callable[[], object]) -> float:
    """Peak of CUDA memory above what was there before, in MiB."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def measure(stem: str, device: str, rounds: int) -> list[Row]:
    """Measure all providers of one problem and print a table."""
    logits, labels, providers = problems(device)[stem]
    targets = {name: labels.to(dtype) for name, (_, dtype) in providers.items()}
    steps = {name: step_of(loss, logits, targets[name]) for name, (loss, _) in providers.items()}
    times = in_turns(steps, device, rounds)
    shape = "x".join(map(str, logits.shape))
    rows = []
    print(f"{stem} {shape} float32", flush=True)
    for name, (loss, _) in providers.items():
        common = {"stem": stem, "provider": name, "shape": shape, "dtype": "float32", **context(device)}
        median, p20, p80 = times[name].tolist()
        rows.append(Row(**common, mode="forward+gradient", value=median, unit="ms", p20=p20, p80=p80))
        kept = saved_bytes(loss, logits, targets[name]) / 2**20
        rows.append(Row(**common, mode="kept for gradient", value=kept, unit="MiB", p20=kept, p80=kept))
        rate = floor_bytes(logits, targets[name]) / median / 1e6
        rows.append(Row(**common, mode="floor bytes per time", value=rate, unit="GB/s", p20=rate, p80=rate))
        if device == "cuda":
            peak = peak_mib(steps[name])
            rows.append(Row(**common, mode="peak memory", value=peak, unit="MiB", p20=peak, p80=peak))
        print(
            f"  {name:22s} {median:8.2f} ms ({p20:.2f} .. {p80:.2f})  kept {kept:8.2f} MiB  {rate:6.1f} GB/s"
        )
    return rows


def main() -> None:
    """Measure every problem."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--write", action="store_true", help="append the rows to results.csv")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")  # of the peers' own deprecations
    for stem in problems("cpu"):
        rows = measure(stem, arguments.device, arguments.rounds)
        if arguments.write:
            append(rows)


if __name__ == "__main__":
    main()
