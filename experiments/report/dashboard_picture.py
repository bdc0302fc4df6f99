"""Take the README's picture of the dashboard: the case on which two runs differ most.

python experiments/report/dashboard_picture.py RUNS experiments/report/dashboard.png
"""

import shutil
import subprocess
import sys

from playwright.sync_api import sync_playwright

LOADED = "[...document.querySelectorAll('#case img')].every(image => image.complete && image.naturalWidth)"


def main() -> None:
    """Serve the runs, open the first case of the list, photograph it."""
    runs, out = sys.argv[1:]
    words = [sys.executable, "-m", "segfocal", "dashboard", runs, "--port", "0"]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    address = server.stdout.readline().split()[1]
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1100, "height": 1000})
            page.goto(f"{address}?view=cases&order=difference")
            page.locator("a.case").first.click()
            page.locator("#case img").first.wait_for()
            page.wait_for_function(LOADED)
            page.screenshot(path=out)
            browser.close()
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
