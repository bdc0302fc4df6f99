"""Who is let in: names of the host, tokens, other sites; and what every answer tells the browser."""

import pytest

from segfocal.errors import SegfocalError
from segfocal.report.dashboard.app import create_app
from segfocal.report.dashboard.serve import check_access, open_server
from segfocal.report.dashboard.watch import Watcher

TOKEN = "correct horse battery"
HERE = "127.0.0.1:8050"


def client(tmp_path, *, host="127.0.0.1", token=None):
    return create_app(Watcher(tmp_path), host=host, port=8050, token=token).server.test_client()


def get(client, path="/", *, host=HERE, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.get(path, base_url=f"http://{host}", headers={"Host": host, **named})


@pytest.mark.parametrize("host", [HERE, "localhost:8050", "LOCALHOST:8050", "[::1]:8050"])
def test_names_of_this_machine_are_answered(tmp_path, host):
    assert get(client(tmp_path), host=host).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example:8050", "127.0.0.1:80", "127.0.0.1", "127.0.0.1.evil.example:8050", "localhost.:8050"),
        *("10.0.0.1:8050", "a@127.0.0.1:8050", "127.0.0.1:8050:1", "127.0.0.1:x"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/csv", "/picture", "/report.css", "/_dash-layout"])
def test_a_forged_host_is_refused_everywhere(tmp_path, host, path):
    answer = client(tmp_path).get(path, headers={"Host": host})
    assert answer.status_code in (400, 421)
    assert "segfocal" not in answer.text


def test_an_address_in_figures_is_answered_where_bound_to_all(tmp_path):
    found = client(tmp_path, host="0.0.0.0", token=TOKEN)
    assert get(found, host="192.0.2.7:8050", Authorization=f"Bearer {TOKEN}").status_code == 200
    assert get(found, host="evil.example:8050", Authorization=f"Bearer {TOKEN}").status_code == 421


@pytest.mark.parametrize("path", ["/", "/csv", "/picture", "/_dash-layout", "/_dash-update-component"])
def test_without_the_token_nothing_is_told(tmp_path, path):
    (tmp_path / "secret-name").mkdir()
    found = client(tmp_path, token=TOKEN)
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "segfocal-8050=wrong"}):
        answer = get(found, path, **headers)
        assert answer.status_code == 401
        assert "secret-name" not in answer.text
    assert get(found, f"{path}?token=wrong").status_code == 401


def test_a_link_with_the_token_leaves_a_cookie_that_does_not_hold_it(tmp_path):
    found = client(tmp_path, token=TOKEN)
    answer = get(found, f"/?view=classes&token={TOKEN.replace(' ', '+')}")
    cookie = answer.headers["Set-Cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Strict", "Path=/", "segfocal-8050="))
    assert TOKEN not in cookie
    assert TOKEN not in answer.text
    assert "url=/?view=classes" in answer.text
    value = cookie.split(";")[0].split("=", 1)[1]
    found.set_cookie("segfocal-8050", value, domain="127.0.0.1")
    assert get(found).status_code == 200


def test_a_target_cannot_leave_the_page(tmp_path):
    answer = get(client(tmp_path, token=TOKEN), f'/?a="><script>x</script>&token={TOKEN.replace(" ", "+")}')
    assert "<script" not in answer.text


def test_other_sites_may_link_but_not_ask(tmp_path):
    found = client(tmp_path)
    assert get(found, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status_code == 200
    assert get(found, "/csv", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors").status_code == 403
    assert get(found, Origin="http://evil.example").status_code == 403
    assert get(found, Origin="null").status_code == 403
    assert get(found, Origin=f"http://{HERE}").status_code == 200


@pytest.mark.parametrize("path", ["/", "/csv", "/report.css", "/no-such-page"])
def test_every_answer_tells_the_browser_what_to_refuse(tmp_path, path):
    headers = get(client(tmp_path), path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    policy = dict(rule.split(" ", 1) for rule in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in policy["script-src"]
    assert not any(word in headers["Content-Security-Policy"] for word in ("http:", "https:", "*", "eval"))


def test_the_page_loads_nothing_from_elsewhere_and_shows_no_developer_tools(tmp_path):
    found = client(tmp_path)
    text = get(found).text
    sources = [part.split('"')[0] for mark in ('src="', 'href="') for part in text.split(mark)[1:]]
    assert len(sources) > 5
    assert not [source for source in sources if "//" in source]
    assert get(found, "/_mcp").status_code == 200  # the page itself answers every unknown path
    assert "<!doctype html>" in get(found, "/_mcp").text.lower()


def test_another_host_demands_a_token_that_is_not_guessed(tmp_path):
    for host in ("0.0.0.0", "::", "192.0.2.7", "somewhere"):
        with pytest.raises(SegfocalError, match="--token"):
            check_access(host, None)
    with pytest.raises(SegfocalError, match="16"):
        check_access("127.0.0.1", "short")
    check_access("0.0.0.0", TOKEN)
    check_access("127.0.0.1", None)


def test_a_taken_port_is_named(tmp_path):
    first = open_server(tmp_path, host="127.0.0.1", port=0, token=None)
    try:
        with pytest.raises(SegfocalError, match=f"{first.port}.*--port"):
            open_server(tmp_path, host="127.0.0.1", port=first.port, token=None)
    finally:
        first.server_close()
