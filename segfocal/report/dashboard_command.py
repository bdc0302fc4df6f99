"""``segfocal dashboard``: the report of a folder of runs, live in the browser."""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

from segfocal.errors import SegfocalError
from segfocal.options import OptionParser


def parser() -> argparse.ArgumentParser:
    """Return the options of the verb."""
    options = OptionParser(
        prog="segfocal dashboard",
        description="Serve the report of all run directories below LOGDIR; running trainings are followed.",
    )
    options.add_argument("logdir", metavar="LOGDIR", help="a folder that holds run directories, in any depth")
    options.add_argument("--port", type=int, default=8050, metavar="N", help="8050; 0 takes a free one")
    options.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="H",
        help="127.0.0.1: this machine; any other needs --token",
    )
    options.add_argument(
        "--token",
        default=os.environ.get("SEGFOCAL_TOKEN"),
        metavar="T",
        help="what a reader must know; better in SEGFOCAL_TOKEN, as others can list the words of a command",
    )
    options.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="a further name for the browser: localhost:9999 behind `ssh -L 9999:127.0.0.1:8050 HOST`",
    )
    return options


def dashboard(argv: Sequence[str]) -> int:
    """Serve until Ctrl-C.

    Args:
        argv: Words after ``dashboard``.

    Returns:
        Exit code 0.

    Raises:
        SegfocalError: For wrong options, a folder that is not there, or where Dash is not installed.
    """
    given = parser().parse_args(argv)
    if not Path(given.logdir).is_dir():
        raise SegfocalError(f"LOGDIR must be a folder, got {given.logdir}. `segfocal fit` makes runs.")
    if not 0 <= given.port < 65536:
        raise SegfocalError(f"--port must be from 0 to 65535, got {given.port}.")
    if importlib.util.find_spec("dash") is None:
        raise SegfocalError("segfocal dashboard needs Dash: pip install 'segfocal[dashboard]'.")
    from segfocal.report.dashboard.serve import open_server, serve

    names = given.allow_host
    server = open_server(given.logdir, host=given.host, port=given.port, token=given.token, allow=names)
    serve(server, host=given.host, token=given.token)
    return 0
