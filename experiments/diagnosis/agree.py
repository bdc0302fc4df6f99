"""Does the verdict of `segfocal diagnose` agree with trainings: cross-entropy against focal loss, gamma 2?

Run: OMP_NUM_THREADS=1 python experiments/diagnosis/agree.py > experiments/diagnosis/agree.csv
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from segfocal import CrossEntropyLoss, FocalLoss
from segfocal.data import SyntheticData
from segfocal.metrics import PixelCurves, ThresholdSearch
from segfocal.models import SmallUNet
from segfocal.training.diagnosis.gather import Gathering
from segfocal.training.diagnosis.report import diagnose

SEEDS = 3
BATCH = 8
FACTS = ("easy_background", "missed_foreground", "held_back")
Arrays = dict[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Setting:
    """Data, network and steps of one comparison."""

    name: str
    data: Callable[[], Arrays]
    network: Callable[[], nn.Module]
    steps: int


def plain() -> nn.Module:
    """Three convolutions without normalisation, 9x9 pixels of sight."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 1, 3, padding=1),
    )


def unet(norm: str = "batch") -> Callable[[], nn.Module]:
    """The default network, narrower."""
    return lambda: SmallUNet(1, 1, channels=(8, 16), norm=norm)


def discs(per_image: float, *, contrast: float = 3.0, wrong: float = 0.0, size: int = 40) -> Arrays:
    """Discs of radius 2 px on noise of deviation 1; a share of the labels is flipped, pixel by pixel."""
    rows, columns = np.mgrid[:size, :size]
    found: Arrays = {}
    for split, (seed, count) in {"train": (10, 64), "val": (11, 48), "test": (12, 48)}.items():
        rng = np.random.default_rng(seed)
        images = rng.normal(0, 1, (count, size, size)).astype(np.float32)
        masks = np.zeros((count, size, size), np.uint8)
        for image, mask in zip(images, masks, strict=True):
            for row, column in rng.uniform(4, size - 4, (rng.poisson(per_image), 2)):
                inside = (rows - row) ** 2 + (columns - column) ** 2 <= 4
                image[inside] += contrast
                mask[inside] = 1
        masks ^= (rng.random(masks.shape) < wrong).astype(np.uint8)
        found[split] = torch.from_numpy(images)[:, None], torch.from_numpy(masks)
    return found


def generated(kind: str, foreground: float) -> Arrays:
    """Pictures of `segfocal generate`, each standardised."""
    data = SyntheticData(
        kind=kind, foreground=foreground, image_size=64, val_images=32, test_images=32, seed=7
    )
    found: Arrays = {}
    for split in ("train", "val", "test"):
        source = data.source(split)
        images = np.stack([source.image(i)[..., 0] for i in range(len(source))]).astype(np.float32)
        images -= images.mean((1, 2), keepdims=True)
        images /= images.std((1, 2), keepdims=True)
        masks = np.stack([source.mask(i) for i in range(len(source))])
        found[split] = torch.from_numpy(images)[:, None], torch.from_numpy(masks)
    return found


def train(setting: Setting, data: Arrays, loss: nn.Module, seed: int) -> nn.Module:
    """AdamW, 3e-3, cosine to 0 after 20 steps of rise; order and start depend on the seed alone."""
    images, masks = data["train"]
    torch.manual_seed(seed)
    network = setting.network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * step / setting.steps)),
    )
    order = torch.Generator().manual_seed(seed)
    for _ in range(setting.steps):
        chosen = torch.randint(len(images), (BATCH,), generator=order)
        optimizer.zero_grad()
        loss(network(images[chosen]), masks[chosen]).backward()
        optimizer.step()
        rate.step()
    return network.eval()


@torch.no_grad()
def scores(network: nn.Module, data: Arrays) -> tuple[float, float]:
    """AUPR over all test pixels, and the test Dice per image at the threshold that is best on validation."""
    search, curves = ThresholdSearch("binary", 1), PixelCurves("binary", 1)
    for metric, split in ((search, "val"), (curves, "test")):
        images, masks = data[split]
        metric.update(network(images).sigmoid(), masks, [str(i) for i in range(len(images))])
    images, masks = data["test"]
    chosen = network(images)[:, 0].sigmoid() >= search.thresholds()[0]
    both = (chosen & (masks == 1)).sum((1, 2))
    size = chosen.sum((1, 2)) + (masks == 1).sum((1, 2))
    dice = torch.where(size == 0, 1.0, 2 * both / size.clamp(min=1))
    return float(curves.compute()["aupr"]), float(dice.mean())


