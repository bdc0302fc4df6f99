"""Any architecture and encoder of segmentation_models_pytorch, without hidden downloads."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from segfocal.errors import SegfocalError, nearest
from segfocal.models.downloads import fetching


class SmpNetwork(nn.Module):
    """A network of segmentation_models_pytorch with the argument names of this package.

    The encoder starts from random weights unless ``encoder_weights`` is given; that is an explicit wish to
    download them (or to take them from the local cache).

    Args:
        in_channels: Image channels.
        num_classes: Logit channels.
        architecture: ``"unet"``, ``"fpn"``, ``"deeplabv3plus"``, ...: a key of smp's table of architectures.
        encoder: ``"resnet18"``, ``"efficientnet-b0"``, ..., or ``"tu-<name>"`` for any timm encoder.
        encoder_weights: ``None`` for random weights, or a name such as ``"imagenet"``.
        options: Further arguments of the architecture, such as ``{"decoder_channels": [64, 32, 16]}``.

    Raises:
        SegfocalError: For an unknown architecture, encoder, weights name or option, and where the weights
            cannot be fetched.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        architecture: str = "unet",
        encoder: str = "resnet18",
        encoder_weights: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        build = _architecture(architecture)
        _check_encoder(encoder, encoder_weights)
        _check_options(build, encoder, options or {})
        try:
            with fetching({} if encoder_weights is None else {"encoder_weights": encoder_weights}):
                self.network: nn.Module = build(
                    encoder_name=encoder,
                    encoder_weights=encoder_weights,
                    in_channels=in_channels,
                    classes=num_classes,
                    **(options or {}),
                )
        except SegfocalError:
            raise
        except (TypeError, KeyError, ValueError, RuntimeError) as error:
            raise SegfocalError(
                f"segmentation_models_pytorch cannot build {architecture!r} with encoder {encoder!r}, "
                f"encoder_weights {encoder_weights!r} and options {options or {}}: {type(error).__name__}: "
                f"{error}"
            ) from error

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, in_channels, H, W)`` to logits ``(N, num_classes, H, W)``."""
        logits: Tensor = self.network(images)
        return logits


def _architecture(name: str) -> Any:
    import segmentation_models_pytorch as smp  # four seconds: only for those who use it

    known = smp.MODEL_ARCHITECTURES_MAPPING
    if name.lower() not in known:
        listed = ", ".join(sorted(known))
        raise SegfocalError(
            f"architecture must be one of {listed}, got {name!r}.{nearest(name.lower(), known)}"
        )
    return known[name.lower()]


def _check_encoder(name: str, weights: str | None) -> None:
    from segmentation_models_pytorch.encoders import encoders

    if name.startswith("tu-"):
        return
    if name not in encoders:
        close = nearest(name, encoders)
        listed = "" if close else f" Known: {', '.join(sorted(encoders))}."
        raise SegfocalError(
            f"encoder must be one of smp's {len(encoders)} encoders or 'tu-<name>' for a timm encoder, got "
            f"{name!r}.{close}{listed}"
        )
    offered = encoders[name]["pretrained_settings"]
    if weights is not None and weights not in offered:
        raise SegfocalError(
            f"encoder_weights of {name!r} must be null or one of {', '.join(sorted(offered))}, got "
            f"{weights!r}.{nearest(weights, offered)}"
        )


def _check_options(build: Any, encoder: str, options: Mapping[str, Any]) -> None:
    # smp takes any further argument, hands it to timm encoders and drops it for all others
    known = [name for name in inspect.signature(build).parameters if name != "kwargs"]
    for name in options:
        if name not in known and not encoder.startswith("tu-"):
            raise SegfocalError(
                f"{build.__name__} takes the options {', '.join(known)}, got {name!r}.{nearest(name, known)}"
            )
