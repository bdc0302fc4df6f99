"""Bind the dashboard to a port and answer until the reader stops it."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from werkzeug.serving import BaseWSGIServer, ThreadedWSGIServer, WSGIRequestHandler

from segfocal.errors import SegfocalError
from segfocal.report.dashboard.access import SHORTEST_TOKEN, is_loopback
from segfocal.report.dashboard.app import create_app
from segfocal.report.dashboard.watch import Watcher

SLOWEST_S = 10.0  # from the connection to the end of a request's headers and body, and for each write
MOST_CLIENTS = 64  # connections at the same time; a further one takes the place of the slowest sender


class _Silent(WSGIRequestHandler):
    """Writes no line per request: a line would hold the token of the first one."""

    timeout = SLOWEST_S  # of each read and write

    def setup(self) -> None:
        """Close the connection of a client that sends its request byte by byte."""
        self._late = threading.Timer(SLOWEST_S, self._close_slow)
        self._late.daemon = True
        self._late.start()
        super().setup()

    def run_wsgi(self) -> None:
        """Answer; a request without body has arrived, so that only what it is told may take its time."""
        if not self.headers.get("Content-Length", "0").strip("0"):
            self._late.cancel()
            self.server.sending.pop(self.request, None)  # type: ignore[attr-defined]
        super().run_wsgi()

    def finish(self) -> None:
        """End the connection and its limit of time."""
        self._late.cancel()
        super().finish()

    def _close_slow(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Do nothing."""

    def version_string(self) -> str:
        """Tell nobody which versions answer."""
        return "segfocal"


class _Server(ThreadedWSGIServer):
    """A thread for each connection, up to a bound; what clients do to their connections is no news."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._free = threading.BoundedSemaphore(MOST_CLIENTS)
        self.sending: dict[Any, None] = {}  # connections whose request has not arrived, the oldest first
        super().__init__(*args, **options)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread; where none is free, close the connection that has sent for the longest time."""
        if not self._free.acquire(blocking=False):
            self._close_oldest()
            if not self._free.acquire(timeout=1.0):
                self.shutdown_request(request)
                return
        self.sending[request] = None
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and let the next one in."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.sending.pop(request, None)
            self._free.release()

    def _close_oldest(self) -> None:
        with contextlib.suppress(StopIteration, RuntimeError, KeyError, OSError):
            oldest = next(iter(self.sending))
            del self.sending[oldest]
            oldest.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Write nothing: connections that break are no fault of ours, and views answer 500 themselves."""


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


def open_server(
    logdir: str | Path, *, host: str, port: int, token: str | None, allow: Sequence[str] = ()
) -> BaseWSGIServer:
    """Bind the server, without answering yet.

    Args:
        logdir: The folder below which run directories lie.
        host: What to bind to.
        port: Its port; 0 takes a free one.
        token: What a reader must know; None only on this machine.
        allow: Further names, each as HOST or HOST:PORT, under which a browser may ask: of ``--allow-host``.

    Returns:
        A server to be started with ``serve_forever``; its ``port`` is the one bound.

    Raises:
        SegfocalError: For a host that needs a token, or a port that is taken.
    """
    check_access(host, token)
    listening = _listen(host, port)
    bound = listening.getsockname()[1]
    watcher = Watcher(logdir)
    app: Any = create_app(watcher, host=host, port=bound, token=token, allow=allow)
    server = _Server(host, bound, app.server, handler=_Silent, fd=listening.fileno())
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
