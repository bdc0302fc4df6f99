"""Configurations of trials: keys into a complete configuration, its folds, and overlays of what changed."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from segfocal.errors import SegfocalError, check_range
from segfocal.yaml_text import read_yaml

Config = dict[str, Any]
_FOLDERS = {"train": "train", "test": "test"}  # what FolderData takes where split is null


def all_keys(config: Any, prefix: str = "") -> Iterator[str]:
    """Yield every dotted key of a configuration, those of mappings and lists as well.

    Args:
        config: Mappings, lists and values; the places of a list are numbers.
        prefix: Of the keys.

    Example:
        >>> list(all_keys({"a": {"b": [5]}}))
        ['a', 'a.b', 'a.b.0']
    """
    items = config.items() if isinstance(config, Mapping) else enumerate(config)
    for key, value in items:
        yield f"{prefix}{key}"
        if isinstance(value, Mapping | list):
            yield from all_keys(value, f"{prefix}{key}.")


def look_up(config: Config, key: str) -> Any:
    """Return the value of a dotted key; None where there is none.

    Example:
        >>> look_up({"a": [{"b": 1}]}, "a.0.b")
        1
    """
    value: Any = config
    for part in key.split("."):
        if isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, Mapping) and part in value:
            value = value[part]
        else:
            return None
    return value


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """Return a copy of a configuration with other values at some dotted keys.

    Args:
        config: It stays as it is.
        values: Dotted key to value; outer keys are set before those inside them.

    Raises:
        SegfocalError: For a key whose place does not exist.
    """
    result = copy.deepcopy(config)
    for key, value in sorted(values.items(), key=lambda item: item[0].count(".")):
        outer, _, last = key.rpartition(".")
        place = look_up(result, outer) if outer else result
        if isinstance(place, list) and last.isdigit() and int(last) < len(place):
            place[int(last)] = copy.deepcopy(value)
        elif isinstance(place, dict):
            place[last] = copy.deepcopy(value)
        else:
            raise SegfocalError(f"the configuration has no {outer} that {key} could be set in.")
    return result


def overlay(config: Config, values: Mapping[str, Any]) -> Config:
    """Return the smallest configuration that, merged over ``config``, sets the values.

    Lists are replaced when configurations are merged, so that they come whole; and an argument of a class
    comes with the class's path, which says whose argument it is.

    Args:
        config: Complete.
        values: Dotted key to value.

    Example:
        >>> overlay({"model": {"loss": {"class_path": "a.B", "init_args": {"c": 1, "d": 2}}}},
        ...         {"model.loss.init_args.c": 3})
        {'model': {'loss': {'class_path': 'a.B', 'init_args': {'c': 3}}}}
    """
    changed = with_values(config, values)
    result: Config = {}
    for key in values:
        source, place, parts = changed, result, key.split(".")
        for depth, part in enumerate(parts):
            if "class_path" in source and part != "class_path":
                place.setdefault("class_path", source["class_path"])
            whole = depth == len(parts) - 1 or not isinstance(source[part], dict)
            if whole:
                place[part] = source[part]
                break
            source, place = source[part], place.setdefault(part, {})
    return result


def in_fold(config: Config, *, folds: int, fold: int) -> Config:
    """Return a configuration whose validation images are one fold of its training images.

    Args:
        config: Complete.
        folds: How many.
        fold: Which, from 0.

    Raises:
        SegfocalError: Where the data have no split that could be divided so.
    """
    check_range("--folds", folds, low=2)
    arguments = look_up(config, "data.init_args")
    if not isinstance(arguments, dict) or "split" not in arguments:
        name = look_up(config, "data.class_path")
        raise SegfocalError(
            f"tune divides the training images into folds, which {name} cannot: it has no split. Use "
            "segfocal.data.FolderData; `segfocal generate` writes generated data as folders."
        )
    split = dict(arguments["split"] or _FOLDERS)
    split |= {"val": None, "val_share": 0.0, "val_folds": folds, "val_fold": fold}
    return with_values(config, {"data.init_args.split": split})


def take_section(files: Sequence[str], *, name: str, into: Path) -> tuple[Config | None, list[str]]:
    """Take a section out of configuration files.

    Args:
        files: Paths of YAML files, which stay as they are.
        name: Of the section; where several files have it, the last one's counts.
        into: Folder for the files without the section.

    Returns:
        The section, None where no file has it, and the paths of files without it.
    """
    section, paths = None, []
    for number, file in enumerate(files):
        content = read_yaml(Path(file), what="--config")
        if not isinstance(content, dict) or name not in content:
            paths.append(file)
            continue
        section = content.pop(name)
        if content:
            path = into / f"{number}_{Path(file).name}"
            path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
            paths.append(str(path))
    return section, paths
