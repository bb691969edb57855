"""Hooks of mkdocs: two files of the root are pages, and links to other files outside ``docs`` lead to copies of them.

The pages in ``docs`` are read in the repository, too, where a link to a file outside ``docs`` leads there. In the site the
file is copied to ``source/``; a link to a folder or to the README, whose parts the site has on pages, becomes its text.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent

#: Pages of the site that are made of files of the root.
PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}

_LINK = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+[^)#\s]+)(#[^)]*)?\)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are made of files of the root, with links to ``docs`` as the site has them."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the page with links to files of the repository changed to links to their copies."""
    folder = (Path(config.docs_dir) / page.file.src_uri).parent
    to_root = "../" * page.file.src_uri.count("/")

    def change(link: re.Match[str]) -> str:
        text, target, anchor = link.groups(default="")
        path = (folder / target).resolve()
        if path.is_relative_to(config.docs_dir) or not path.exists():
            return link[0]  # mkdocs checks it
        name = path.relative_to(ROOT).as_posix()
        if name in PAGES:
            return f"[{text}]({to_root}{PAGES[name]}{anchor})"
        if path.is_dir() or path.suffix == ".md":
            return text
        copy = f"source/{name}"
        if files.get_file_from_path(copy) is None:
            files.append(File.generated(config, copy, abs_src_path=str(path)))
        return f"[{text}]({to_root}{copy}{anchor})"

    return _LINK.sub(change, markdown)
