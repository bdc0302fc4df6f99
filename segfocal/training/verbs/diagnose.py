"""``segfocal diagnose``: whether focusing is likely to help a network, from its validation images."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segfocal.errors import SegfocalError, check_range
from segfocal.options import TRUST_HELP, OptionParser
from segfocal.writing import OVERWRITE_HELP, Place, claim_file

if TYPE_CHECKING:
    from segfocal.training.cli import SegfocalCLI
    from segfocal.training.interrupt import StopSignal

_ENDINGS = (".json", ".html")
_KNEES = (0.75, 0.5, 0.9)
_LOWEST_KNEE = 0.4215  # p0(.5): below it focal loss of the least gamma shown is steeper than cross-entropy
# the sums of one process are the whole
_ALONE = ["--trainer.devices", "1", "--trainer.num_nodes", "1", "--trainer.strategy", "auto"]


def parser() -> OptionParser:
    """Return the options of the verb."""
    options = OptionParser(
        prog="segfocal diagnose",
        description="Say from the validation images of a run, or of a configuration with a checkpoint, which "
        "pixels carry loss and gradient under cross-entropy and focal losses, and whether focusing is likely "
        "to help. Other words override the configuration, as for `segfocal validate`.",
    )
    options.add_argument("--run", metavar="DIR", help="what `segfocal fit` made")
    options.add_argument("--checkpoint", metavar="best|last|PATH", help="of the run (default: best)")
    options.add_argument("--config", metavar="X.yaml", action="append", help="instead of --run, with --from")
    options.add_argument(
        "--from", dest="source", metavar="CHECKPOINT", help="weights, as finetune reads them"
    )
    options.add_argument("--knee", type=float, metavar="P", help="p_t of the knee to show (default: 0.75)")
    options.add_argument("--out", metavar="FILE", help="write the numbers (.json) or the page (.html)")
    options.add_argument("--overwrite", action="store_true", help=OVERWRITE_HELP)
    options.add_argument("--json", action="store_true", help="print one JSON object, in full precision")
    options.add_argument("--trust", action="store_true", help=TRUST_HELP)
    return options


def diagnose(argv: Sequence[str]) -> int:
    """Diagnose a run or a checkpoint and print the page.

    Args:
        argv: Words after ``diagnose``.

    Returns:
        Exit code: 0, or 130 after a signal.

    Raises:
        SegfocalError: For wrong options, weights that do not fit, or validation images that hold nothing to
            diagnose.
    """
    given, overrides = parser().parse_known_args(argv)
    _check(given)
    # bring torch, which --help does not need
    from segfocal.training.interrupt import Interrupted, StopSignal
    from segfocal.training.quiet import quiet_lightning
    from segfocal.training.running import say_interrupted

    stop = StopSignal()
    try:
        with quiet_lightning(), stop.listening():
            report = _diagnosed(given, overrides, stop)
    except Interrupted as signal:
        return say_interrupted(signal, hint="")
    _show(given, report)
    return 0


def _check(given: argparse.Namespace) -> None:
    if (given.run is None) == (given.source is None):
        raise SegfocalError(
            "`segfocal diagnose` needs --run DIR, or --config X.yaml and --from CHECKPOINT, and not both."
        )
    if given.source is not None and not given.config:
        raise SegfocalError(f"--from {given.source} needs --config X.yaml, which says network and data.")
    if given.source is not None and given.checkpoint is not None:
        raise SegfocalError("--checkpoint belongs to --run; --from names the weights itself.")
    if given.knee is not None:
        check_range(
            "--knee", given.knee, low=_LOWEST_KNEE, high=1.0, open_low=True, open_high=True
        )  # p0 of gamma .5
    if given.out is not None and Path(given.out).suffix not in _ENDINGS:
        raise SegfocalError(f"--out must end in {' or '.join(_ENDINGS)}, got {given.out!r}. Rename the file.")
    if given.out is not None:
        _claim(given)


def _claim(given: argparse.Namespace) -> Place:
    inputs = [*(given.config or ()), *(path for path in (given.run, given.source) if path is not None)]
    return claim_file(given.out, inputs=inputs, overwrite=given.overwrite)


def _diagnosed(given: argparse.Namespace, overrides: Sequence[str], stop: StopSignal) -> dict[str, Any]:
    from segfocal.training.diagnosis.gather import Gathering
    from segfocal.training.diagnosis.report import diagnose as work_out

    cli, origin = _loaded(given, overrides)
    facts, data = cli.model.facts, cli.datamodule
    assert facts is not None
    gathered = Gathering(facts.task, facts.class_names, ignore_index=facts.ignore_index, stop=stop)
    trainer = cli.build_trainer(loggers=[], callbacks=[], root=given.run or ".", training=False)
    cli.model.fitting = gathered
    trainer.validate(cli.model, datamodule=data, verbose=False)
    knees = list(dict.fromkeys([*([] if given.knee is None else [given.knee]), *_KNEES]))
    found = work_out(
        gathered, task=facts.task, class_names=facts.class_names, loss=cli.model.loss, knees=knees
    )
    sampled = getattr(data, "foreground_share", None)
    return {"weights": origin, "loss": repr(cli.model.loss), "patches_on_foreground": sampled} | found


def _loaded(given: argparse.Namespace, overrides: Sequence[str]) -> tuple[SegfocalCLI, str]:
    """Build task and data, and load the weights: all of them, or say what does not fit."""
    from segfocal.models.checkpoint import load_weights, network_weights, read_checkpoint
    from segfocal.models.weights_find import find_weights
    from segfocal.runs.info import read_info
    from segfocal.runs.layout import checkpoint, open_run
    from segfocal.training.arguments import words_of_run
    from segfocal.training.calibrate import has_validation
    from segfocal.training.cli import SegfocalCLI

    named = [word for config in given.config or () for word in ("--config", config)]
    if given.run is not None:
        run = open_run(given.run, with_checkpoints=True)
        read_info(run)
        path = checkpoint(run, given.checkpoint or "best")
        stored, named = read_checkpoint(path, mmap=True), [*words_of_run(run.config), *named]
    else:
        path = find_weights(given.source)
    own = None if given.run is None else run.config
    cli = SegfocalCLI([*named, *overrides, *_ALONE], pretrained=False, run=own, trust=given.trust)
    cli.datamodule.prepare_data()
    cli.datamodule.setup("validate")
    if not has_validation(cli.datamodule):
        raise SegfocalError(
            "The data have no validation images, which is what a diagnosis looks at. Name some in the "
            "configuration, e.g. --data.init_args.split.val 0.2."
        )
    cli.model.prepare(cli.datamodule, "validate")
    if given.run is None:
        _load_anyones(cli, path)
    else:
        load_weights(cli.model.network, network_weights(stored), origin=path)
        cli.model.on_load_checkpoint(stored)
    return cli, str(path)


def _load_anyones(cli: SegfocalCLI, path: Path) -> None:
    from segfocal.models.pretrained import load_pretrained

    channels = cli.datamodule.in_channels  # type: ignore[attr-defined]
    report = load_pretrained(cli.model.network, path, in_channels=channels, min_matched=1.0)
    if report.reinitialised or report.missing or report.adapted:
        raise SegfocalError(
            f"The weights in {path} are not those of this network:\n{report}\nA diagnosis needs all of them "
            "as they were trained: give the configuration that they were trained with."
        )


def _show(given: argparse.Namespace, report: dict[str, Any]) -> None:
    from rich.console import Console

    from segfocal.runs.write import write_bytes
    from segfocal.training.diagnosis.page import print_page, written_page

    text = json.dumps(report, allow_nan=False)
    if given.json:
        sys.stdout.write(text + "\n")
    else:
        console = Console()
        print_page(console if console.is_terminal else Console(width=120), report)
    if given.out is not None:
        content = text + "\n" if given.out.endswith(".json") else written_page(report)
        place = _claim(given)
        write_bytes(Path(given.out), content.encode(), option="--out")
        place.record([Path(given.out).name])
        if not given.json:
            sys.stdout.write(f"written to {given.out}\n")
