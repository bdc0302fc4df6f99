"""The static report in a real browser, with the network off."""

import pytest
from browser import Browser, violations
from fake_runs import fake_run

from segfocal.__main__ import main

pytestmark = pytest.mark.slow
CLASSES = ("lesion", "<b>vessel")


@pytest.fixture(scope="module")
def browser():
    found = Browser()
    yield found
    found.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Two arms of two seeds with pictures, one run begun and never finished."""
    root = tmp_path_factory.mktemp("browser")
    for seed in range(2):
        fake_run(root / f"logs/ce-{seed}", seed=seed, gamma=0.0, skill=0.4, pictures=True)
        fake_run(root / f"logs/focal-{seed}", seed=seed, gamma=2.0, skill=0.9, pictures=True)
    (root / "logs/begun").mkdir()
    (root / "logs/begun/config.yaml").write_text("seed_everything: 0\n")
    assert main(["report", str(root / "logs"), "--out", str(root / "out")]) == 0
    return f"file://{root}/out/index.html"


@pytest.fixture
def page(browser, report):
    browser.said.clear()
    found = browser.open(report, viewport={"width": 1200, "height": 900})
    yield found
    found.context.close()
    assert browser.said == []


def rows(page, key):
    return page.locator(f"#table-{key} tbody tr:not([hidden])")


def test_every_figure_is_drawn(page):
    for place in page.locator(".plot").all():
        place.scroll_into_view_if_needed()
        place.locator("svg.main-svg").first.wait_for()
    assert page.locator(".plot[data-drawn=light]").count() == page.locator(".plot").count() > 8


def test_tables_sort_and_filter(page):
    head = page.locator("#table-leaderboard th button", has_text="Dice per image")
    head.click()
    assert rows(page, "leaderboard").first.locator("td").nth(1).inner_text() == "ce"
    assert head.locator("xpath=..").get_attribute("aria-sort") == "ascending"
    head.click()
    assert rows(page, "leaderboard").first.locator("td").nth(1).inner_text() == "focal"
    page.get_by_label("Filter Arms, the best first").fill("foc")
    assert rows(page, "leaderboard").count() == 1


def test_a_table_is_copied_as_text(page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("button[data-copy=leaderboard]").click()
    page.locator("#copied-leaderboard", has_text="copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.splitlines()[0].startswith("#\tArm\t")
    assert len(copied.splitlines()) == 3


def test_a_click_leads_to_a_case_and_runs_stand_side_by_side(page):
    cases = page.locator("#case-browser")
    cases.locator("[data-part=list] button", has_text="c").first.click()
    assert cases.locator("[data-part=name]").inner_text() == "c"
    assert cases.locator(".panel").count() == 2
    cases.get_by_label("third run").select_option(label="ce-1")
    cases.get_by_label("fourth run").select_option(label="focal-1")
    assert cases.locator(".panel").count() == 4
    for layer in ("image", "reference", "prediction", "probability", "errors"):
        cases.locator("[data-part=layer]").select_option(layer)
        loaded = "images => images.length > 0 && images.every(image => image.complete && image.naturalWidth)"
        page.wait_for_function(f"({loaded})([...document.querySelectorAll('.stack img')])")


def test_cases_sort_by_score_and_by_difference(page):
    names = page.locator("#case-browser [data-part=list] button span:first-child")
    worst = names.all_inner_texts()
    page.locator("[data-part=sort]").select_option("best")
    assert names.all_inner_texts() == worst[::-1]
    page.locator("[data-part=filter]").fill("b")
    assert names.all_inner_texts() == ["b"]


def test_pictures_zoom_and_move_by_keyboard_and_buttons(page):
    stack = page.locator(".stack").first
    stack.focus()
    page.keyboard.press("+")
    assert page.locator("[data-part=zoom]").inner_text() == "125 %"
    page.keyboard.press("ArrowLeft")
    moved = page.locator(".stack img").first.evaluate("image => image.style.transform")
    assert moved == page.locator(".stack img").last.evaluate("image => image.style.transform")
    assert "translate(20px" in moved
    page.locator("[data-part=reset]").click()
    assert page.locator("[data-part=zoom]").inner_text() == "100 %"


def test_two_runs_show_their_differing_settings(page):
    place = page.locator("#two-runs")
    place.get_by_label("First").select_option(label="ce-0")
    place.get_by_label("Second").select_option(label="focal-0")
    cells = place.locator("tbody tr").all_inner_texts()
    assert [cell.split("\t") for cell in cells] == [["model.loss.init_args.gamma", "0.0", "2.0"]]


def test_a_figure_is_handed_out_as_svg_and_csv(page):
    with page.expect_download() as waited:
        page.locator("button[data-svg=leaderboard]").click()
    assert waited.value.suggested_filename == "leaderboard.svg"
    assert "<svg" in waited.value.path().read_text()
    with page.expect_download() as waited:
        page.get_by_label("CSV of Leaderboard").click()
    assert waited.value.path().read_text().startswith("rank,arm,")


@pytest.mark.parametrize(("look", "width"), [("light", 1200), ("dark", 390)])
def test_nothing_for_axe_to_say_and_no_sideways_scrolling(browser, report, look, width):
    browser.said.clear()
    page = browser.open(report, viewport={"width": width, "height": 800}, color_scheme=look)
    page.locator(f".plot[data-drawn={look}]").first.wait_for()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#theme").click()
    other = "dark" if look == "light" else "light"
    page.locator(f".plot[data-drawn={other}]").first.wait_for()
    page.context.close()
    assert browser.said == []


def test_hostile_names_stay_text(browser, tmp_path):
    owned = "<script>document.title='owned'</script>"
    for seed, name in enumerate(["<img src=x onerror=alert(1)>", f"\u202ea{owned}"]):
        fake_run(tmp_path / f"logs/{seed}", names=[name, "b"], class_names=[name], pictures=True, seed=seed)
    title = f"</title>{owned}"
    assert main(["report", str(tmp_path / "logs"), "--out", str(tmp_path / "out"), "--title", title]) == 0
    browser.said.clear()
    page = browser.open(f"file://{tmp_path}/out/index.html")
    for place in page.locator(".plot").all():
        place.scroll_into_view_if_needed()
        place.locator("svg.main-svg").first.wait_for()
    assert page.title() == title
    assert page.locator("[data-part=list] button").count() == 3  # both runs have a case b
    assert browser.said == []
    page.context.close()


def test_the_curves_page_stands_alone(browser, tmp_path):
    assert main(["curves", "--knee", "0.75", "--out", str(tmp_path / "curves.html")]) == 0
    browser.said.clear()
    page = browser.open(f"file://{tmp_path}/curves.html")
    page.locator(".plot[data-drawn]").first.wait_for()
    assert violations(page) == []
    assert browser.said == []
    page.context.close()
