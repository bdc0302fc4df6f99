"""The dashboard in a real browser: every view, filters, cases, a running training followed."""

import json
import shutil
import threading
import time

import pytest
from browser import Browser, violations
from fake_runs import fake_run, write_pictures

from segfocal.report.dashboard.page import TITLES
from segfocal.report.dashboard.serve import open_server
from segfocal.runs import MetricsLog, update_info
from segfocal.runs.lock import hold

pytestmark = pytest.mark.slow
FOLLOWED_S = 5.0  # what the issue allows between an epoch and its place on the page


@pytest.fixture(scope="module")
def browser():
    found = Browser(offline=False)
    yield found
    found.close()


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """Two arms of two seeds with pictures, a training in progress, one hostile run, one half-written."""
    root = tmp_path_factory.mktemp("live")
    for seed in range(2):
        fake_run(root / f"old/ce-{seed}", seed=seed, gamma=0.0, skill=0.4, pictures=True)
        fake_run(root / f"new/focal-{seed}", seed=seed, gamma=2.0, skill=0.9, pictures=True)
    running = fake_run(root / "running", gamma=1.0, stages=())
    update_info(running, status="running")
    write_pictures(running, ["a", "b"], ["lesion"], seed=0, stage="live")
    owned = "<img src=x onerror=document.title='owned'>"
    fake_run(root / f"odd/{owned}", names=[owned, "../../etc/passwd"], class_names=[owned], gamma=3.0)
    (root / "begun").mkdir()
    (root / "begun/config.yaml").write_text("seed_everything: 0\n")
    return root


def serve(folder, **options):
    server = open_server(folder, **{"host": "127.0.0.1", "port": 0, "token": None} | options)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture(scope="module")
def address(logs):
    server = serve(logs)
    yield f"http://127.0.0.1:{server.port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def look(browser, address):
    """Open the dashboard at a selection; at the end nothing may have been said or asked elsewhere."""
    pages, foreign = [], []

    def open_at(query="", **options):
        page = browser.open(f"{address}{query}", **{"viewport": {"width": 1280, "height": 900}} | options)
        page.on(
            "request", lambda request: foreign.append(request.url) if address not in request.url else None
        )
        page.locator("#content h2").first.wait_for()
        pages.append(page)
        return page

    browser.said.clear()
    yield open_at
    for page in pages:
        page.context.close()
    assert browser.said == []
    assert [url for url in foreign if not url.startswith(("data:", "blob:"))] == []


def cells(page, row):
    return page.locator("#content table").first.locator("tbody tr").nth(row).locator("th, td")


def choose(page, control, option):
    place = page.locator(".control", has=page.locator(f"#label-{control}"))
    place.locator("button").first.click()
    page.get_by_role("option", name=option, exact=True).or_(
        page.locator(".dash-options-list-option", has_text=option)
    ).first.click()
    page.keyboard.press("Escape")


def test_every_view_opens_by_its_link_and_draws_its_figures(look):
    page = look()
    for key, title in TITLES.items():
        page.get_by_role("navigation").get_by_text(title, exact=True).click()
        page.wait_for_url(f"**view={key}*")
        page.locator("nav a[aria-current=page]", has_text=title).wait_for()
        page.locator("#content h2").first.wait_for()
        for figure in page.locator("#content figure").all():
            figure.scroll_into_view_if_needed()
            figure.locator("svg.main-svg").first.wait_for()
    assert page.title() == "segfocal dashboard"


def test_a_column_sorts_and_the_link_brings_it_back(look):
    page = look("?view=leaderboard")
    page.locator("th a", has_text="Dice per image").click()
    page.locator("th[aria-sort=descending]").wait_for()
    assert cells(page, 0).nth(1).inner_text() == "focal"
    page.locator("th a", has_text="Dice per image").click()
    page.locator("th[aria-sort=ascending]").wait_for()
    lowest = cells(page, 0).nth(1).inner_text()
    again = look(page.url.split("/")[-1])
    assert cells(again, 0).nth(1).inner_text() == lowest != "focal"
    page.go_back()
    page.locator("th[aria-sort=descending]").wait_for()


