"""A real browser, for tests of what its pages can do; one for all tests of a process."""

import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MISSING = (
    "there is no Chromium or Chrome on the PATH: install one (on Debian and Ubuntu: "
    "apt install chromium) to run the tests of what a browser does"
)
FOREIGN_NAMES = ("evil.example", "rebind.example")
"""Names that lead to this machine, for this browser only."""

FLAGS = (
    "--no-sandbox",  # tests may run as root; only pages of the tests are opened
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--host-resolver-rules=" + ", ".join(f"MAP {name} 127.0.0.1" for name in FOREIGN_NAMES),
)

IN_A_BROWSER = [pytest.mark.xdist_group("browser"), pytest.mark.asyncio(loop_scope="session")]
"""The marks of a module whose tests ask for `browser`: they share one process of pytest."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A started browser without pages; a test makes a context of its own in it."""
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        pytest.skip(MISSING)
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=executable, args=[*FLAGS])
        yield started
        await started.close()
