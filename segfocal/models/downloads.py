"""Keep network sections of a config from downloading what nobody asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SMP = "segmentation_models_pytorch."
# arguments that make smp, torchvision, timm and MONAI networks fetch weights, and the value that stops them
_SWITCHES = {
    "encoder_weights": None,
    "weights": None,
    "weights_backbone": None,
    "pretrained": False,
    "pretrained_backbone": False,
}


def without_hidden_downloads(section: Mapping[str, Any]) -> dict[str, Any]:
    """Give smp networks ``encoder_weights: null`` where the config does not mention it (smp downloads then).

    Args:
        section: ``class_path`` and ``init_args`` of a network, as in YAML.

    Returns:
        A copy; what the config does say is kept.

    Example:
        >>> without_hidden_downloads({"class_path": "segmentation_models_pytorch.Unet"})["init_args"]
        {'encoder_weights': None}
    """
    changed = dict(section)
    if str(section.get("class_path", "")).startswith(_SMP):
        changed["init_args"] = {"encoder_weights": None, **(section.get("init_args") or {})}
    return _inside(changed, without_hidden_downloads)


def without_downloads(section: Mapping[str, Any]) -> dict[str, Any]:
    """Switch off every pretrained weight of a network whose weights come from a checkpoint anyway.

    Args:
        section: ``class_path`` and ``init_args`` of a network, as in YAML.

    Returns:
        A copy that builds the same network with random weights.

    Example:
        >>> arguments = {"encoder_weights": "imagenet"}
        >>> section = {"class_path": "segfocal.models.SmpNetwork", "init_args": arguments}
        >>> without_downloads(section)["init_args"]
        {'encoder_weights': None}
    """
    changed = without_hidden_downloads(section)
    arguments = changed.get("init_args") or {}
    off = {
        name: _SWITCHES[name] for name, value in arguments.items() if name in _SWITCHES and _fetches(value)
    }
    if off:
        changed["init_args"] = {**arguments, **off}
    return _inside(changed, without_downloads)


def _fetches(value: Any) -> bool:
    return value is True or isinstance(value, str)


def _inside(section: dict[str, Any], change: Any) -> dict[str, Any]:
    # a wrapper such as TakeOutput holds another network among its arguments
    arguments = section.get("init_args")
    if isinstance(arguments, Mapping):
        section["init_args"] = {
            name: change(value) if isinstance(value, Mapping) and "class_path" in value else value
            for name, value in arguments.items()
        }
    return section
