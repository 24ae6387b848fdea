"""A page of the report, opened in a browser that has no window."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rl_suite.report.page import write_report
from rl_suite.run import Run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SWITCHES = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")


@pytest.fixture
def driven(tmp_path: Path) -> Callable[[str], list[str]]:
    """Runs a script at the end of the page of ``tmp_path``; the parts of the title that it sets, split at " | "."""
    if CHROMIUM is None:
        pytest.skip("needs chromium")

    def drive(script: str) -> list[str]:
        page = tmp_path / "driven.html"
        page.write_text(write_report(Run.open(tmp_path)).read_text().replace("</body>", f"{script}</body>"))
        places = (f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--dump-dom", page.as_uri())
        command = [str(CHROMIUM), *SWITCHES, *places]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        assert "CONSOLE" not in done.stderr
        title = re.search(r"<title>(.*)</title>", done.stdout)
        assert title is not None
        return title[1].split(" | ")

    return drive
