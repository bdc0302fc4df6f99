"""Pretrained weights: none that nobody asked for, and an answer at once where there is no network."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from segfocal.errors import SegfocalError

_WAIT_S = 3.0

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


def asked_weights(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a network section, and of networks inside it, that fetch pretrained weights.

    Args:
        section: ``class_path`` and ``init_args`` of a network, as in YAML.

    Returns:
        Name to value, empty where nothing is fetched.

    Example:
        >>> asked_weights({"class_path": "smp.Unet", "init_args": {"encoder_weights": "imagenet"}})
        {'encoder_weights': 'imagenet'}
    """
    arguments = section.get("init_args") or {}
    found = {name: value for name, value in arguments.items() if name in _SWITCHES and _fetches(value)}
    inner = (value for value in arguments.values() if isinstance(value, Mapping) and "class_path" in value)
    for network in inner:
        found |= asked_weights(network)
    return found


@contextmanager
def fetching(asked: Mapping[str, Any]) -> Iterator[None]:
    """Build networks inside: weights come from the cache at once where the network cannot be reached.

    The hub's own client would ask for half a minute before it looks into its cache.

    Args:
        asked: As `asked_weights` returns it; empty: nothing is tried.

    Raises:
        SegfocalError: Where the weights are neither in the cache nor within reach, with the way out.
    """
    if not asked:
        yield
        return
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not reachable(constants.ENDPOINT)
    try:
        yield
    except Exception as error:  # parsers wrap what a constructor raises
        cause = _first_os_error(error)
        if cause is None:
            raise
        raise _not_fetched(asked, cause) from error
    finally:
        constants.HF_HUB_OFFLINE = before


def reachable(url: str, *, wait_s: float = _WAIT_S) -> bool:
    """Return whether a server, or the proxy on the way to it, takes a connection.

    Args:
        url: Of the server.
        wait_s: Seconds after which it counts as out of reach; resolving its name has no limit of its own.
    """
    scheme = urlsplit(url).scheme
    place = urlsplit(getproxies().get(scheme) or url)
    address = (place.hostname or "", place.port or (443 if place.scheme == "https" else 80))
    answers: list[bool] = []
    knock = threading.Thread(target=_connect, args=(address, wait_s, answers), daemon=True)
    knock.start()
    knock.join(wait_s)
    return bool(answers)


def _connect(address: tuple[str, int], wait_s: float, answers: list[bool]) -> None:
    try:
        socket.create_connection(address, timeout=wait_s).close()
    except OSError:
        return
    answers.append(True)


def _first_os_error(error: BaseException | None) -> OSError | None:
    while error is not None and not isinstance(error, OSError | SegfocalError):
        error = error.__cause__ or error.__context__
    return error if isinstance(error, OSError) else None


def _not_fetched(asked: Mapping[str, Any], error: OSError) -> SegfocalError:
    listed = ", ".join(f"{name}: {value}" for name, value in asked.items())
    off = " and ".join(f"{name} to {'null' if _SWITCHES[name] is None else 'false'}" for name in asked)
    why = str(error).strip().split(". ")[0].rstrip(".") or type(error).__name__
    return SegfocalError(
        f"The network's pretrained weights ({listed}) are not in the local cache and cannot be fetched "
        f"({why}). Offline: set {off} for random weights, or build this network once on a machine with a "
        "network and copy its cache folder (HF_HOME, by default ~/.cache/huggingface; of torchvision "
        "TORCH_HOME, by default ~/.cache/torch) to this one."
    )


def _fetches(value: Any) -> bool:
    return value is True or isinstance(value, str | Enum)  # torchvision's weights are enums once parsed


def _inside(section: dict[str, Any], change: Any) -> dict[str, Any]:
    # a wrapper such as TakeOutput holds another network among its arguments
    arguments = section.get("init_args")
    if isinstance(arguments, Mapping):
        section["init_args"] = {
            name: change(value) if isinstance(value, Mapping) and "class_path" in value else value
            for name, value in arguments.items()
        }
    return section
