"""``segfocal tune``: search settings by cross-validation over the training images."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import stdev
from typing import Any, Literal

import yaml
from rich.console import Console
from rich.table import Table

from segfocal.errors import SegfocalError
from segfocal.runs.history import differences, in_words
from segfocal.runs.layout import LOCK, is_run
from segfocal.runs.provenance import file_sha256
from segfocal.runs.write import make_folder, write_json, write_text
from segfocal.training.arguments import check_config_files, config_files, take_option
from segfocal.training.cli import SegfocalCLI
from segfocal.training.help import write_help
from segfocal.training.quiet import quiet_lightning
from segfocal.training.tuning.config import Config, all_keys, look_up, overlay, take_section
from segfocal.training.tuning.fold import FoldTraining, Verb
from segfocal.training.tuning.search import Search, Tried, best_of, import_optuna, run_search, ties_of
from segfocal.training.tuning.space import Space, default_space, describe, read_space

_SHOWN = 10


def tune(argv: Sequence[str]) -> int:
    """Search, write ``best.yaml`` and print the best trials.

    Args:
        argv: Words after ``tune``.

    Returns:
        Exit code 0.

    Raises:
        SegfocalError: For anything wrong in words, configuration or folder.
        Interrupted: On a signal; the same words go on.
    """
    if write_help("tune", argv):
        return 0
    import_optuna()
    prune, rest = "--prune" in argv, [word for word in argv if word != "--prune"]
    out, rest = take_option(rest, "--out")
    source, rest = take_option(rest, "--from")
    trials, rest = _number(rest, "--trials", default=20, low=1)
    folds, rest = _number(rest, "--folds", default=3, low=2)
    seed, rest = _number(rest, "--seed", default=0, low=0)
    if out is None or not config_files(rest):
        raise SegfocalError("`segfocal tune` needs --config X.yaml and --out DIR.")
    config, space, mode = _read(rest, trained_on=source is not None)
    training = FoldTraining(
        config, folds=folds, train=_verb(source), words=["--from", source] if source else []
    )
    search = Search(space, Path(out), trials=trials, folds=folds, mode=mode, seed=seed, prune=prune)
    training.check()
    _claim(search, config, source)
    _say(f"{trials} trials of {folds} folds over {', '.join(space)}\n{_note(config, folds)}")
    try:
        tried = run_search(search, training)
    except SegfocalError:
        _discard_untrained(search.folder)
        raise
    best = best_of(tried, mode=mode)
    _write_best(search, config, best, tried)
    _print(search, config, tried, best)
    return 0


def _read(argv: list[str], *, trained_on: bool) -> tuple[Config, Space, Literal["max", "min"]]:
    """Return the complete configuration, what to search in it, and which way is better."""
    with tempfile.TemporaryDirectory() as folder, quiet_lightning():
        check_config_files(argv)
        section, files = take_section(config_files(argv), name="tune", into=Path(folder))
        words = [word for file in files for word in ("--config", file)]
        cli = SegfocalCLI([*words, *_without_files(argv)], pretrained=not trained_on)
        config = yaml.safe_load(cli.dump())
    monitor, mode = (look_up(config, f"checkpoint.{name}") for name in ("monitor", "mode"))
    if monitor.split("/")[-1] == "loss":
        raise SegfocalError(
            f"checkpoint.monitor is {monitor}, and losses of different settings cannot be compared. Monitor "
            "a score, e.g. --checkpoint.monitor val/dice --checkpoint.mode max."
        )
    space = default_space(config) if section is None else read_space(section, known=set(all_keys(config)))
    return config, space, mode


def _verb(source: str | None) -> Verb:
    if source is None:
        from segfocal.training.verbs.fit import fit

        return fit
    from segfocal.training.verbs.finetune import finetune

    return finetune


def _claim(search: Search, config: Config, source: str | None) -> None:
    """Raise where the folder holds another search; a search goes on only as what it was."""
    known: dict[str, Any] = {"space": describe(search.space), "folds": search.folds, "seed": search.seed}
    known |= {"mode": search.mode, "from": _identity(source), "config": config}
    file = search.folder / "tune.json"
    if file.is_file():
        other = differences(_read_claim(file), json.loads(json.dumps(known)))
        if other:
            raise SegfocalError(
                f"{search.folder} holds another search: {in_words(other)}. Choose another --out, or repeat "
                "its words to go on with it."
            )
        return
    if search.folder.is_dir() and any(search.folder.iterdir()):
        raise SegfocalError(f"--out must name a new folder or one of a search, got {search.folder}.")
    make_folder(search.folder, option="--out")
    write_json(file, known)


def _read_claim(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        raise SegfocalError(
            f"{file} must say in JSON what is searched, got a damaged file ({error}). Restore it from a "
            "copy, or choose another --out."
        ) from error


def _discard_untrained(folder: Path) -> None:
    """Take back a search in which nothing was trained, so that the words work once a mistake is mended."""
    if any(folder.glob("trials/*/fold_*/checkpoints/*.ckpt")):
        return
    shutil.rmtree(folder / "trials", ignore_errors=True)
    for name in ("tune.json", "optuna.db", LOCK):
        (folder / name).unlink(missing_ok=True)


def _identity(source: str | None) -> str | None:
    """A checkpoint is known by its content, folders by their path."""
    if source is None or is_run(source) or not Path(source).is_file():
        return source
    return file_sha256(Path(source))


def _write_best(search: Search, config: Config, best: Tried, tried: Sequence[Tried]) -> None:
    monitor = look_up(config, "checkpoint.monitor")
    score = f"{monitor} {best.mean:.4f} +- {_spread(best):.4f} (mean and SD over {search.folds} folds)"
    text = f"# Trial {best.name}, the best of {len(tried)}: {score}.\n"
    text += "".join(f"# {line}.\n" for line in _tie(tried, best))
    text += "# Use: segfocal fit --config X.yaml --config best.yaml\n"
    body = yaml.safe_dump(overlay(config, best.values), sort_keys=False)
    write_text(search.folder / "best.yaml", text + body)


def _print(search: Search, config: Config, tried: Sequence[Tried], best: Tried) -> None:
    monitor, sign = look_up(config, "checkpoint.monitor"), -1 if search.mode == "max" else 1
    keys = list(search.space)
    table = Table()
    for name in ("trial", "mean", "SD", "", *(".".join(key.split(".")[-2:]) for key in keys)):
        table.add_column(name.removeprefix("init_args."), justify="right")
    order = sorted(tried, key=lambda each: (each.state != "complete", sign * each.mean))
    for each in order[:_SHOWN]:
        state = "" if each.state == "complete" else each.state
        cells = [str(each.values.get(key)) for key in keys]
        table.add_row(each.name, f"{each.mean:.4f}", f"{_spread(each):.4f}", state, *cells)
    console = Console()
    title = f"{len(tried)} trials, {monitor} over {search.folds} folds, the best {min(len(tried), _SHOWN)}:"
    console.print(title, soft_wrap=True, highlight=False)
    Console(width=None if console.is_terminal else 120).print(table)
    lines = [f"best values: {search.folder / 'best.yaml'}, a second --config", *_tie(tried, best)]
    lines += [f"trial {each.name} failed: {each.error}" for each in tried if each.state == "failed"]
    lines.append(
        f"The mean of the best of {len(tried)} is optimistic: it was picked for being large. Train with "
        "best.yaml and score the test images once."
    )
    console.print("\n".join(lines), soft_wrap=True, highlight=False)


def _tie(tried: Sequence[Tried], best: Tried) -> list[str]:
    """Say that the best is no better than others."""
    others = ties_of(tried, best)
    if not others:
        return []
    named = ", ".join(others[:8]) + (f" and {len(others) - 8} more" if len(others) > 8 else "")
    return [
        f"trial {best.name} ties with {named} at {best.mean:.4f}: this search cannot tell them apart, and "
        "best.yaml has the values of the first of them"
    ]


def _spread(each: Tried) -> float:
    return stdev(each.scores) if len(each.scores) > 1 else 0.0


def _note(config: Config, folds: int) -> str:
    split: Mapping[str, Any] = look_up(config, "data.init_args.split") or {}
    unused = [f"{key}={split[key]!r}" for key in ("val", "val_share", "val_folds") if split.get(key)]
    left = f"; split.{', '.join(unused)} is not used" if unused else ""
    return f"validation: {folds} folds of the training images in turn{left}; test images are not scored"


def _number(argv: Sequence[str], name: str, *, default: int, low: int) -> tuple[int, list[str]]:
    word, rest = take_option(argv, name)
    if word is None:
        return default, rest
    if not word.isdigit() or int(word) < low:
        raise SegfocalError(f"{name} must be a whole number of at least {low}, got {word!r}.")
    return int(word), rest


def _without_files(argv: Sequence[str]) -> list[str]:
    words = [word for word in argv if not word.startswith("--config=")]
    for option in ("--config", "-c"):
        while option in words:
            place = words.index(option)
            del words[place : place + 2]
    return words


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