def until(page, condition, *, seconds=20.0):
    """Wait until JavaScript holds; the page's own policy forbids the `eval` that wait_for_function needs."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(100)


def test_a_filter_narrows_what_is_shown_and_the_link_keeps_it(look):
    page = look("?view=runs")
    assert page.locator("#content table tbody tr").count() == 7
    choose(page, "arm", "ce")
    page.wait_for_url("**arm=ce*")
    until(page, "document.querySelectorAll('#content table tbody tr').length === 2")
    again = look(page.url.split("/")[-1])
    assert again.locator("#content table tbody tr").count() == 2
    choose(again, "tag", "new")
    until(again, "document.querySelectorAll('#content table tbody tr').length === 0")


def test_a_click_leads_to_a_case_in_two_runs_and_its_pictures_move_together(look):
    page = look("?view=cases&run=old/ce-0&run=new/focal-0")
    page.get_by_role("link", name="c", exact=True).click()
    page.locator("#case h3", has_text="c").wait_for()
    assert page.locator("#case .panel h4").all_inner_texts()[0].startswith("ce-0: 0.")
    assert page.locator("#case .panel").count() == 2
    until(page, "[...document.querySelectorAll('#case img')].every(i => i.complete && i.naturalWidth)")
    assert page.locator("#case img").count() == 2 * (1 + 2 + 2 + 2 + 1)
    page.locator("#case .stack").first.focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    moved = page.locator("#case img").evaluate_all(
        "images => new Set(images.map(i => i.style.transform)).size"
    )
    assert moved == 1
    assert "scale(1.25)" in page.locator("#case img").last.get_attribute("style")


def test_four_runs_stand_side_by_side_and_no_more(look):
    page = look("?view=cases&case=b&run=old/ce-0&run=old/ce-1&run=new/focal-0")
    page.locator("#case .panel").nth(2).wait_for()
    choose(page, "run", "focal-1")
    page.locator("#case .panel").nth(3).wait_for()
    assert page.locator("#case .panel").count() == 4


@pytest.fixture
def held(logs):
    """The lock of the running training, as its process holds it."""
    with hold(logs / "running", verb="fit", say=print):
        yield


def test_a_running_training_is_followed_without_reload(held, look, logs):
    page = look("?view=runs")
    page.evaluate("window.stayed = true")
    page.locator("#content .js-plotly-plot").first.wait_for()
    assert cells(page, 0).nth(2).inner_text() == "running"
    begun = time.monotonic()
    MetricsLog(logs / "running/metrics.csv").append({"val/dice": 0.98765}, step=70, epoch=4)
    page.get_by_text("0.9877").first.wait_for(timeout=10_000)
    assert time.monotonic() - begun < FOLLOWED_S
    assert cells(page, 0).nth(5).inner_text() == "4"
    page.locator("figure p", has_text="at the end: running 0.9877").wait_for()
    before = page.locator("#content .pair img").first.get_attribute("src")
    write_pictures(_run(logs / "running"), ["a", "b"], ["lesion"], seed=1, stage="live")
    until(page, f"document.querySelector('.pair img').getAttribute('src') !== {json.dumps(before)}")
    with (logs / "running/metrics.csv").open("ab") as file:
        file.write(b"80,5,val/dice,0.1")  # torn: a value that is not whole is not shown
    page.wait_for_timeout(3000)
    assert page.get_by_text("0.9877").count()
    assert page.evaluate("window.stayed")


def _run(folder):
    from segfocal.runs import RunPaths

    return RunPaths(folder)


def test_a_run_may_come_and_go_while_it_is_shown(look, logs):
    page = look("?view=runs")
    fake_run(logs / "short", gamma=9.0, stages=())
    page.locator("tbody th", has_text="short").wait_for(timeout=10_000)
    shutil.rmtree(logs / "short")
    page.locator("tbody th", has_text="short").wait_for(state="detached", timeout=10_000)


def test_hostile_names_stay_text(look):
    for view in ("runs", "classes", "cases"):
        page = look(f"?view={view}&tag=odd")
        assert page.title() == "segfocal dashboard"
        assert page.locator("#content img[src=x]").count() == 0


@pytest.mark.parametrize(
    ("view", "scheme", "width"),
    [("runs", "light", 1280), ("leaderboard", "dark", 390), ("cases", "light", 390), ("cases", "dark", 1280)],
)
def test_nothing_for_axe_to_say_and_no_sideways_scrolling(look, view, scheme, width):
    page = look(
        f"?view={view}&case=b&arm=ce&arm=focal&arm=running",
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
    )
    page.wait_for_timeout(1500)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_token_in_the_link_opens_the_page_and_leaves_the_address(browser, logs):
    token = "correct horse battery"
    server = serve(logs, token=token)
    address = f"http://127.0.0.1:{server.port}/"
    try:
        browser.said.clear()
        page = browser.open(f"{address}?view=data&token={token.replace(' ', '+')}")
        page.locator("#content h2").first.wait_for()
        assert "token" not in page.url
        assert page.evaluate("document.cookie") == ""
        assert browser.said == []
        page.context.close()
        stranger = browser.open(address)
        assert "A token is needed" in stranger.content()
        stranger.context.close()
    finally:
        server.shutdown()
        server.server_close()
