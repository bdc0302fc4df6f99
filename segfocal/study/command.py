"""The verb ``study``: plan, run, status, report."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from segfocal.errors import SegfocalError, nearest
from segfocal.options import OptionParser
from segfocal.study.folder import StudyFolder
from segfocal.training.interrupt import StopSignal

USAGE = """usage: segfocal study plan STUDY.yaml --out DIR
       segfocal study run DIR [--jobs N] [--threads T] [--engine local|ray|slurm] [--max-failures K]
       segfocal study status DIR [--json]
       segfocal study report DIR --out OUT

Compares arms over seeds, data sets, data fractions and folds. `plan` names the cells and says which
comparisons can be decided at all, `run` runs the missing ones, `status` counts them, `report` compares.

  segfocal study run --help    its options
"""


def study(argv: Sequence[str]) -> int:
    """Do what the word after ``study`` says.

    Args:
        argv: Words after ``study``.

    Returns:
        Exit code: 0; 1 where cells failed; 130 after a signal.

    Raises:
        SegfocalError: For anything wrong in study, folder or options.
    """
    if not argv or argv[0] in ("-h", "--help"):
        sys.stdout.write(USAGE)
        return 0 if argv else 2
    verbs: dict[str, Callable[[Sequence[str]], int]]
    verbs = {"plan": _plan, "run": _run, "status": _status, "report": _report}
    if argv[0] not in verbs:
        raise SegfocalError(
            f"`segfocal study` must be followed by {', '.join(verbs)}, got {argv[0]!r}."
            f"{nearest(argv[0], verbs)}"
        )
    return verbs[argv[0]](argv[1:])


def _plan(argv: Sequence[str]) -> int:
    from segfocal.study.contrasts import contrast_lines
    from segfocal.study.plan import plan_study
    from segfocal.study.sources import fraction_lines
    from segfocal.study.validation import check_arms

    parser = OptionParser(prog="segfocal study plan", description="Names the cells of a study.")
    parser.add_argument("study", metavar="STUDY.yaml", help="what is compared")
    parser.add_argument("--out", required=True, metavar="DIR", help="new folder of the study")
    options = parser.parse_args(argv)
    folder = plan_study(Path(options.study), out=Path(options.out), check=check_arms)
    plan = folder.plan
    kinds = [cell["kind"] for cell in plan["cells"]]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("arm", "shared", "search") if kind in kinds)
    _say(f"{plan['name']}: {len(plan['arms'])} arms, {len(kinds)} cells ({counts})")
    for line in [*contrast_lines(plan["contrasts"]), *fraction_lines(plan)]:
        _say(line)
    _say(f"run it: segfocal study run {folder.root}")
    return 0


def _run(argv: Sequence[str]) -> int:
    from segfocal.study.data_check import check_data
    from segfocal.study.runner import Runner, Settings
    from segfocal.study.validation import check_arms

    options = _run_options(argv)
    folder = StudyFolder(Path(options.study))
    check_data(folder)
    check_arms(folder)
    settings = Settings(
        jobs=options.jobs,
        threads=options.threads,
        max_failures=options.max_failures,
        retry_failed=options.retry_failed,
        retries=options.retries,
    )
    stop = StopSignal()
    with stop.listening():
        code = Runner(folder, _engine(options), settings, asked=lambda: stop.name is not None).run()
    if code == 130:
        sys.stderr.write(f"segfocal: interrupted by {stop.name}. Go on with the same command.\n")
    return code


def _run_options(argv: Sequence[str]) -> Any:
    parser = OptionParser(prog="segfocal study run", description="Runs the missing cells of a study.")
    parser.add_argument("study", metavar="DIR", help="folder that `segfocal study plan` made")
    parser.add_argument("--jobs", type=int, default=1, help="cells at a time (default 1)")
    # not cores / jobs: sums round by it, and the figures of a study must not depend on --jobs
    parser.add_argument("--threads", type=int, default=1, help="of each cell (default 1)")
    parser.add_argument(
        "--engine", choices=("local", "ray", "slurm"), default="local", help="where cells run"
    )
    parser.add_argument("--max-failures", type=int, help="start no further cell after so many failed")
    parser.add_argument("--retry-failed", action="store_true", help="run those again that failed before")
    parser.add_argument("--retries", type=int, default=2, help="of a cell killed from outside (default 2)")
    parser.add_argument("--gpus", type=float, default=0.0, help="of each cell, for ray and slurm")
    parser.add_argument("--address", help="of a Ray cluster; default: the one around, else a new local one")
    parser.add_argument(
        "--slurm",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="submitit parameter, may be repeated",
    )
    options = parser.parse_args(argv)
    for name in ("jobs", "threads", "max_failures"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise SegfocalError(f"--{name.replace('_', '-')} must be at least 1, got {value}.")
    if options.engine == "local" and options.gpus:
        raise SegfocalError(
            "--gpus is for --engine ray and slurm, which share GPUs out. Here set CUDA_VISIBLE_DEVICES, or "
            "let Ray do it on this computer: --engine ray --gpus 1."
        )
    return options


def _engine(options: Any) -> Any:
    if options.engine == "local":
        from segfocal.study.engines import LocalEngine

        return LocalEngine()
    if options.engine == "ray":
        from segfocal.study.ray_engine import RayEngine

        return RayEngine(
            address=options.address, cpus=options.threads, gpus=options.gpus, retries=options.retries
        )
    from segfocal.study.slurm_engine import SlurmEngine, parameters

    logs = Path(options.study).resolve() / "slurm"
    return SlurmEngine(
        logs, cpus=options.threads, gpus=int(options.gpus), parameters=parameters(options.slurm)
    )


def _status(argv: Sequence[str]) -> int:
    from segfocal.study.status import status_lines, study_status

    parser = OptionParser(prog="segfocal study status", description="Counts the cells of a study.")
    parser.add_argument("study", metavar="DIR", help="folder that `segfocal study plan` made")
    parser.add_argument("--json", action="store_true", help="as JSON")
    options = parser.parse_args(argv)
    folder = StudyFolder(Path(options.study))
    status = study_status(folder)
    for line in [json.dumps(status, indent=2)] if options.json else status_lines(folder, status):
        _say(line)
    return 0


def _report(argv: Sequence[str]) -> int:
    from segfocal.study.report_command import report

    return report(argv)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
