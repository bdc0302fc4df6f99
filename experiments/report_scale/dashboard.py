"""The dashboard over the runs of measure.py, in a headless Chromium: seconds until one can read it.

    python experiments/report_scale/dashboard.py --runs-dir /tmp/scale

Each visit is a fresh browser profile: nothing is in its cache. Adds one training in progress to the folder
and appends epochs to it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from segfocal.runs import MetricsLog, RunPaths, create_info

RUNNING = "in-progress"
VISITS = 5


def visit(browser: Browser, address: str, view: str) -> tuple[float, float]:
    """Return the seconds until the links answer, and until figure and table are there."""
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    started = time.time()
    page.goto(f"{address}?view={view}")
    page.locator("nav a").first.wait_for(timeout=60_000)
    links = time.time() - started
    page.locator("#content table").first.wait_for(timeout=60_000)
    page.locator("#content .main-svg").first.wait_for(timeout=60_000, state="attached")
    whole = time.time() - started
    page.context.close()
    return links, whole


def follow(browser: Browser, address: str, log: MetricsLog) -> list[float]:
    """Return the seconds from appended epochs to their numbers on the page."""
    page = browser.new_page()
    page.goto(f"{address}?view=runs")
    page.locator("#content table").first.wait_for(timeout=60_000)
    found = []
    for number in range(3):
        epoch = int(time.time() * 10) + number  # unlike any before
        started = time.time()
        log.append({"val/dice": 0.5}, step=epoch, epoch=epoch)
        page.locator("tbody tr").first.locator("td").nth(4).get_by_text(
            f"{epoch:,}".replace(",", "\u202f")
        ).wait_for()
        found.append(time.time() - started)
        time.sleep(0.7)
    page.context.close()
    return found


def peak_mib(process: int) -> float:
    """Return the most memory that a process has held."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def show(name: str, values: list[float]) -> None:
    """Print seconds, the fastest first."""
    print(f"{name:44s} {', '.join(f'{value:.2f}' for value in sorted(values))} s", flush=True)


def main() -> None:
    """Serve, visit, follow."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--runs-dir", type=Path, required=True)
    folder = options.parse_args().runs_dir
    run = RunPaths(folder / RUNNING)
    if not run.info.is_file():
        create_info(run, task="binary", class_names=["a"], seeds={"process": 0})
    log = MetricsLog(run.metrics)
    words = [sys.executable, "-m", "segfocal", "dashboard", str(folder), "--port", "0"]
    started = time.time()
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    address = server.stdout.readline().split()[1]
    show("server answers", [time.time() - started])
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            cold = visit(browser, address, "leaderboard")
            show("first visit, leaderboard: links, whole", list(cold))
            for view in ("leaderboard", "classes"):
                times = [visit(browser, address, view) for _ in range(VISITS)]
                show(f"{view}: links answer", [links for links, _ in times])
                show(f"{view}: table and figure", [whole for _, whole in times])
            show("new epoch on the page", follow(browser, address, log))
            browser.close()
        print(f"server's peak memory {peak_mib(server.pid):.0f} MiB, load average {os.getloadavg()[0]:.1f}")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
