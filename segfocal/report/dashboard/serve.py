"""Bind the dashboard to a port and answer until the reader stops it."""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from segfocal.errors import SegfocalError
from segfocal.report.dashboard.access import SHORTEST_TOKEN, is_loopback
from segfocal.report.dashboard.app import create_app
from segfocal.report.dashboard.watch import Watcher


class _Silent(WSGIRequestHandler):
    """Writes no line per request: a line would hold the token of the first one."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Do nothing."""

    def version_string(self) -> str:
        """Tell nobody which versions answer."""
        return "segfocal"


def check_access(host: str, token: str | None) -> None:
    """Raise unless whoever can reach the server must know a token.

    Args:
        host: What to bind to.
        token: Of ``--token``.

    Raises:
        SegfocalError: For another host without a token, or a token that can be guessed.
    """
    if token is None and not is_loopback(host):
        raise SegfocalError(
            f"--host {host} can be reached from other machines and needs --token, at least {SHORTEST_TOKEN} "
            "characters that nobody guesses; or stay on 127.0.0.1 and use `ssh -L 8050:127.0.0.1:8050 HOST`."
        )
    if token is not None and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
        raise SegfocalError(
            f"--token must have at least {SHORTEST_TOKEN} printable ASCII characters, got {len(token)}. "
            "Make one with: python -c 'import secrets; print(secrets.token_urlsafe())'"
        )


def open_server(logdir: str | Path, *, host: str, port: int, token: str | None) -> BaseWSGIServer:
    """Bind the server, without answering yet.

    Args:
        logdir: The folder below which run directories lie.
        host: What to bind to.
        port: Its port; 0 takes a free one.
        token: What a reader must know; None only on this machine.

    Returns:
        A server to be started with ``serve_forever``; its ``port`` is the one bound.

    Raises:
        SegfocalError: For a host that needs a token, or a port that is taken.
    """
    check_access(host, token)
    listening = _listen(host, port)
    bound = listening.getsockname()[1]
    watcher = Watcher(logdir)
    app: Any = create_app(watcher, host=host, port=bound, token=token)
    server = make_server(
        host, bound, app.server, threaded=True, request_handler=_Silent, fd=listening.fileno()
    )
    listening.detach()
    # read the runs while the reader still looks for the browser
    threading.Thread(target=watcher.sources, daemon=True).start()
    return server


def serve(server: BaseWSGIServer, *, host: str, token: str | None) -> None:
    """Say where the dashboard is, and answer until Ctrl-C.

    Args:
        server: Of ``open_server``.
        host: What it is bound to.
        token: Whether the address needs one; it is not printed.
    """
    shown = f"[{host}]" if ":" in host else host
    more = "?token=YOUR_TOKEN" if token else ""
    sys.stdout.write(f"dashboard: http://{shown}:{server.port}/{more}\nstop it with Ctrl-C\n")
    if not is_loopback(host):
        sys.stdout.write("plain HTTP: who can listen on the network can read the token\n")
    sys.stdout.flush()
    try:
        server.serve_forever()
    finally:
        server.server_close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        reason = error.strerror or str(error)
        raise SegfocalError(
            f"the dashboard cannot listen on {host}:{port}: {reason}. Choose another --port (0: a free one)."
        ) from error
    return listening
