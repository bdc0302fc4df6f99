"""Take the README's picture of a report in a headless Chromium.

python experiments/report/picture.py REPORT/index.html experiments/report/report.png
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

WIDTH, TOP, CASES = 1100, 560, 560


def main() -> None:
    """Photograph the head of the page and its case browser, one above the other."""
    page_file, out = map(Path, sys.argv[1:])
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": TOP})
        page.goto(page_file.resolve().as_uri())
        page.locator(".plot[data-drawn]").first.wait_for()
        head = page.screenshot()
        page.set_viewport_size({"width": WIDTH, "height": CASES})
        page.locator("#title-cases").evaluate("title => title.scrollIntoView()")
        page.wait_for_function("[...document.querySelectorAll('.stack img')].every(image => image.complete)")
        cases = page.screenshot()
        browser.close()
    parts = [Image.open(io.BytesIO(part)).convert("RGB") for part in (head, cases)]
    joined = Image.new("RGB", (WIDTH, TOP + CASES))
    joined.paste(parts[0], (0, 0))
    joined.paste(parts[1], (0, TOP))
    joined.save(out, optimize=True)


if __name__ == "__main__":
    main()
