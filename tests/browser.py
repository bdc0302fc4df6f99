"""A headless Chromium of the distribution, offline, for tests that look at pages."""

import shutil

import pytest


def chromium_path():
    """The browser's path, or skip with the reason."""
    pytest.importorskip("playwright", reason="playwright is not installed")
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path:
            return path
    pytest.skip("no Chromium on the PATH: `apt-get install chromium` brings one")


class Browser:
    """Opens pages and gathers what their console says.

    Args:
        offline: Whether the network is off.
    """

    def __init__(self, *, offline=True):
        from playwright.sync_api import sync_playwright

        path = chromium_path()
        self.driver = sync_playwright().start()
        self.program = self.driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        self.offline = offline
        self.said = []

    def open(self, url, **options):
        """Open a page in a context of its own; errors and requests over a network go to ``said``."""
        context = self.program.new_context(offline=self.offline, accept_downloads=True, **options)
        page = context.new_page()
        page.on("console", lambda message: self._note(message))
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        if self.offline:
            page.on("request", lambda request: self._outside(request.url))
        page.goto(url)
        return page

    def close(self):
        """Leave no process behind."""
        self.program.close()
        self.driver.stop()

    def _note(self, message):
        if message.type in ("error", "warning"):
            self.said.append(f"{message.type}: {message.text}")

    def _outside(self, url):
        if not url.startswith(("file:", "data:", "blob:")):
            self.said.append(f"request: {url}")


def violations(page):
    """What axe-core finds, as lines that name rule and place."""
    from axe_playwright_python.sync_playwright import Axe

    # preload would fetch the style sheet, which the page's own policy forbids
    options = {"resultTypes": ["violations"], "preload": False}
    found = Axe().run(page, options=options).response["violations"]
    return [f"{rule['id']}: {node['html'][:120]}" for rule in found for node in rule["nodes"]]
