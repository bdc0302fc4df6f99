"""What a class takes, read from its source file: nothing is imported, so that planning needs no torch."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

_BLOCKS = (ast.If, ast.Try)


@dataclass(frozen=True)
class Found:
    """A class in its module: the module's dotted name and the definition."""

    module: str
    node: ast.ClassDef

    @property
    def path(self) -> str:
        """Module and name."""
        return f"{self.module}.{self.node.name}"


@dataclass(frozen=True)
class Parameter:
    """One argument.

    Args:
        module: Where its annotation is to be read.
        annotation: Its type, or None.
        default: Its default, or None.
    """

    module: str
    annotation: ast.expr | None = None
    default: ast.expr | None = None


@dataclass
class Signature:
    """The arguments of a class.

    Args:
        parameters: By name.
        is_open: Whether it takes further ones that the source does not tell.
    """

    parameters: dict[str, Parameter] = field(default_factory=dict)
    is_open: bool = False


@cache
def find_class(class_path: str) -> Found | None:
    """Return the definition that a path leads to, through the imports of packages.

    Args:
        class_path: For example ``segfocal.losses.FocalLoss``.

    Returns:
        None where there is no source, or no such class in it.
    """
    module, _, name = class_path.rpartition(".")
    return _find(module, name) if module else None


@cache
def signature(found: Found) -> Signature:
    """Return what a class takes: its own arguments, and its bases' where it hands them on.

    Args:
        found: The class.
    """
    own = next((n for n in found.node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
    if own is None and any("dataclass" in ast.unparse(item) for item in found.node.decorator_list):
        return _fields(found)
    if own is None:
        return _of_bases(found, Signature())
    arguments = own.args
    named = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(named) - len(arguments.defaults)) + [*arguments.defaults]
    pairs = [
        *zip(named[1:], defaults[1:], strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    result = Signature({a.arg: Parameter(found.module, a.annotation, default) for a, default in pairs})
    return result if arguments.kwarg is None else _of_bases(found, result)


def annotated_classes(parameter: Parameter) -> list[Found]:
    """Return the classes that the annotation of an argument names.

    Args:
        parameter: The argument.
    """
    if parameter.annotation is None:
        return []
    names = [node.id for node in ast.walk(parameter.annotation) if isinstance(node, ast.Name)]
    found = [_find(parameter.module, name) for name in names]
    return [item for item in found if item is not None]


@cache
def names_in(module: str) -> tuple[str, ...]:
    """Return the classes that a module, given by its dotted name, defines or imports."""
    names = dict.fromkeys(name for node in _statements(module) for name in _bound(node))
    return tuple(name for name in names if _find(module, name) is not None)


def _of_bases(found: Found, result: Signature) -> Signature:
    bases = [base for base in found.node.bases if ast.unparse(base) not in ("object", "ABC")]
    for base in bases:
        parent = _find(found.module, ast.unparse(base)) if isinstance(base, ast.Name) else None
        if parent is None:
            result.is_open = True
            continue
        inherited = signature(parent)
        result.parameters = inherited.parameters | result.parameters
        result.is_open = result.is_open or inherited.is_open
    return result


def _fields(found: Found) -> Signature:
    result = _of_bases(found, Signature())
    for node in found.node.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            result.parameters[node.target.id] = Parameter(found.module, node.annotation, node.value)
    return result


@cache
def _find(module: str, name: str) -> Found | None:
    for node in _statements(module):
        if isinstance(node, ast.ClassDef) and node.name == name:
            return Found(module, node)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if (alias.asname or alias.name) == name and node.module != module:
                    return _find(node.module, alias.name)
        home = _lazy_homes(node).get(name)
        if home is not None:
            return _find(home, name)
    return None


def _bound(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    return list(_lazy_homes(node))


def _lazy_homes(node: ast.stmt) -> dict[str, str]:
    """The table of a package that loads its names when they are asked for."""
    if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)):
        return {}
    if [ast.unparse(target) for target in node.targets] != ["_HOME"]:
        return {}
    return dict(ast.literal_eval(node.value))


@cache
def _statements(module: str) -> tuple[ast.stmt, ...]:
    file = _file(module)
    if file is None:
        return ()
    return tuple(_unfolded(ast.parse(file.read_text("utf-8")).body))


def _unfolded(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, _BLOCKS):
            yield from _unfolded(node.body)
        else:
            yield node


@cache
def _file(module: str) -> Path | None:
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)  # of a package's own name: this imports nothing
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    origin = Path(spec.origin)
    if not rest:
        return origin
    base = origin.parent.joinpath(*rest)
    candidates = (base.with_name(base.name + ".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)
