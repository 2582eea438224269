"""A page in a real browser, if installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.report.page.predicted_runs import make_predicted_run
from tests.report.run_files import NOW
from trainer.report.page import write_page

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")
def test_script_runs_without_console_errors(tmp_path: Path) -> None:
    page = write_page(make_predicted_run(tmp_path), NOW)
    assert BROWSER is not None
    result = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--enable-logging=stderr",
            "--v=0",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    assert '<th scope="col" aria-sort="none"><button type="button">' in result.stdout
    assert "CONSOLE" not in result.stderr
