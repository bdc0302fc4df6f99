"""Turn what the parser says about a wrong configuration into one message that names the nearest word."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import inspect
import re
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from segfocal.errors import SegfocalError, nearest

_OPTION = re.compile(r"(?:Option|option|Key|key) '([^']+)' is not (?:accepted|expected)")
_NO_OPTION = re.compile(r"(?:Group '([^']+)' )?does not accept (?:option|nested key|key) '([^']+)'")
_UNRECOGNIZED = re.compile(r"[Uu]nrecognized arguments: --([\w.-]+)")
_CLASS = re.compile(r"Problem with given class_path '([^']+)'")
_KEY = re.compile(r'Parser key "([^"]+)"')
_EXPECTED = re.compile(r"Expected an? (?:<class '([\w.]+)'>|typing\.Literal\[([^\]]+)\]|(\S+))")
_SUBTYPES = re.compile(r"Subtypes: \[<class '([\w.]+)'>")
_GIVEN = re.compile(r"(?:Got value|Given value|Expected a dot import path string): (.+)")
_REQUIRED = re.compile(r"the following arguments are required: (.+)")
_OTHER_CLASS = re.compile(r"Import path (\S*) ?does not correspond to a subclass of (\w+)")
_DENIED = re.compile(r"Importing '([^']+)' is not allowed, denied by the '\*' entry")
_NO_MEMORY = re.compile(
    r"(?<!shared )(?<!are )out of memory|not enough memory|[Cc]annot allocate memory|can't allocate memory"
    r"|std::bad_alloc|_ALLOC_FAILED|Unable to allocate"
)
_WORKER = re.compile(r"DataLoader worker \(pid\(?s?\)? ?[\d, ]+\) (?:is killed by signal: (\w[\w ]*)|exited)")
_NO_SHARED = re.compile(r"shared memory|Bus error|No space left on device.*shm|ancdata|Too many open files")
_DEBUG = "SEGFOCAL_DEBUG=1 shows the traceback."
# what the parser says of a word or a list where a class or a mapping of its arguments belongs
_NO_OBJECT = ("Expected a dot import path", "Not a valid subclass of", "has no attribute 'keys'")


def explain(message: str, *, known: Iterable[str]) -> SegfocalError:
    """Return the error to show for a configuration that could not be parsed.

    Args:
        message: What the parser said.
        known: Dotted names of the options that the parser takes.

    Returns:
        The key, what is wrong with it and the nearest word.

    Example:
        >>> explain("Subcommand 'fit' does not accept option 'modle'", known=["model", "data"])
        SegfocalError("The configuration has no key 'modle'. Did you mean 'model'?")
    """
    classes, keys = _CLASS.findall(message), _KEY.findall(message)
    if refused := denied(message):
        return SegfocalError(f"{'.'.join(keys) or 'The configuration'}: {refused}")
    if found := _UNRECOGNIZED.search(message):
        return _unknown_key(found.group(1), list(known))
    if found := _NO_OPTION.search(message):
        return _unknown_key(".".join(part for part in found.groups() if part), list(known))
    if found := _OPTION.search(message):
        if not classes and not keys:
            return _unknown_key(found.group(1), list(known))
        return _unknown_argument(found.group(1), classes, keys)
    if classes and not _importable(classes[-1]):
        return _unknown_class(classes[-1], ".".join(keys))
    if found := _OTHER_CLASS.search(message):
        given = found.group(1) or _given(message)
        return SegfocalError(f"{'.'.join(keys)} must be a {found.group(2)}, got {given!r}.")
    if classes and (found := _REQUIRED.search(message)):
        return SegfocalError(f"{classes[-1]} ({'.'.join(keys)}) needs the argument {found.group(1)}.")
    if keys and any(sign in message for sign in _NO_OBJECT):
        return _no_object(message, ".".join(keys))
    if keys and "Expected a" in message:
        return _wrong_value(message, ".".join(keys))
    where = f"{'.'.join(keys)}: " if keys else ""
    return SegfocalError(where + _last_reason(message))


def denied(message: str) -> str:
    """Return what to say where the parser was not allowed to import what a value names; else nothing.

    Args:
        message: What the parser said.
    """
    found = _DENIED.search(message)
    if found is None:
        return ""
    return (
        f"{found.group(1)!r} is no public class of a known package, and the run was not trained here: its "
        "configuration is code. Read it, and say --trust (from Python trust=True) if you trust its author."
    )


def explain_failure(error: Exception) -> tuple[str, int]:
    """Return one line for what another package raised, such as Lightning or a network, and an exit code.

    Args:
        error: Anything but an error of ours.

    Returns:
        The line, with the place and the way to the traceback; 2 where settings or packages are at fault, else
        1.

    Example:
        >>> line, code = explain_failure(ModuleNotFoundError("No module named 'wandb'"))
        >>> line.partition(". ")[0], code
        ("ModuleNotFoundError: No module named 'wandb'", 2)
    """
    kind, text = type(error).__name__, str(error)
    if "Original Traceback" in text:  # of a loader process
        text = text.strip().splitlines()[-1]
    said = " ".join(text.split())[:600] or "no words"
    if found := _WORKER.search(text):
        return f"{_killed(found.group(1) or '', text)} {_DEBUG}", 1
    if is_out_of_memory(error):
        remedy = "Lower data.init_args.batch_size or patch_size, or set trainer.precision to 16-mixed"
        return f"out of memory ({said.rstrip('.')}). {remedy}. {_DEBUG}", 2
    if "does not require grad and does not have a grad_fn" in text:
        remedy = "leave out detach() and torch.no_grad in its forward"
        return f"the network's output carries no gradient, so nothing can be trained: {remedy}. {_DEBUG}", 2
    steps = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(steps[-1].filename).name}, line {steps[-1].lineno})" if steps else ""
    wrong = isinstance(error, (ImportError, NotImplementedError)) or kind == "MisconfigurationException"
    return f"{kind}: {said.rstrip('.')}{place}. {_DEBUG}", 2 if wrong else 1


def not_built(error: Exception) -> SegfocalError:
    """Return what to say where the constructor of a class of the configuration raised.

    Args:
        error: What it raised, with its traceback.

    Returns:
        The class, its complaint, and where to look.
    """
    if "Parser key" in str(error) or "Does not validate" in str(error):
        return explain(str(error), known=[])
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    owners = (frame.f_locals.get("self") for frame in frames if frame.f_code.co_name == "__init__")
    kinds = [type(owner) for owner in owners if owner is not None]
    named = [kind.__name__ for kind in kinds if not kind.__module__.startswith(("jsonargparse", "pytorch_"))]
    said = " ".join(str(error).split())[:400].rstrip(".") or type(error).__name__
    who = named[0] if named else "A class of the configuration"
    return SegfocalError(
        f"{who} cannot be built: {said}. Change its init_args in the configuration, or take another class."
    )


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that the memory of the machine or of its device does not suffice.

    Args:
        error: Of numpy, torch or a decoder.
    """
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or _NO_MEMORY.search(str(error)) is not None


