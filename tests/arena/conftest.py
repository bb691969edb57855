"""Takes the fixtures with which tests open a page in Chromium."""

from __future__ import annotations

from support.browser import browser, open_page

__all__ = ["browser", "open_page"]
