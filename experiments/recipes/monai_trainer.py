"""Use a segfocal loss in MONAI's SupervisedTrainer, where DiceFocalLoss would stand.

MONAI's label maps carry a channel axis, (N, 1, *S); segfocal takes (N, *S), so one line takes it off.
Command: python experiments/recipes/monai_trainer.py
"""

import torch
from monai.engines import SupervisedTrainer
from monai.handlers import from_engine
from monai.networks.nets import UNet

from segfocal.losses import FocalDiceLoss, SegmentationLoss


class LabelsWithChannel(torch.nn.Module):
    """Pass MONAI's (N, 1, *S) labels on as the label map (N, *S) that they are."""

    def __init__(self, loss: SegmentationLoss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of logits (N, C, *S) against labels (N, 1, *S)."""
        return self.loss(logits, labels[:, 0])


def batches(count: int) -> list[dict[str, torch.Tensor]]:
    """Make volumes (2, 1, 16, 16, 16) whose three classes differ in brightness, the third being rare."""
    made = []
    for _ in range(count):
        labels = torch.zeros(2, 1, 16, 16, 16, dtype=torch.uint8)
        labels[:, :, 4:12, 4:12] = 1
        labels[:, :, 6:9, 6:9, 6:9] = 2
        made.append({"image": labels + 0.3 * torch.randn(labels.shape), "label": labels})
    return made


def train(epochs: int = 4) -> list[float]:
    """Train MONAI's UNet with MONAI's engine; return the loss of every step."""
    torch.manual_seed(0)
    network = UNet(spatial_dims=3, in_channels=1, out_channels=3, channels=(8, 16), strides=(2,))
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=batches(8),
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), lr=1e-2),
        # the softmax is shared by both halves; the mean is over voxels, so gamma = 0 is cross-entropy + Dice
        loss_function=LabelsWithChannel(FocalDiceLoss("multiclass", gamma=2.0, include_background=False)),
    )
    history: list[float] = []
    record = from_engine("loss", first=True)
    trainer.add_event_handler(
        "ITERATION_COMPLETED", lambda engine: history.append(record(engine.state.output))
    )
    trainer.run()
    return history


if __name__ == "__main__":
    history = train()
    print(f"loss {history[0]:.3f} -> {history[-1]:.3f}")
