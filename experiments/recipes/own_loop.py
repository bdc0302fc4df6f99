"""Use a segfocal loss in a training loop of your own.

Command: python experiments/recipes/own_loop.py
"""

import torch
from torch import nn

from segfocal.losses import DiceLoss, FocalLoss


def discs(count: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw bright discs on noise: images (count, 1, size, size) and labels (count, size, size), 0 or 1."""
    axis = torch.arange(size)
    centres = torch.randint(8, size - 8, (count, 2, 1, 1))
    labels = ((axis[:, None] - centres[:, 0]) ** 2 + (axis - centres[:, 1]) ** 2 < 16).to(torch.uint8)
    return labels[:, None] + 0.7 * torch.randn(count, 1, size, size), labels


def train(steps: int = 60) -> list[float]:
    """Train a small network; return the loss of every step."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 1, 5, padding=2))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)

    # one module, one pass over the logits; labels stay uint8, 255 is left out everywhere
    loss = FocalLoss("binary", gamma=2.0, ignore_index=255) + 0.5 * DiceLoss("binary", ignore_index=255)

    history = []
    for _ in range(steps):
        images, labels = discs(8, 48)
        labels[:, :2] = 255  # a border without a reference
        value = loss(network(images), labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        history.append(value.item())
    return history


if __name__ == "__main__":
    history = train()
    print(f"loss {history[0]:.3f} -> {history[-1]:.3f}")
