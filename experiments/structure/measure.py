"""Measure the layout of the package: modules, their lines, their importers, circles, calls of one loss.

    python experiments/structure/measure.py [--root CHECKOUT] [--list]

`--list` prints each module that only one module imports, where both lie in one folder.
"""

import argparse
import ast
import io
import sys
import tokenize
from collections import defaultdict
from pathlib import Path
from types import FrameType


def module_name(path: Path, root: Path) -> str:
    """Return the dotted name of a file below the root."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, known: set[str], *, at_load: bool = False) -> set[str]:
    """Return the modules of the package that a file imports; `at_load` leaves out those inside functions."""
    tree = ast.parse(path.read_text())
    inner: set[ast.AST] = set()
    if at_load:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_typing_block(node):
                inner.update(ast.walk(node))
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in inner:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.update({full} if full in known else {node.module} & known)
    return found


def _is_typing_block(node: ast.AST) -> bool:
    """Whether the node is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def code_lines(path: Path) -> int:
    """Return the lines that hold code: no blanks, no comments, no docstrings."""
    text = path.read_text()
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    doc: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            first = node.body[0]
            doc.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skipped | {tokenize.ENDMARKER}:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - doc)


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that import each other, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = [stack.pop()]
            while group[-1] != node:
                group.append(stack.pop())
            if len(group) > 1:
                groups.append(sorted(group))

    sys.setrecursionlimit(10_000)
    for node in sorted(graph):
        if node not in index:
            visit(node)
    return groups


def calls_of_a_loss(root: Path) -> tuple[int, int]:
    """Return the calls of our functions, and the files, of one `FocalLoss("binary")` on (1, 1, 64, 64)."""
    sys.path.insert(0, str(root))
    import torch

    from segfocal import FocalLoss

    loss, logits, target = FocalLoss("binary"), torch.randn(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    loss(logits, target)
    calls: list[str] = []
    package = str(root / "segfocal")

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(package):
            calls.append(frame.f_code.co_filename)

    sys.setprofile(note)
    loss(logits, target)
    sys.setprofile(None)
    return len(calls), len(set(calls))


def main() -> None:
    """Print one line per figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[2])
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    root = options.root.resolve()
    files = {module_name(p, root): p for p in sorted((root / "segfocal").rglob("*.py"))}
    lengths = {name: len(path.read_text().splitlines()) for name, path in files.items()}
    importers: dict[str, set[str]] = defaultdict(set)
    at_load: dict[str, set[str]] = {}
    anywhere: dict[str, set[str]] = {}
    for name, path in files.items():
        at_load[name] = imports_of(path, set(files), at_load=True) - {name}
        anywhere[name] = imports_of(path, set(files)) - {name}
        for other in anywhere[name]:
            importers[other].add(name)
    modules = {name for name, path in files.items() if path.name not in ("__init__.py", "__main__.py")}
    single = {name: next(iter(importers[name])) for name in modules if len(importers[name]) == 1}
    beside = {a: b for a, b in single.items() if files[a].parent == files[b].parent}
    tests = {module_name(p, root / "tests") for p in (root / "tests").rglob("test_*.py")}
    mirrored = [m for m in modules if _test_name(m) in tests]
    print(f"modules {len(files)}, {len(modules)} without __init__ and __main__")
    print(f"lines {sum(lengths.values())}, mean {sum(lengths.values()) / len(files):.0f}")
    print(f"lines of code {sum(code_lines(path) for path in files.values())}")
    print(f"one importer {len(single)}, in the same folder {len(beside)}")
    print(f"over 650 lines {sum(n > 650 for n in lengths.values())}")
    print(f"test at the mirrored path {len(mirrored)} of {len(modules)}")
    print(f"circles when loading {circles(at_load)}")
    print(f"circles, imports inside functions included {circles(anywhere)}")
    widths = {p: len(list(p.glob("*.py"))) for p in {path.parent for path in files.values()}}
    wide = {str(p.relative_to(root)): n for p, n in sorted(widths.items()) if n > 25}
    print(f"folders of more than 25 files {wide}")
    calls, callers = calls_of_a_loss(root)
    print(f"calls of one loss {calls} in {callers} files")
    if options.list:
        for name in sorted(beside):
            print(f"{lengths[name]:4d} {name} <- {beside[name]} ({lengths[beside[name]]})")


def _test_name(module: str) -> str:
    """Return the mirrored test of a module: `segfocal.a.b` -> `a.test_b`."""
    *folders, stem = module.split(".")[1:]
    return ".".join([*folders, f"test_{stem}"])


if __name__ == "__main__":
    main()