@torch.no_grad()
def verdict(network: nn.Module, data: Arrays, loss: nn.Module) -> tuple[str, dict[str, float]]:
    """What `segfocal diagnose` says of the network."""
    images, masks = data["val"]
    gathered = Gathering("binary", ["disc"], ignore_index=None)
    gathered.update(network(images), masks, [str(i) for i in range(len(images))])
    report = diagnose(gathered, task="binary", class_names=["disc"], loss=loss, knees=[0.75])
    return report["verdict"]["word"], report["facts"]


CHOSEN_ON = [
    Setting("discs 0.5, plain", lambda: discs(0.5), plain, 300),
    Setting("discs 1.5, plain", lambda: discs(1.5), plain, 150),
    Setting("discs 2, contrast 2, plain", lambda: discs(2, contrast=2.0), plain, 300),
    Setting("discs 8, plain", lambda: discs(8), plain, 300),
    Setting("discs 8, 8 % labels wrong, plain", lambda: discs(8, wrong=0.08), plain, 300),
    Setting("discs 1.5, U-Net, batch norm", lambda: discs(1.5), unet(), 150),
    Setting("discs 1.5, U-Net, group norm", lambda: discs(1.5), unet("group"), 150),
    Setting("discs 8, 8 % labels wrong, U-Net", lambda: discs(8, wrong=0.08), unet(), 300),
    Setting("generated lanes 1 %, plain", lambda: generated("lanes", 0.01), plain, 600),
    Setting("generated vessels 5 %, plain", lambda: generated("vessels", 0.05), plain, 600),
    Setting("generated lesions 2 %, U-Net", lambda: generated("lesions", 0.02), unet(), 300),
    Setting("generated lesions 20 %, U-Net", lambda: generated("lesions", 0.2), unet(), 300),
]

CHECKED_ON = [
    Setting("discs 1, contrast 4, plain", lambda: discs(1, contrast=4.0), plain, 150),
    Setting("discs 3, plain", lambda: discs(3), plain, 150),
    Setting("discs 1, U-Net, instance norm", lambda: discs(1), unet("instance"), 200),
    Setting("discs 4, contrast 2, 3 % wrong, U-Net", lambda: discs(4, contrast=2, wrong=0.03), unet(), 200),
    Setting("generated lanes 2 %, plain", lambda: generated("lanes", 0.02), plain, 400),
    Setting("generated lesions 5 %, plain", lambda: generated("lesions", 0.05), plain, 400),
    Setting(
        "generated vessels 2 %, U-Net, group norm", lambda: generated("vessels", 0.02), unet("group"), 300
    ),
    Setting("generated vessels 10 %, U-Net", lambda: generated("vessels", 0.1), unet(), 300),
    Setting("generated lanes 5 %, U-Net", lambda: generated("lanes", 0.05), unet(), 300),
]


def main() -> None:
    """Write one row per setting and seed."""
    sys.stdout.write("set,setting,seed,verdict,easy,missed,held_back,aupr_ce,aupr_focal,dice_ce,dice_focal\n")
    settings = [("chosen on", each) for each in CHOSEN_ON] + [("checked on", each) for each in CHECKED_ON]
    for which, setting in settings:
        data = setting.data()
        for seed in range(SEEDS):
            ce, focal = CrossEntropyLoss("binary"), FocalLoss("binary", gamma=2.0)
            networks = [train(setting, data, loss, seed) for loss in (ce, focal)]
            (aupr_ce, dice_ce), (aupr_focal, dice_focal) = (scores(network, data) for network in networks)
            word, facts = verdict(networks[0], data, ce)
            shares = [facts[key] for key in FACTS]
            numbers = [*shares, aupr_ce, aupr_focal, dice_ce, dice_focal]
            listed = ",".join(f"{value:.4f}" for value in numbers)
            sys.stdout.write(f'{which},"{setting.name}",{seed},{word},{listed}\n')
            sys.stdout.flush()


if __name__ == "__main__":
    main()