def _killed(signal: str, text: str) -> str:
    """Return what is said of a loader process that is gone."""
    how = f" by the signal {signal.strip()}" if signal.strip() else ""
    if _NO_SHARED.search(text):
        return (
            f"a loader worker was killed{how}: shared memory (/dev/shm) or open files ran out. Lower --data."
            "init_args.num_workers (0 loads in this process) or --data.init_args.batch_size, or give the "
            "container more with --shm-size."
        )
    return (
        f"a loader worker was killed{how} (out of memory?). Lower --data.init_args.num_workers (0 loads in "
        "this process), --data.init_args.batch_size or --data.init_args.cache_mib, and go on with --resume."
    )


def losses() -> dict[str, str]:
    """Return the names of segfocal's losses and where they are imported from."""
    from torch import nn

    module = importlib.import_module("segfocal.losses")
    return {
        name: f"segfocal.losses.{name}"
        for name in getattr(module, "__all__", dir(module))
        if inspect.isclass(getattr(module, name, None))
        and issubclass(getattr(module, name), nn.Module)
        and not inspect.isabstract(getattr(module, name))
    }


def _unknown_key(key: str, known: list[str]) -> SegfocalError:
    """Compare level by level: 'modl.network' is a slip in 'modl', not in 'network'."""
    parts = key.split(".")
    for depth in range(1, len(parts) + 1):
        prefix = ".".join(parts[:depth])
        if not any(name == prefix or name.startswith(prefix + ".") for name in known):
            parent = ".".join(parts[: depth - 1])
            siblings = {".".join(name.split(".")[:depth]) for name in known if name.startswith(parent)}
            return SegfocalError(
                f"The configuration has no key {prefix!r}.{nearest(prefix, sorted(siblings))}"
            )
    return SegfocalError(f"The configuration has no key {key!r}.")


def _wrong_value(message: str, key: str) -> SegfocalError:
    value = _given(message)
    expected, choices = [], []
    for kind, literal, other in _EXPECTED.findall(message):
        if literal:
            choices += [choice.strip(" '\"") for choice in literal.split(",")]
        elif (kind or other) not in ("NoneType", "path", "path,"):
            expected.append((kind or other).removeprefix("collections.abc.").rstrip("."))
    words = [repr(choice) for choice in choices] or expected
    hint = nearest(value, choices) if choices else ""
    return SegfocalError(f"{key} must be {' or '.join(dict.fromkeys(words))}, got {value!r}.{hint}")


