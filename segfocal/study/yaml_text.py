"""YAML as the command line reads it: numbers like 1e-3 are numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from segfocal.errors import SegfocalError


class _Loader(yaml.SafeLoader):
    """PyYAML follows YAML 1.1, where 1e-3 is a word and a repeated key silently wins."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Refuse a key that stands twice, before ``<<`` is unfolded: what it brings may be overridden."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    problem = f"the key {key.value!r} stands twice in one mapping"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                seen.add(key.value)
        return node


_FLOAT = re.compile(
    r"^[-+]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][-+]?\d+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.nan$"
)
_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:float"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def read_mapping(path: Path, *, what: str) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Args:
        path: The file.
        what: What it is, for messages.

    Raises:
        SegfocalError: If it cannot be read, is no YAML, or holds something else.
    """
    try:
        return parse_mapping(path.read_text("utf-8-sig"), what=f"{what} {path}")
    except (OSError, UnicodeDecodeError) as error:
        raise SegfocalError(f"{what} {path} cannot be read: {error}.") from error


def parse_mapping(text: str, *, what: str) -> dict[str, Any]:
    """Return the mapping that a YAML text holds.

    Args:
        text: The text.
        what: What it is, for messages.

    Raises:
        SegfocalError: If it is no YAML, or holds something else.

    Example:
        >>> parse_mapping("rate: 1e-3", what="text")
        {'rate': 0.001}
    """
    try:
        content = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise SegfocalError(f"{what} is no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"a {type(content).__name__}"
        raise SegfocalError(f"{what} must be a mapping, got {found}.")
    return content


def to_yaml(content: dict[str, Any]) -> str:
    """Return a mapping as YAML.

    Args:
        content: Mappings, lists, strings, numbers, None.
    """
    return str(yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True))


class _Dumper(yaml.SafeDumper):
    """Anchors and aliases are for people; configurations are read by parsers of several kinds."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
