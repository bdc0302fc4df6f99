"""Make the data set that a configuration names by class path; its own download runs here."""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Mapping
from typing import Any

from segfocal.data.division import expand
from segfocal.data.splits import SPLITS
from segfocal.errors import SegfocalError, check_choice, nearest

Spec = Mapping[str, Any]


def check_parts(datasets: Mapping[str, Spec]) -> None:
    """Raise unless data sets are given for train and perhaps val and test.

    Args:
        datasets: Split to class path and arguments.

    Raises:
        SegfocalError: For other names, no data set, or what is no class path.
    """
    if not datasets:
        raise SegfocalError("datasets must give class_path and init_args for train, val or test, got none.")
    for part, spec in datasets.items():
        check_choice("datasets", part, SPLITS)
        keys = set(spec) if isinstance(spec, Mapping) else set()
        wrong = "class_path" not in keys or keys - {"class_path", "init_args"}
        if wrong or not isinstance(spec.get("init_args") or {}, Mapping):
            raise SegfocalError(f"datasets.{part} must have class_path and init_args, got {spec}.")


def find_class(spec: Spec, part: str) -> type:
    """Return the class that a data set names.

    Args:
        spec: ``class_path`` and ``init_args``.
        part: Its split.

    Raises:
        SegfocalError: Where there is none, with the nearest name.
    """
    path = str(spec["class_path"])
    module_name, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise SegfocalError(f"datasets.{part}: {path!r} cannot be imported: {error}.") from error
    kind = getattr(module, name, None)
    if not isinstance(kind, type):
        hint = nearest(name, [known for known in dir(module) if not known.startswith("_")])
        raise SegfocalError(f"datasets.{part}: {module_name} has no class {name!r}.{hint}")
    return kind


def make_dataset(spec: Spec, part: str, **fixed: Any) -> Any:
    """Return a data set, which downloads what its arguments tell it to.

    ``$SEGFOCAL_DATA`` in its arguments stands for that variable. Of several processes on a machine the first
    alone downloads.

    Args:
        spec: ``class_path`` and ``init_args``.
        part: Its split.
        **fixed: Arguments that are not the user's to give.

    Raises:
        SegfocalError: For arguments that the class does not take, and with its reason where it cannot be
            made: files missing, no network, a wrong checksum.
    """
    kind, path = find_class(spec, part), str(spec["class_path"])
    given = {
        name: expand(value) if isinstance(value, str) else value
        for name, value in (spec.get("init_args") or {}).items()
    }
    _check_arguments(kind, given | fixed, path=path, part=part)
    first = int(os.environ.get("LOCAL_RANK", "0")) == 0
    if given.get("download") and not first:
        given["download"] = False
    try:
        return kind(**(given | fixed))
    except SegfocalError:
        raise
    except Exception as error:  # every class has errors of its own
        reason = str(error).rstrip(".")
        raise SegfocalError(
            f"datasets.{part}: {path} failed with {type(error).__name__}: {reason}. "
            f"{_remedy(given, first=first)}"
        ) from error


def _check_arguments(kind: type, given: Mapping[str, Any], *, path: str, part: str) -> None:
    known = inspect.signature(kind).parameters
    unknown = [name for name in given if name not in known]
    takes_all = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in known.values())
    if unknown and not takes_all:
        raise SegfocalError(
            f"datasets.{part}: {path} takes {', '.join(known)}, got {unknown[0]!r}."
            f"{nearest(unknown[0], known)}"
        )


def _remedy(given: Mapping[str, Any], *, first: bool) -> str:
    if not first:
        return "Run once with one process, which downloads."
    if given.get("download"):
        return (
            "It was told to download, which needs a network and a server that answers: fetch the files by "
            "hand, put them where the class looks for them, and set download: false."
        )
    return "See that its arguments name the folder above its files, or let it download where it can."