def _no_object(message: str, key: str) -> SegfocalError:
    value, types = _given(message), _SUBTYPES.findall(message)
    module, _, name = (types[-1] if types else "").rpartition(".")
    owner = getattr(importlib.import_module(module), name) if types else None
    if not dataclasses.is_dataclass(owner):
        if value.isidentifier():
            return _unknown_class(value, key)
        return SegfocalError(
            f"{key} must be a class_path and its init_args, got {value!r}. In a YAML file: class_path: "
            f"package.Class and init_args: below {key}; as an option: --{key}.class_path package.Class."
        )
    names = [field.name for field in dataclasses.fields(owner)]
    return SegfocalError(
        f"{key} must be null or a mapping with some of the keys {', '.join(names)}, got {value!r}. In a YAML "
        f"file: {names[0]}: ... below {key.rpartition('.')[2]}; as an option: --{_option(key)}.{names[0]} ..."
    )


def _option(key: str) -> str:
    """The parser leaves out the init_args in between."""
    owner, _, argument = key.rpartition(".")
    return f"{owner}.init_args.{argument}"


def _given(message: str) -> str:
    given = _GIVEN.findall(message)
    value = given[0].strip() if given else "something else"
    nested = re.match(r"NestedArg\(key='.*', val='?(.*?)'?\)$", value)
    return nested.group(1) if nested else value


def _unknown_argument(argument: str, classes: list[str], keys: list[str]) -> SegfocalError:
    if not classes:
        return SegfocalError(f"{'.'.join(keys) or 'The configuration'} has no key {argument!r}.")
    owner = classes[-1]
    arguments = _arguments(owner)
    listed = f" It takes {', '.join(arguments)}." if arguments else ""
    where = f" ({keys[0]})" if keys else ""
    return SegfocalError(
        f"{owner}{where} has no argument {argument!r}.{nearest(argument, arguments)}{listed}"
    )


def _unknown_class(class_path: str, where: str) -> SegfocalError:
    module, _, name = class_path.rpartition(".")
    if "loss" in where.lower() or module.startswith("segfocal.losses"):
        known = losses()
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        guess = f" Did you mean {known[close[0]]!r}?" if close else ""
        return SegfocalError(f"There is no loss {class_path!r}.{guess} Known: {', '.join(sorted(known))}.")
    home = "segfocal.data" if where.startswith("data") else "segfocal.models"
    return SegfocalError(f"{where}: there is no class {class_path!r}.{_nearest_class(module or home, name)}")


def _nearest_class(module: str, name: str) -> str:
    if not _importable_module(module):
        top = module.split(".")[0]
        hint = "" if _importable_module(top) else f" The package {top!r} is not installed."
        return hint or f" There is no module {module!r}."
    found = importlib.import_module(module)
    classes = [other for other, value in vars(found).items() if inspect.isclass(value)]
    close = difflib.get_close_matches(name, classes, n=1)
    return f" Did you mean '{module}.{close[0]}'?" if close else ""


def _arguments(class_path: str) -> list[str]:
    module, _, name = class_path.rpartition(".")
    if not _importable(class_path):
        return []
    found: dict[str, None] = {}
    # **settings hands on what the next class of the line takes
    for owner in inspect.getmro(getattr(importlib.import_module(module), name)):
        parameters = inspect.signature(owner).parameters
        variable = [p for p in parameters.values() if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        found |= dict.fromkeys(name for name, p in parameters.items() if p not in variable)
        if not any(p.kind == p.VAR_KEYWORD for p in variable):
            break
    return list(found)


def _importable(class_path: str) -> bool:
    module, _, name = class_path.rpartition(".")
    return _importable_module(module) and getattr(importlib.import_module(module), name, None) is not None


def _importable_module(module: str) -> bool:
    try:
        importlib.import_module(module)
    except (ImportError, ValueError):
        return False
    return True


def _last_reason(message: str) -> str:
    """Keep the innermost reason, cut to a readable length."""
    lines: list[Any] = [line.strip(" -") for line in message.splitlines()]
    skip = (
        "Parser key",
        "Problem with given",
        "Given value type",
        "Errors:",
        "Subtypes",
        "Does not validate",
        "Not a valid subclass",
        "Subclass types expect",
        "a class path (str)",
        "a dict with",
    )
    kept = [line for line in lines if line and not line.startswith(skip) and "NoneType" not in line]
    return " ".join(kept)[:400] or message[:400]
