"""Defines fixtures of tests of pages: one Chromium for a module, and pages of it that note requests and errors."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

__all__ = ["browser", "open_page"]


@pytest.fixture(scope="module")  # not longer: while it is open, its event loop runs in this thread, and tests of asyncio fail
def browser() -> Iterator[Any]:
    """Yield a browser; skip without the program or the library that drives it."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Yield a function that opens a file and waits for the first frame; in the end, no request or error may have come."""
    from support.helpers import PATIENCE  # not above: it imports the package, before conftest has said where kernels are kept

    contexts: list[Any] = []
    seen: list[str] = []
    expected: list[str] = []

    def open_file(path: Path, width: int = 1280, height: int = 800, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        context.set_default_timeout(1000 * PATIENCE)
        page = context.new_page()
        page.on("request", lambda request: seen.append(request.url))
        page.on("console", lambda message: seen.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: seen.append(f"error: {error}"))
        page.on("dialog", lambda dialog: seen.append(f"dialog: {dialog.message}"))
        expected.append(path.as_uri())
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert set(seen) == set(expected)
