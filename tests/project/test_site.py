"""Tests the documentation site: it is built without a warning, loads nothing from the network, and names all public objects."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from support.helpers import PATIENCE
from support.paths import ROOT

#: Packages whose public names have to be on a page of the reference.
PACKAGES = (
    "generals_env",
    "generals_env.recorders",
    "generals_env.recorders.log",
    "generals_env.recorders.stream",
    "generals_env.replay",
    "generals_env.wrappers",
)

#: Elements of a page that a browser loads, with the attribute of their address.
LOADED = {"audio": "src", "iframe": "src", "img": "src", "link": "href", "object": "data", "script": "src", "source": "src"}


class Addresses(HTMLParser):
    """Collects the addresses of everything that a browser loads with a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get(LOADED.get(tag, ""))
        if address:
            self.found.append(address)


def build(config: Path, out: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install generals_env[docs]")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", config, "--site-dir", out]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site."""
    out = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", out)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "WARNING" not in done.stderr
    return out


def test_site_loads_nothing_from_the_network(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    loaded = []
    for page in pages:
        addresses = Addresses()
        addresses.feed(page.read_text())
        loaded += addresses.found
    styles = "".join(path.read_text() for path in site.rglob("*.css"))
    loaded += re.findall(r"url\(['\"]?([^)'\"]+)", styles) + re.findall(r"@import\s+['\"]([^'\"]+)", styles)
    assert [address for address in loaded if re.match(r"(https?:)?//", address)] == []
    assert len(pages) > 20
    assert len(loaded) > 100


def test_site_has_all_pages_and_copies_of_linked_files(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).is_file(), page
    text = (site / "changelog.html").read_text()
    assert "Keep a Changelog" in text
    assert 'href="glossary.html"' in text
    name = "recorders/stream/protocol/experience.proto"
    assert f'href="source/{name}"' in (site / "streaming.html").read_text()
    assert (site / "source" / name).read_bytes() == (ROOT / name).read_bytes()


def test_reference_documents_every_public_name(site: Path) -> None:
    directives = {}
    for page in sorted((ROOT / "docs" / "api").glob("*.md")):
        for name in re.findall(r"^::: ([\w.]+)$", page.read_text(), re.MULTILINE):
            assert name not in directives, f"{name} is on two pages"
            directives[name] = page.with_suffix(".html").name
    public = {name for package in PACKAGES for name in importlib.import_module(package).__all__}
    assert public - {name.rpartition(".")[2] for name in directives} == set()
    for name, page in directives.items():
        text = (site / "api" / page).read_text()
        assert f'id="{name}"' in text, f"{page} does not show {name}"
    assert len(public) > 60


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[a](no_such_page.md)", "'no_such_page.md'"),
        ("[a](glossary.md#no-such-part)", "does not contain an anchor '#no-such-part'"),
        ("[a](/glossary.md)", "absolute link '/glossary.md'"),
        ("::: generals_env.no_such_name", "generals_env.no_such_name could not be found"),
    ],
    ids=["page", "anchor", "absolute", "name"],
)
def test_site_with_a_broken_link_is_not_built(text: str, reason: str, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "glossary.md").write_text("# Glossary\n")
    (docs / "index.md").write_text(f"# Home\n\n{text}\n")
    lines = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[0].splitlines()
    settings = [line for line in lines if not line.startswith(("docs_dir:", "hooks:", "  - tools/"))]
    config = tmp_path / "mkdocs.yml"
    config.write_text("\n".join([*settings, "docs_dir: docs"]).replace('paths: ["."]', f"paths: [{str(ROOT)!r}]"))
    done = build(config, tmp_path / "site")
    assert done.returncode != 0
    assert reason in done.stderr


def test_navigation_names_existing_pages() -> None:
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]
    names = re.findall(r"[\w/-]+\.md", nav)
    assert len(names) == len(set(names))
    assert yaml.safe_load(f"nav:{nav}")["nav"][0] == {"Home": "index.md"}
