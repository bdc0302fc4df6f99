"""Slow and many clients: each is closed in time, the threads are bounded, a good client is served."""

import socket
import threading
import time
import urllib.request
from contextlib import ExitStack, suppress

import pytest

from segfocal.errors import SegfocalError
from segfocal.report.dashboard import serve
from segfocal.report.dashboard.access import allowed_address
from segfocal.report.dashboard.app import create_app
from segfocal.report.dashboard.serve import open_server
from segfocal.report.dashboard.watch import Watcher

SLOWEST_S = 1.0


@pytest.fixture
def port(tmp_path, monkeypatch):
    monkeypatch.setattr(serve, "SLOWEST_S", SLOWEST_S)
    monkeypatch.setattr(serve, "MOST_CLIENTS", 24)
    monkeypatch.setattr(serve._Silent, "timeout", SLOWEST_S)
    server = open_server(tmp_path, host="127.0.0.1", port=0, token=None)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.port
    server.shutdown()
    server.server_close()
    thread.join()


def ask(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
        return answer.status


def is_closed(client):
    client.settimeout(5 * SLOWEST_S)
    try:
        while client.recv(4096):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"POST / HTTP/1.1\r\nContent-Length: 900\r\n\r\n"],
)
def test_clients_that_say_nothing_more_are_closed(port, begun):
    before = threading.active_count()
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(60)]
        for client in clients:
            with suppress(OSError):
                client.sendall(begun)
        time.sleep(0.3)
        assert threading.active_count() <= before + 2 * 24 + 2  # each with its clock
        assert ask(port) == 200
        assert all(map(is_closed, clients))
        assert ask(port) == 200
    time.sleep(0.2)
    assert threading.active_count() <= before + 2


def drip(client, *, seconds):
    """Send a byte now and then; return whether all of them were taken."""
    start = time.monotonic()
    try:
        while time.monotonic() - start < seconds:
            client.sendall(b"G")
            time.sleep(SLOWEST_S / 5)
    except ConnectionError:
        return False
    return True


def test_a_client_that_sends_byte_by_byte_is_closed(port):
    with socket.create_connection(("127.0.0.1", port)) as slow:
        assert not drip(slow, seconds=10 * SLOWEST_S)
        assert ask(port) == 200


def status(root, host, *, allow=()):
    app = create_app(Watcher(root), host="127.0.0.1", port=8050, token=None, allow=allow)
    return app.server.test_client().get("/", headers={"Host": host}).status_code


@pytest.mark.parametrize(
    ("host", "allow", "found"),
    [
        *(("localhost:9999", (), 421), ("localhost:9999", ("localhost:9999",), 200)),
        *(("LOCALHOST:9999", ("localhost:9999",), 200), ("localhost:9998", ("localhost:9999",), 421)),
        *(("127.0.0.1:1", ("localhost:9999",), 421), ("127.0.0.1:1", ("127.0.0.1:1",), 200)),
        *(("[::1]:9999", ("[::1]:9999",), 200), ("[::1]:9999", ("localhost:9999",), 421)),
        *(("evil.example:9999", ("localhost:9999",), 421), ("evil.example", ("localhost:9999",), 421)),
        *(("gate:8050", ("gate",), 200), ("gate", ("gate:80",), 200), ("127.0.0.1:8050", ("gate",), 200)),
    ],
)
def test_only_named_addresses_are_answered(tmp_path, host, allow, found):
    assert status(tmp_path, host, allow=allow) == found


def test_a_forwarded_page_may_ask_for_its_numbers(tmp_path):
    app = create_app(Watcher(tmp_path), host="127.0.0.1", port=8050, token=None, allow=("localhost:9999",))
    asking = app.server.test_client()
    for origin, found in (("http://localhost:9999", 200), ("http://evil.example:9999", 403)):
        headers = {"Host": "localhost:9999", "Origin": origin}
        assert asking.get("/_dash-layout", headers=headers).status_code == found


@pytest.mark.parametrize(
    "text", ["", "a b", "http://localhost:9999", "localhost:x", "a/b", "*", "a@b", "a:0", "a:99999"]
)
def test_what_is_no_address_is_refused_in_a_line(text):
    with pytest.raises(SegfocalError, match="--allow-host must be HOST or HOST:PORT"):
        allowed_address(text, port=8050)
