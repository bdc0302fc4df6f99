"""A loss that is no number stops the training and says why."""

import pytest
import torch

from segfocal.errors import SegfocalError
from segfocal.training.guard import LossGuard, describe_names, find_cause

BATCH = {
    "image": torch.zeros(2, 1, 4, 4),
    "mask": torch.zeros(2, 4, 4, dtype=torch.uint8),
    "name": ["first", "second"],
}


def batch(**changes):
    return {**BATCH, **changes}


def cause(given):
    return find_cause(given, num_classes=3, ignore_index=255)


def test_finite_losses_pass():
    guard = LossGuard()
    guard.watch(torch.tensor(1.0), where="here", batch=BATCH, num_classes=3, ignore_index=None)
    guard.check()


def test_nan_names_batch_and_files():
    with pytest.raises(SegfocalError, match=r"became nan at epoch 2, batch 7 \(files 'first', 'second'\)"):
        LossGuard().watch(
            torch.tensor(float("nan")),
            where="epoch 2, batch 7",
            batch=BATCH,
            num_classes=3,
            ignore_index=None,
        )


def test_broken_image_is_named():
    image = torch.zeros(2, 1, 4, 4)
    image[1, 0, 0, 0] = float("nan")
    assert "image of 'second' holds NaN" in cause(batch(image=image))


def test_wrong_labels_are_listed_with_counts():
    mask = torch.zeros(2, 4, 4, dtype=torch.uint8)
    mask[0, 0] = torch.tensor([7, 7, 255, 9])
    assert "'first' holds labels outside 0..2: 7 (2 pixels), 9 (1 pixels)" in cause(batch(mask=mask))


def test_sound_batch_points_to_the_optimisation():
    assert "model.learning_rate" in cause(BATCH)


def test_pending_losses_name_the_first_bad_step():
    guard = LossGuard()
    guard._pending = [(f"step {k}", torch.tensor(value)) for k, value in enumerate((1.0, float("inf"), 2.0))]
    with pytest.raises(SegfocalError, match="became inf at step 1"):
        guard.check()
    guard.check()  # told once


def test_many_names_are_shortened():
    assert describe_names([str(k) for k in range(10)]).endswith("and 2 more")
