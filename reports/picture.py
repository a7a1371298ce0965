"""The top of a report as a picture."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from clip_robustness.errors import InputError

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_SIZE = (1240, 1056)
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--hide-scrollbars",
)  # fmt: skip


def browser() -> str | None:
    """The first that is installed."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def picture(report: Path, png: Path) -> Path:
    """Raises `InputError` without a browser, and where it makes no picture."""
    program = browser()
    if program is None:
        raise InputError(f"a picture needs a browser: install one of {', '.join(BROWSERS)}")
    if not report.is_file():
        raise InputError(f"there is no file {report}")
    size = f"--window-size={_SIZE[0]},{_SIZE[1]}"
    command = [program, *QUIET, size, f"--screenshot={png.resolve()}", report.resolve().as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode or not png.is_file():
        raise InputError(f"{program} made no picture: {done.stderr[-500:]}")
    return png
