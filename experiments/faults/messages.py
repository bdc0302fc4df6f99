"""List every error text of the package, so that all of them can be read in one go.

    python experiments/faults/messages.py [--root CHECKOUT]

A text is what a `SegfocalError` (or one of its subclasses) is raised or returned with. Braces show
what is filled in.
"""

import argparse
import ast
from collections.abc import Iterator
from pathlib import Path


def error_names(trees: dict[Path, ast.Module]) -> set[str]:
    """Return the names of `SegfocalError` and of the classes made from it."""
    names, before = {"SegfocalError"}, 0
    while len(names) > before:
        before = len(names)
        for tree in trees.values():
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef) and {_name(base) for base in node.bases} & names:
                    names.add(node.name)
    return names


def texts(tree: ast.Module, names: set[str]) -> Iterator[tuple[int, str]]:
    """Yield line and text of each error that a module makes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) in names and node.args:
            yield node.lineno, " + ".join(shown(argument) for argument in node.args)


def shown(node: ast.expr) -> str:
    """Return the text of an expression, with what is filled in in braces."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(shown(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return "{" + ast.unparse(node.value) + "}"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return shown(node.left) + shown(node.right)
    return "{" + ast.unparse(node) + "}"


def _name(node: ast.expr) -> str:
    """Return the last name of a dotted expression."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def main() -> None:
    """Print one line per text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[2])
    package = parser.parse_args().root / "segfocal"
    trees = {path: ast.parse(path.read_text()) for path in sorted(package.rglob("*.py"))}
    names = error_names(trees)
    for path, tree in trees.items():
        for line, text in sorted(texts(tree, names)):
            print(f"{path.relative_to(package)}:{line}: {text!r}")


if __name__ == "__main__":
    main()
