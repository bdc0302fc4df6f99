"""Overrides over configurations, and the one text and hash that each content has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from segfocal.errors import SegfocalError

Config = dict[str, Any]


def nested(overrides: Mapping[str, Any], *, where: str) -> Config:
    """Return overrides with their dotted keys as mappings in mappings.

    Only the outermost keys are split: further in, a dot may belong to a name (a module path).

    Args:
        overrides: For example ``{"model.learning_rate": 0.01, "trainer": {"max_steps": 9}}``.
        where: For messages.

    Raises:
        SegfocalError: Where one key says a value and another goes into it.

    Example:
        >>> nested({"model.loss.init_args.gamma": 1, "model": {"task": "binary"}}, where="arm 'a'")
        {'model': {'loss': {'init_args': {'gamma': 1}}, 'task': 'binary'}}
    """
    result: Config = {}
    for key, value in overrides.items():
        if not isinstance(key, str) or not all(key.split(".")):
            raise SegfocalError(f"{where}: a key must be words joined by dots, got {key!r}.")
        wrapped: Any = value
        for part in reversed(key.split(".")):
            wrapped = {part: wrapped}
        _join(result, wrapped, where=where, key=key)
    return result


def merged(base: Any, override: Any) -> Any:
    """Return ``base`` with ``override`` over it; neither is changed.

    Mappings are merged key by key, unless the override names another ``class_path``: then it stands alone,
    since arguments of one class mean nothing to another. Lists and values are replaced.

    Args:
        base: Any YAML value.
        override: Any YAML value.

    Example:
        >>> merged({"class_path": "a.A", "init_args": {"x": 1}}, {"class_path": "a.B"})
        {'class_path': 'a.B'}
        >>> merged({"class_path": "a.A", "init_args": {"x": 1}}, {"init_args": {"y": 2}})
        {'class_path': 'a.A', 'init_args': {'x': 1, 'y': 2}}
    """
    if not isinstance(base, dict) or not isinstance(override, dict):
        return override
    if "class_path" in override and override["class_path"] != base.get("class_path"):
        return override
    result = dict(base)
    for key, value in override.items():
        result[key] = merged(base[key], value) if key in base else value
    return result


def digest(value: Any) -> str:
    """Return the hash of a content: 16 hexadecimal digits, the same for every order of keys.

    Args:
        value: Mappings, lists, strings, numbers, None.

    Example:
        >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
        True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _join(result: Config, addition: Config, *, where: str, key: str) -> None:
    for part, value in addition.items():
        known = result.get(part)
        if part not in result:
            result[part] = _copied(value)
        elif isinstance(known, dict) and isinstance(value, dict):
            _join(known, value, where=where, key=key)
        else:
            raise SegfocalError(f"{where}: {key} is given twice, as {known!r} and as {value!r}. Keep one.")


def _copied(value: Any) -> Any:
    """Mappings are joined in place, and those of a YAML anchor are shared."""
    return {key: _copied(item) for key, item in value.items()} if isinstance(value, dict) else value
