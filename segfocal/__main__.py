"""The command line: finds the verb and hands over; nothing heavy is imported before a verb needs it."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from segfocal.errors import SegfocalError, nearest
from segfocal.training.help import write_help
from segfocal.training.interrupt import Interrupted
from segfocal.training.messages import explain_failure

_USAGE = """usage: segfocal VERB [options]

Focal losses for imbalanced semantic segmentation. `segfocal VERB --help` says more.

data
  fingerprint  what a folder holds, and a configuration for it: segfocal fingerprint PATH [--out X.yaml]
  generate     write pictures and masks to try things on:       segfocal generate --out DIR
train
  fit          train:         segfocal fit --config X.yaml [--run DIR] [--model.loss.init_args.gamma 1 ...]
               go on:         segfocal fit --resume DIR
  finetune     from weights:  segfocal finetune --config X.yaml --from CHECKPOINT [--run DIR]
  tune         search gamma, alpha, ... by cross-validation: segfocal tune --config X.yaml --out DIR
  convert      weights to safetensors:                       segfocal convert [--trust] FILE [OUT]
score and use a run
  validate, test  segfocal test --run DIR [--checkpoint best|last|PATH]
  diagnose        would focusing help?  segfocal diagnose --run DIR
  predict         segfocal predict --run DIR --images PATH --out DIR
  export          to run elsewhere: segfocal export --run DIR --format torch|onnx [--out FILE]
  lanes           TuSimple's or CULane's files:  segfocal lanes --run DIR --out PATH
  evaluate        their official scores:         segfocal evaluate tusimple|culane --predictions P --labels L
compare
  report       pages of runs:     segfocal report RUNS... --out DIR [--terminal]
  dashboard    the same, live:    segfocal dashboard LOGDIR
  study        many trainings:    segfocal study plan|run|status|report ...
  curves       the pixel losses:  segfocal curves [--gamma 0 1 2] [--knee 0.75] --out FILE

options
  --help     this text; after a verb, its options
  --version  print the version
SEGFOCAL_DEBUG=1 shows the traceback of an error.
"""


_CONFIGURED = ("fit", "finetune", "tune", "validate", "test")  # their own --help would load torch
# verb -> (module, function from the words after the verb to an exit code)
_VERBS = {
    "fingerprint": ("segfocal.training.verbs.fingerprint", "fingerprint"),
    "fit": ("segfocal.training.verbs.fit", "fit"),
    "finetune": ("segfocal.training.verbs.finetune", "finetune"),
    "tune": ("segfocal.training.verbs.tune", "tune"),
    "validate": ("segfocal.training.verbs.fit", "validate"),
    "test": ("segfocal.training.verbs.fit", "test"),
    "diagnose": ("segfocal.training.verbs.diagnose", "diagnose"),
    "predict": ("segfocal.training.verbs.predict", "predict"),
    "export": ("segfocal.training.verbs.export", "export"),
    "convert": ("segfocal.training.verbs.convert", "convert"),
    "generate": ("segfocal.training.verbs.generate", "generate"),
    "study": ("segfocal.study.command", "study"),
    "lanes": ("segfocal.training.verbs.lanes", "lanes"),
    "evaluate": ("segfocal.training.verbs.evaluate", "evaluate"),
    "report": ("segfocal.report.command", "report"),
    "dashboard": ("segfocal.report.dashboard_command", "dashboard"),
    "curves": ("segfocal.report.curves_command", "curves"),
}


def _run(verb: str, argv: Sequence[str]) -> int:
    module, function = _VERBS[verb]
    code: int = getattr(import_module(module), function)(argv)
    return code


def _dispatch(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        sys.stdout.write(_USAGE)
        return 0 if argv else 2
    if argv[0] == "--version":
        from segfocal import __version__

        sys.stdout.write(f"segfocal {__version__}\n")
        return 0
    if argv[0] not in _VERBS:
        raise SegfocalError(
            f"verb must be one of {', '.join(_VERBS)}, got {argv[0]!r}.{nearest(argv[0], _VERBS)}"
        )
    if argv[0] in _CONFIGURED and write_help(argv[0], argv[1:]):
        return 0
    return _run(argv[0], argv[1:])


def _name_disk(error: Exception) -> SegfocalError:
    from segfocal.runs.write import full_disk

    assert isinstance(error, OSError)
    return full_disk(error)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The words after ``segfocal``; None takes those of the process.

    Returns:
        Exit code: 0 done, 1 done in part (the rest is named), 2 wrong input or a failed write,
        130 interrupted, 141 nobody reads the output.

    Example:
        >>> main(["--version"])
        segfocal 0.1.0
        0
    """
    try:
        code = _dispatch(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return code
    except (KeyboardInterrupt, Interrupted):
        sys.stderr.write("segfocal: interrupted\n")
        return 130
    except BrokenPipeError:  # `| head` has read enough; what is left must not fail again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (SegfocalError, OSError) as error:
        if os.environ.get("SEGFOCAL_DEBUG") == "1":
            raise
        # OSError prints its errno, reason and file, which is what a read-only disk needs
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        sys.stderr.write(f"segfocal: error: {_name_disk(error) if full else error}\n")
        return 2
    except Exception as error:  # trainers, callbacks and networks raise whatever they like
        if os.environ.get("SEGFOCAL_DEBUG") == "1":
            raise
        line, code = explain_failure(error)
        sys.stderr.write(f"segfocal: error: {line}\n")
        return code


if __name__ == "__main__":
    sys.exit(main())
