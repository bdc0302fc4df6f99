"""Which classes the configuration of somebody else's run may name: those published by known packages.

A run that this user trained on this machine is known by the content of its configuration
(`segfocal.runs.own`), and may name any.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jsonargparse import set_parsing_settings
from jsonargparse._common import parsing_settings

from segfocal.data.transforms import transform_names
from segfocal.errors import SegfocalError
from segfocal.runs.own import is_own
from segfocal.yaml_text import read_mapping

_NETWORKS = ("torch.nn.modules.module.Module",)
_DATA_SETS = ("VOCSegmentation", "SBDataset", "Cityscapes", "OxfordIIITPet")
_COMPAT = tuple(
    f"segfocal.losses.compat.{name}" for name in ("kornia", "mmseg", "monai", "smp", "torchvision")
)
# package -> (modules whose public classes count, the bases of which one must be theirs)
_PUBLIC: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "segfocal": (
        ("segfocal.losses", *_COMPAT, "segfocal.models", "segfocal.data", "segfocal.training.penalties"),
        ("builtins.object",),
    ),
    "segmentation_models_pytorch": (
        ("segmentation_models_pytorch", "segmentation_models_pytorch.losses"),
        _NETWORKS,
    ),
    "monai": (
        ("monai.networks.nets", "monai.networks.blocks", "monai.networks.layers", "monai.losses"),
        _NETWORKS,
    ),
    "timm": (("timm.models", "timm.layers"), _NETWORKS),
    "torch": (
        ("torch.nn", "torch.optim", "torch.optim.lr_scheduler"),
        (*_NETWORKS, "torch.optim.Optimizer", "torch.optim.lr_scheduler.LRScheduler"),
    ),
    "torchvision": (("torchvision.models.segmentation", "torchvision.datasets"), _NETWORKS),
    "pytorch_lightning": (
        ("pytorch_lightning.callbacks", "pytorch_lightning.loggers"),
        ("pytorch_lightning.Callback", "pytorch_lightning.loggers.Logger"),
    ),
}
_TRANSFORMS = ("albumentations.", "monai.transforms.")  # of which only names are taken, in their own packages
# fetches code from the network to run it; takes any function
_NEVER = {"monai.losses.PerceptualLoss", "pytorch_lightning.callbacks.LambdaCallback"}
# what names a place in the network, or a file of settings that would be read in its place
_ELSEWHERE = ("://", "hf-hub:", "hf_hub:", "local-dir:")
_PARSED = ("model", "trainer", "checkpoint", "finetune")  # sections that hold no paths of data
_FILES = (".yaml", ".yml", ".json", ".jsonnet", ".toml")


def check_run(config: Path, *, trust: bool, section: str | None = None) -> bool:
    """Raise where a run's configuration names what only a trusted one may name.

    Args:
        config: The run's config.yaml.
        trust: Whether the user said ``--trust``.
        section: The only one that is built from; None: all are.

    Returns:
        Whether its objects must be built inside `published_only`: neither the user nor this machine vouches
        for it.

    Raises:
        SegfocalError: Naming the key, the class and the flag.
    """
    if trust or is_own(config):
        return False
    content = read_mapping(config, what="the run's configuration")
    try:
        check_settings(content if section is None else {section: content.get(section)}, folder=config.parent)
    except SegfocalError as error:
        raise SegfocalError(
            f"{config} was not written by a training of yours on this machine: {error}"
        ) from None
    return True


def check_settings(settings: Mapping[str, Any], *, folder: Path | None = None) -> None:
    """Raise where settings name a class that is not public in a known package, or reach into the network.

    Args:
        settings: Plain values, as read from YAML.
        folder: Of the file, from which the parser looks for files too.

    Raises:
        SegfocalError: Naming the key, what it names, and ``--trust``.

    Example:
        >>> check_settings({"network": {"class_path": "torch.nn.Conv2d", "init_args": {"in_channels": 3}}})
    """
    for key in ("network", "loss"):
        model = settings.get("model")
        if isinstance(model, Mapping) and isinstance(model.get(key), str):
            raise _untrusted(f"model.{key}", str(model[key]), "is no class_path with init_args")
    if isinstance(settings.get("data"), str):
        raise _untrusted("data", str(settings["data"]), "is no class_path with init_args")
    for key in settings:
        if str(key).startswith("__") or key == "config":
            raise _untrusted(str(key), str(settings[key]), "would be read as further settings")
    _walk(settings, "", transforms=False)
    for key, text in _texts({name: settings.get(name) for name in _PARSED}, ""):
        if _is_file(text, folder):
            raise _untrusted(key, text, "is a file, which would be read in its place")


def class_paths(settings: Any) -> set[str]:
    """Return every class path that settings name, at any depth."""
    if isinstance(settings, Mapping):
        own = {str(settings["class_path"])} if isinstance(settings.get("class_path"), str) else set()
        return own.union(*(class_paths(part) for part in settings.values()))
    if isinstance(settings, (list, tuple, set, frozenset)):
        return set[str]().union(*(class_paths(part) for part in settings))
    return set()


def is_published(class_path: str) -> bool:
    """Return whether a class path names a public class of a known package, by its published or full name.

    Example:
        >>> is_published("torch.nn.Conv2d"), is_published("torch.nn.modules.module.os.system")
        (True, False)
    """
    package = class_path.partition(".")[0]
    return package in _PUBLIC and class_path in _published(package)


@contextmanager
def published_only(restricted: bool, *, also: Collection[str] = ()) -> Iterator[None]:
    """Let the parser import public classes of known packages alone, and pickles hold tensors alone.

    Args:
        restricted: As `check_run` returned it; False: nothing is restricted.
        also: Class paths that may be named besides.
    """
    if not restricted:
        yield
        return
    kept, forced = dict(parsing_settings), os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD")
    # what was not imported is not named by a class path: nothing of it is needed
    loaded = [package for package in _PUBLIC if package in sys.modules]
    allowed = sorted({path for package in loaded for path in _published(package)} | _dotted(also))
    try:
        set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=allowed)
        os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
        yield
    finally:
        parsing_settings.clear()
        parsing_settings.update(kept)
        if forced is None:
            del os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"]
        else:
            os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = forced


@functools.cache
def _published(package: str) -> frozenset[str]:
    """Return every name of a package's public classes: as published, as defined, and in between."""
    modules, bases = _PUBLIC[package]
    kinds = tuple(_named(base) for base in bases)
    found: set[str] = set()
    for name in modules:
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", None) or dir(module):
            if not public.startswith("_") and _counts(name, public, kinds):
                found |= {f"{name}.{public}"} | _names(getattr(module, public))
    return frozenset(path for path in found if path.rpartition(".")[2] not in _last(_NEVER))


