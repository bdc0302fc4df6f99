"""Which functions and classes a pickle names, read without running it."""

from __future__ import annotations

import io
import pickletools
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

# what torch.save itself writes for tensors and state dicts
_HARMLESS = ("torch._utils.", "torch.storage.", "torch.serialization.", "collections.OrderedDict")


def pickled_names(path: str | Path) -> list[str]:
    """List the functions and classes that a file would import and call, beside those of plain tensors.

    Args:
        path: What ``torch.save`` or ``pickle`` wrote, in any protocol.

    Returns:
        Names such as ``"posix.system"``, sorted; those before the damage in a damaged file. For a message,
        no proof of safety.

    Example:
        >>> import pickle, tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     _ = file.write(pickle.dumps(print)), file.flush()
        ...     pickled_names(file.name)
        ['builtins.print']
    """
    names: set[str] = set()
    with suppress(Exception), _opened(Path(path)) as stream:  # bytes at random raise anything
        while True:  # old files are several pickles in a row
            _collect(stream, names)
    return sorted(name for name in names if not name.startswith(_HARMLESS) and not _is_storage(name))


def _opened(path: Path) -> BinaryIO:
    if not zipfile.is_zipfile(path):
        return path.open("rb")
    with zipfile.ZipFile(path) as archive:
        entry = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        return io.BytesIO(archive.read(entry))


def _collect(stream: BinaryIO, names: set[str]) -> None:
    pushed: list[object] = []  # strings in order; module and name are the last two
    memo: dict[int, object] = {}
    for operation, argument, _ in pickletools.genops(stream):
        if operation.name in ("GLOBAL", "INST"):
            names.add(str(argument).replace(" ", "."))
        elif operation.name == "STACK_GLOBAL":
            names.add(".".join(map(str, pushed[-2:])))
        elif operation.name == "MEMOIZE":
            memo[len(memo)] = pushed[-1] if pushed else None
        elif operation.name in ("BINPUT", "LONG_BINPUT"):
            memo[int(argument or 0)] = pushed[-1] if pushed else None
        elif operation.name in ("BINGET", "LONG_BINGET"):
            pushed.append(memo.get(int(argument or 0)))
        elif isinstance(argument, str):
            pushed.append(argument)


def _is_storage(name: str) -> bool:
    return name.startswith("torch.") and name.endswith("Storage")
