"""What MONAI's losses of regions have in common, and the targets that MONAI takes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from segfocal.errors import SegfocalError
from segfocal.losses.compat.adapter import Call, PeerLoss, choice, evaluate, not_carried
from segfocal.losses.compat.inputs import check_shape, logits_of, without_channel
from segfocal.losses.compat.regions import with_axes
from segfocal.losses.needs import Needs
from segfocal.losses.overlap import Overlap, overlap
from segfocal.losses.primitive.sums import PixelSums

Weight = Sequence[float] | float | Tensor | None


class RegionLoss(PeerLoss):
    """What the three have in common; ``given`` holds the constructor's arguments.

    With neither ``sigmoid`` nor ``softmax`` the input is taken as probabilities, which costs one tensor of
    their size. An ignored pixel leaves all sums, whatever its logits hold.

    Raises:
        SegfocalError: For ``other_act`` and ``soft_label``; when called, for one channel with ``softmax``,
            ``to_onehot_y`` or ``include_background=False``, and for masks with ``ignore_index``.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__(given)
        if given["sigmoid"] and given["softmax"]:
            raise SegfocalError("sigmoid and softmax exclude one another, got both True. Keep one.")
        if given["other_act"] is not None:
            remedy = "hand in other_act(input), if it gives probabilities, with sigmoid and softmax False."
            raise not_carried("other_act", given["other_act"], remedy)
        if given.get("soft_label"):
            raise not_carried(
                "soft_label", True, "the intersection by an L1 norm needs more than sums. Harden the target."
            )
        self.include_background = bool(given["include_background"])
        self.to_onehot_y = bool(given["to_onehot_y"])
        self.sigmoid, self.softmax = bool(given["sigmoid"]), bool(given["softmax"])
        self.squared = bool(given.get("squared_pred"))
        self.reduction = choice("reduction", given["reduction"], ("mean", "sum", "none"))
        self.smooth_nr, self.smooth_dr = float(given["smooth_nr"]), float(given["smooth_dr"])
        self.batch = bool(given["batch"])
        self.ignore_index: int | None = given.get("ignore_index")

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss.

        Args:
            input: Logits ``(N, C, *S)``; probabilities where neither sigmoid nor softmax is set.
            target: Masks ``(N, C, *S)``, or labels ``(N, 1, *S)`` with ``to_onehot_y``.

        Returns:
            A scalar; with reduction "none" one number per image (not with ``batch``) and class.

        Raises:
            SegfocalError: For shapes and values that do not fit.
        """
        return evaluate([self], self.call(input, target))[0]

    def call(self, input: Tensor, target: Tensor) -> Call:
        """Return the arguments of the pass."""
        masks = monai_target(input, target, to_onehot_y=self.to_onehot_y, ignore_index=self.ignore_index)
        self.check_channels(input.shape[1])
        if self.sigmoid or self.softmax:
            return Call(input, masks, self.ignore_index)
        remedy = "For logits set sigmoid=True or softmax=True."
        skipped = 0 if self.include_background else 1
        return Call(logits_of("input", input, remedy, skipped=skipped), masks, self.ignore_index)

    def check_channels(self, channels: int) -> None:
        """Raise for what one channel cannot have."""
        if channels == 1 and self.softmax:
            raise not_carried("softmax", True, "the softmax of one channel is constant. Use sigmoid=True.")
        if channels == 1 and not self.include_background:
            raise not_carried("include_background", False, "one channel has no background. Leave it True.")

    def needs(self, call: Call) -> Needs:
        """Return the region sums."""
        square = {"intersection", "prediction_squared", "target_squared"}
        want = frozenset(square if self.squared else {"intersection", "prediction", "target"})
        return Needs("softmax" if self.softmax else "sigmoid", want, None, call.ignore_index)

    def from_sums(self, sums: PixelSums, call: Call) -> Tensor:
        """Return the term of every region, reduced."""
        region = overlap(
            sums,
            per_image=not self.batch,
            squared=self.squared,
            include_background=self.include_background,
        )
        values = self.term(region)
        if self.reduction == "none":
            values = values.squeeze(0) if self.batch else values
            return self.shaped(values, call.logits.ndim - 2)
        return values.mean() if self.reduction == "mean" else values.sum()

    @abstractmethod
    def term(self, region: Overlap) -> Tensor:
        """Return the weighted loss of every region, ``(R, C)`` or ``(R, 1)``."""

    def shaped(self, values: Tensor, axes: int) -> Tensor:
        """Give unreduced values the peer's shape."""
        return with_axes(values, axes)


def monai_target(input: Tensor, target: Tensor, *, to_onehot_y: bool, ignore_index: int | None) -> Tensor:
    """Return MONAI's target as that of the pass.

    Args:
        input: ``(N, C, *S)``.
        target: Masks of the same shape, or labels ``(N, 1, *S)`` with ``to_onehot_y``.
        to_onehot_y: Whether the target is labels.
        ignore_index: A label left out.

    Returns:
        Label map ``(N, *S)`` or masks.

    Raises:
        SegfocalError: For a shape that does not fit, ``to_onehot_y`` with one channel, and an ignored label
            in masks, which cannot hold one.
    """
    if to_onehot_y and input.shape[1] == 1:
        raise not_carried("to_onehot_y", True, "one channel takes a mask as it is. Leave it False.")
    if to_onehot_y:
        return without_channel("target", target, input)
    remedy = " For labels of shape (N, 1, *S) set to_onehot_y=True."
    check_shape("target", target, tuple(input.shape), input, remedy)
    if ignore_index is not None and input.shape[1] > 1:
        raise not_carried(
            "ignore_index", ignore_index, "masks hold no such label. Give labels with to_onehot_y=True."
        )
    return target
