"""Pages that play recorded games in a browser, without a network: one self-contained HTML file."""

from generals_env.viewer.page import Page, show, write_page

__all__ = ["Page", "show", "write_page"]
