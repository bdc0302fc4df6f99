"""YAML as the command line reads it: numbers like 1e-3 are numbers, and no key stands twice."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from segfocal.errors import SegfocalError

_DEEPEST = 100  # levels of nesting
_COPIES = 100_000  # values that aliases may add to what is written
_LARGEST_MIB = 16

# ten times faster than the other, and absent where libyaml is
_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_BASE):
    """PyYAML follows YAML 1.1, where 1e-3 is a word and 2024-01-01 a date, and the last of two keys wins."""

    def get_single_node(self) -> Any:
        """Return the whole document, once nothing in it stands twice, contains itself or grows by aliases."""
        node = super().get_single_node()
        if node is not None:
            written: dict[int, int] = {}
            size = self._checked(node, written, depth=0)
            if size - len(written) > _COPIES:
                raise yaml.MarkedYAMLError(problem=f"its aliases add more than {_COPIES} values")
        return node

    def _checked(self, node: Any, sizes: dict[int, int], *, depth: int) -> int:
        """Return how many values a node stands for; 0 while it is looked at."""
        if (known := sizes.get(id(node))) is not None:
            if known == 0:
                raise _at(node, "an alias stands inside of what it names")
            return known
        if depth > _DEEPEST:
            raise _at(node, f"more than {_DEEPEST} levels of nesting")
        sizes[id(node)], size = 0, 1
        if isinstance(node, yaml.MappingNode):
            self._check_keys(node)
            parts = [part for pair in node.value for part in pair]
        else:
            parts = node.value if isinstance(node, yaml.SequenceNode) else []
        for part in parts:
            size = min(size + self._checked(part, sizes, depth=depth + 1), 10**12)
        sizes[id(node)] = size
        return size

    def _check_keys(self, node: yaml.MappingNode) -> None:
        """Refuse a key that stands twice; what ``<<`` brings may be overridden."""
        seen: dict[Any, Any] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            value = self.construct_object(key)
            if value in seen:
                lines = f"lines {seen[value].line + 1} and {key.start_mark.line + 1}"
                problem = f"the key {key.value!r} stands twice in one mapping ({lines}): keep one"
                raise yaml.MarkedYAMLError(problem=problem)
            seen[value] = key.start_mark


def _at(node: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


# as jsonargparse, which reads the same files, has it
_FLOAT = re.compile(
    r"""^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+
    |\.[0-9_]+(?:[eE][-+][0-9]+)?
    |[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*
    |[-+]?\.(?:inf|Inf|INF)
    |\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)
_REPLACED = ("tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp")
_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] not in _REPLACED]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def load_yaml(text: str, *, what: str) -> Any:
    """Return what a YAML text holds.

    Args:
        text: The text.
        what: What it is, for messages.

    Raises:
        SegfocalError: If it is no YAML, names a key twice in one mapping, is nested deeper than 100 levels,
            or grows by aliases; with the line.

    Example:
        >>> load_yaml("[1e-3, 2024-01-01]", what="text")
        [0.001, '2024-01-01']
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1})" if mark is not None else ""
        said = " ".join(" ".join(filter(None, (error.context, error.problem))).split())
        raise SegfocalError(f"{what} is no valid YAML: {said}{where}.") from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError, TypeError) as error:
        raise SegfocalError(f"{what} is no valid YAML: {' '.join(str(error).split())[:300]}.") from error


def read_yaml(path: Path, *, what: str) -> Any:
    """Return what a YAML file holds.

    Args:
        path: The file.
        what: What it is, for messages.

    Raises:
        SegfocalError: As `load_yaml`, and if the file cannot be read or is larger than 16 MiB.
    """
    try:
        if (size := path.stat().st_size) > _LARGEST_MIB * 2**20:
            raise SegfocalError(
                f"{what} {path} has {size / 2**20:.0f} MiB, more than {_LARGEST_MIB}: not read."
            )
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SegfocalError(f"{what} {path} cannot be read: {error}.") from error
    return load_yaml(text, what=f"{what} {path}")


def read_mapping(path: Path, *, what: str) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Args:
        path: The file.
        what: What it is, for messages.

    Raises:
        SegfocalError: As `read_yaml`, and if it holds something else.
    """
    return _mapping(read_yaml(path, what=what), what=f"{what} {path}")


def parse_mapping(text: str, *, what: str) -> dict[str, Any]:
    """Return the mapping that a YAML text holds.

    Args:
        text: The text.
        what: What it is, for messages.

    Raises:
        SegfocalError: As `load_yaml`, and if it holds something else.

    Example:
        >>> parse_mapping("rate: 1e-3", what="text")
        {'rate': 0.001}
    """
    return _mapping(load_yaml(text, what=what), what=what)


def _mapping(content: Any, *, what: str) -> dict[str, Any]:
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
    """Anchors and aliases are for people; words that are read as numbers are quoted."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers
