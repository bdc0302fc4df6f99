"""Who may read the dashboard: names of the host, a token, and what the browser is told to refuse."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from html import escape
from urllib.parse import urlencode, urlsplit

from flask import Flask, Request, Response, request

from segfocal.errors import SegfocalError

SHORTEST_TOKEN = 16
_WILDCARDS = ("0.0.0.0", "::")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_HOST = re.compile(r"[A-Za-z0-9._:-]+")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server bound to the host.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
        (True, False)
    """
    return host in _LOOPBACK


def allowed_names(host: str) -> set[str]:
    """Return the names under which a server bound to a host may be asked for.

    A page of another site can point its own name to this machine (DNS rebinding), but it cannot choose the
    name that its visitor's browser then sends. Addresses in figures need no list: nobody else owns them.

    Args:
        host: What the server is bound to.

    Returns:
        Lower-case names without ports.

    Example:
        >>> sorted(allowed_names("127.0.0.1"))
        ['127.0.0.1', '::1', 'localhost']
    """
    if is_loopback(host):
        return set(_LOOPBACK)
    if host in _WILDCARDS:
        return {*_LOOPBACK, socket.gethostname().lower(), socket.getfqdn().lower()}
    return {host.lower()}


def allowed_address(text: str, *, port: int) -> tuple[str, int]:
    """Return the name and port of a word of ``--allow-host``.

    Args:
        text: HOST or HOST:PORT.
        port: Of the server, where the word names none.

    Raises:
        SegfocalError: Where it is neither.

    Example:
        >>> allowed_address("localhost:9999", port=8050), allowed_address("[::1]", port=8050)
        (('localhost', 9999), ('::1', 8050))
    """
    try:
        parts = urlsplit(f"//{text}")
        name, found = parts.hostname, parts.port
    except ValueError:
        name, found = None, None
    if not name or found == 0 or parts.netloc != text or "@" in text or not _HOST.fullmatch(name):
        raise SegfocalError(
            f"--allow-host must be HOST or HOST:PORT, as the browser's address has it, got {text!r}. "
            "Behind `ssh -L 9999:127.0.0.1:8050 HOST` it is localhost:9999."
        )
    return name.lower(), port if found is None else found


def content_policy(script_hashes: Sequence[str]) -> str:
    """Return the Content-Security-Policy: nothing from elsewhere, no script but ours.

    Args:
        script_hashes: Of the scripts that Dash writes into its page, from ``app.csp_hashes()``.

    Returns:
        The header's value. Styles may be inline: Plotly and Dash's components write style elements.
    """
    rules = {
        "default-src": "'none'",
        "script-src": " ".join(["'self'", *script_hashes]),
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "font-src": "'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


class Gate:
    """Checks every request before it reaches a view, and adds headers to every answer.

    Args:
        host: What the server is bound to.
        port: Its port.
        token: What a reader must know; None where everybody on this machine may read.
        policy: Of ``content_policy``.
        allow: Further names, each as HOST (with this port) or HOST:PORT.
    """

    def __init__(
        self, *, host: str, port: int, token: str | None, policy: str, allow: Sequence[str] = ()
    ) -> None:
        self._allowed = {allowed_address(name, port=port) for name in allow}
        self._names = allowed_names(host)
        self._addresses = host in _WILDCARDS
        self._port = port
        self._token = token
        self._policy = policy
        self._cookie = f"segfocal-{port}"  # cookies are shared between the ports of a host

    def guard(self, server: Flask) -> None:
        """Stand before and behind every route of a server.

        Args:
            server: The Flask server.
        """
        server.before_request(self._refuse)
        server.after_request(self._harden)

    def _refuse(self) -> Response | None:
        if not self._known_host(request.host):
            return _say(
                "This name does not belong to the dashboard: start it with --allow-host HOST:PORT, as the "
                "browser's address has it.",
                421,
            )
        if _is_foreign(request, self._known_host):
            return _say("Other sites may not ask the dashboard.", 403)
        if request.method not in ("GET", "HEAD", "POST"):
            return _say("Only GET and POST.", 405)
        if self._token is None or _same(request.cookies.get(self._cookie, ""), self._pass(self._token)):
            return None
        return self._ask_token(self._token)

    def _ask_token(self, token: str) -> Response | None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _same(given.strip(), token):
            return None
        if not _same(request.args.get("token", ""), token):
            return _say("A token is needed: open the address with ?token=... once.", 401)
        rest = urlencode([(key, value) for key, value in request.args.items(multi=True) if key != "token"])
        target = escape(request.path + (f"?{rest}" if rest else ""), quote=True)
        # a redirect would still count as coming from another site, which a strict cookie does not survive
        page = f'<!doctype html><title>segfocal</title><meta http-equiv="refresh" content="0; url={target}">'
        answer = Response(page, mimetype="text/html")
        answer.set_cookie(self._cookie, self._pass(token), httponly=True, samesite="Strict", path="/")
        return answer

    def _pass(self, token: str) -> str:
        """What the cookie holds: proof of the token, from which it cannot be read."""
        return hmac.new(token.encode(), b"segfocal dashboard", hashlib.sha256).hexdigest()

    def _known_host(self, value: str) -> bool:
        try:
            parts = urlsplit(f"//{value}")
            name, port = (parts.hostname or "").lower(), parts.port or 80
        except ValueError:
            return False
        if parts.username is not None:
            return False
        if (name, port) in self._allowed:
            return True
        if port != self._port:
            return False
        return name in self._names or (self._addresses and _is_address(name))

    def _harden(self, response: Response) -> Response:
        response.headers.update(_HEADERS)
        response.headers["Content-Security-Policy"] = self._policy
        if response.mimetype in ("text/html", "application/json", "image/png", "image/jpeg", "text/csv"):
            response.headers["Cache-Control"] = "no-store"
        return response


def _is_foreign(asked: Request, known_host: Callable[[str], bool]) -> bool:
    """Whether a page of another origin makes the browser ask: it may link here, nothing more."""
    origin = asked.headers.get("Origin")
    if origin is not None:
        scheme, _, rest = origin.partition("://")
        return scheme != "http" or not known_host(rest)
    site = asked.headers.get("Sec-Fetch-Site", "none")
    return site in ("cross-site", "same-site") and asked.headers.get("Sec-Fetch-Mode") != "navigate"


def _same(given: str, wanted: str) -> bool:
    """Compare in a time that does not tell how much is right."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode("utf-8", "replace"))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _say(text: str, status: int) -> Response:
    return Response(f"{text}\n", status=status, mimetype="text/plain")
