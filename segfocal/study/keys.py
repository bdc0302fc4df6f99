"""Keys of a configuration compared with what the classes take, before any of them is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segfocal.errors import SegfocalError, nearest
from segfocal.study.signatures import Found, Parameter, annotated_classes, find_class, names_in, signature

SECTIONS = {
    "model": "segfocal.training.task.SegmentationTask",
    "trainer": "pytorch_lightning.trainer.trainer.Trainer",
    "checkpoint": "segfocal.training.checkpoints.RunCheckpoints",
    "finetune": "segfocal.training.phases.settings.Finetune",
}
FREE = ("seed_everything", "data")
# where a class without its module is looked for, as the command line does
ROOMS = {"model.network": "segfocal.models", "model.loss": "segfocal.losses", "data": "segfocal.data"}
_CLASS_KEYS = ("class_path", "init_args", "dict_kwargs")


def check_config(config: Mapping[str, Any], *, where: str) -> None:
    """Raise for a key that no class takes; values are left to the real parser.

    Args:
        config: A whole configuration.
        where: Whose it is, for messages.

    Raises:
        SegfocalError: Naming the key, the class and the nearest argument.
    """
    known = [*FREE, *SECTIONS]
    for key, value in config.items():
        if key not in known:
            raise SegfocalError(
                f"{where}: a configuration has no key {key!r}.{nearest(key, known)} It takes "
                f"{', '.join(known)}."
            )
        if key in SECTIONS:
            found = find_class(SECTIONS[key])
            if found is not None and isinstance(value, Mapping):
                _check_arguments(value, found, where=where, key=key)
        elif key == "data":
            _check_value(value, Parameter(""), where=where, key=key)


def with_modules(value: Any, *, key: str = "") -> Any:
    """Return a configuration in which classes of segfocal named without their module have it.

    Args:
        value: The configuration, or a part of it.
        key: Of that part.

    Example:
        >>> with_modules({"model": {"loss": {"class_path": "FocalLoss"}}})
        {'model': {'loss': {'class_path': 'segfocal.losses.FocalLoss'}}}
    """
    if isinstance(value, list):
        return [with_modules(item, key=key) for item in value]
    if not isinstance(value, Mapping):
        return value
    found = {name: with_modules(part, key=f"{key}.{name}".strip(".")) for name, part in value.items()}
    room = next((room for part, room in ROOMS.items() if f"{key}.".startswith(f"{part}.")), None)
    if room is not None and found.get("class_path") in names_in(room):
        found["class_path"] = f"{room}.{found['class_path']}"
    return found


def _check_arguments(arguments: Mapping[str, Any], found: Found, *, where: str, key: str) -> None:
    takes = signature(found)
    for name, value in arguments.items():
        parameter = takes.parameters.get(name)
        if parameter is not None:
            _check_value(value, parameter, where=where, key=f"{key}.{name}")
        elif not takes.is_open:
            known = list(takes.parameters)
            raise SegfocalError(
                f"{where}: {found.path} ({key}) has no argument {name!r}.{nearest(str(name), known)} "
                f"It takes {', '.join(known)}."
            )


def _check_value(value: Any, parameter: Parameter, *, where: str, key: str) -> None:
    if isinstance(value, list):
        for item in value:
            _check_value(item, parameter, where=where, key=key)
    if not isinstance(value, Mapping):
        return
    if "class_path" in value or "init_args" in value:
        _check_class(value, where=where, key=key)
        return
    classes = [item for item in annotated_classes(parameter) if item.module.startswith("segfocal.")]
    if len(classes) == 1:
        _check_arguments(value, classes[0], where=where, key=key)


def _check_class(value: Mapping[str, Any], *, where: str, key: str) -> None:
    for name in value:
        if name not in _CLASS_KEYS:
            raise SegfocalError(
                f"{where}: {key} has no key {name!r} beside class_path. Write {key}.init_args.{name}, if it "
                "is an argument of that class."
            )
    class_path = value.get("class_path")
    if class_path is None:
        raise SegfocalError(f"{where}: {key} has init_args and no class_path. Add it.")
    found = find_class(str(class_path))
    if found is None:
        _check_own(str(class_path), where=where, key=key)
    elif isinstance(value.get("init_args"), Mapping):
        _check_arguments(value["init_args"], found, where=where, key=f"{key}.init_args")


def _check_own(class_path: str, *, where: str, key: str) -> None:
    """A class of segfocal has a source; one from elsewhere may be made without."""
    module = class_path.rpartition(".")[0]
    if module.split(".")[0] == "segfocal":
        known = [f"{module}.{other}" for other in names_in(module)]
        raise SegfocalError(f"{where}: {key}: there is no class {class_path!r}.{nearest(class_path, known)}")
