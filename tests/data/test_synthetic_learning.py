from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from segfocal.data.synthetic import SyntheticData, bayes_dice, threshold_dice


def block(channels, width):
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )


class TinyUNet(nn.Module):
    """Three levels, about 70 thousand weights: whatever this learns is easy to learn."""

    def __init__(self, width=12):
        super().__init__()
        self.fine, self.middle = block(1, width), block(width, 2 * width)
        self.coarse, self.up = block(2 * width, 3 * width), block(5 * width, 2 * width)
        self.join, self.head = block(3 * width, width), nn.Conv2d(width, 1, 1)

    def forward(self, image):
        fine = self.fine(image)
        middle = self.middle(F.max_pool2d(fine, 2))
        coarse = self.coarse(F.max_pool2d(middle, 2))
        middle = self.up(torch.cat([middle, F.interpolate(coarse, scale_factor=2.0)], dim=1))
        return self.head(self.join(torch.cat([fine, F.interpolate(middle, scale_factor=2.0)], dim=1)))


def trained(data, steps):
    torch.manual_seed(0)
    network = TinyUNet()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for batch in data.train_dataloader():
        logits, target = network(batch["image"])[:, 0], batch["mask"].float()
        p = logits.sigmoid()
        region = 1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)
        optimizer.zero_grad()
        (F.binary_cross_entropy_with_logits(logits, target) + region).backward()
        optimizer.step()
        schedule.step()
    return network.eval()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vessels", "lesions", "lanes"])
def test_a_tiny_network_learns_what_no_threshold_finds(kind):
    steps = 350
    data = SyntheticData(
        kind=kind, foreground=0.08, image_size=64, patch_size=64, patches_per_epoch=8 * steps, test_images=24
    )
    network = trained(data, steps)
    with torch.no_grad():
        scores = []
        for batch in data.test_dataloader():
            found, label = network(batch["image"])[0, 0] > 0, batch["mask"][0] == 1
            scores.append(2 * float((found & label).sum()) / max(float(found.sum() + label.sum()), 1.0))
    dice, bayes, threshold = np.mean(scores), bayes_dice(data)[0], threshold_dice(data)[0]
    assert threshold + 0.3 < dice < bayes + 0.02
    assert dice > bayes - 0.15