def _names(kind: Any) -> set[str]:
    """Return the modules from which a class can be imported, from its own up to its package."""
    parts = kind.__module__.split(".")
    modules = (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))
    name = kind.__qualname__
    return {f"{each}.{name}" for each in modules if vars(sys.modules[each]).get(name) is kind}


def _counts(module: str, name: str, kinds: tuple[Any, ...]) -> bool:
    value = getattr(importlib.import_module(module), name)
    own = str(getattr(value, "__module__", "")).partition(".")[0] == module.partition(".")[0]
    if module == "torchvision.datasets":
        return name in _DATA_SETS
    if module == "torchvision.models.segmentation" and inspect.isfunction(value):
        return own
    return inspect.isclass(value) and own and issubclass(value, kinds)


def _dotted(paths: Collection[str]) -> set[str]:
    whole = (path for path in paths if "." in path and all(part.isidentifier() for part in path.split(".")))
    return {path for path in whole if not path.startswith("jsonargparse")}


def _last(paths: set[str]) -> set[str]:
    return {path.rpartition(".")[2] for path in paths}


def _named(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _walk(value: Any, key: str, *, transforms: bool) -> None:
    if isinstance(value, Mapping):
        if "class_path" in value:
            _check_class(value["class_path"], key, transforms=transforms)
        for name, part in value.items():
            _walk(part, f"{key}.{name}" if key else str(name), transforms=transforms or name == "augment")
    elif isinstance(value, (list, tuple, set, frozenset)):
        for number, part in enumerate(value):
            _walk(part, f"{key}.{number}", transforms=transforms)
    elif isinstance(value, str):
        _check_text(value, key)


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield every word among settings with its key."""
    if isinstance(value, str):
        yield key, value
    listed = dict(enumerate(value)) if isinstance(value, (list, tuple)) else {}
    for name, part in (value if isinstance(value, Mapping) else listed).items():
        yield from _texts(part, f"{key}.{name}" if key else str(name))


def _is_file(text: str, folder: Path | None) -> bool:
    places = [Path(text)] if folder is None else [Path(text), folder / text]
    try:
        return any(place.is_file() for place in places)
    except (OSError, ValueError):  # too long for a name, or a zero in it
        return False


def _check_class(path: Any, key: str, *, transforms: bool) -> None:
    if not isinstance(path, str):
        raise _untrusted(key, repr(path), "is no class path")
    if transforms and (path.startswith(_TRANSFORMS) or "." not in path):
        name = path.rpartition(".")[2]
        if name in transform_names() or (name.startswith("Rand") and name.endswith("d")):  # of volumes
            return
    elif is_published(path):
        return
    raise _untrusted(key, path, "is no public class of a known package")


def _check_text(text: str, key: str) -> None:
    if any(sign in text.casefold() for sign in _ELSEWHERE):
        raise _untrusted(key, text, "reaches into the network, or names a model by a folder")
    last = key.rpartition(".")[2]
    if text.endswith(_FILES) and key.startswith(_PARSED):
        raise _untrusted(key, text, "names a file that would be read in its place")
    if last == "download":
        raise _untrusted(key, text, "may download")


def _untrusted(key: str, value: str, why: str) -> SegfocalError:
    return SegfocalError(
        f"{key or 'it'} names {value[:200]!r}, which {why}. Such a configuration is code: read it, and say "
        "--trust (from Python trust=True) if you trust whoever wrote it."
    )
