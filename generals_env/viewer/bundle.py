"""Makes pages of one file: joins scripts and styles of ``assets`` into one of each, and puts them into a template.

Scripts are ES modules that a browser runs as they are. Here each becomes a function that is called once and returns what the
module exports, in the order of their imports.

Pages of other packages (``generals_env.arena.page``) have assets of their own, and use those of the viewer by their names.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

__all__ = ["asset", "fill_template", "join_scripts", "join_styles"]

VIEWER = "generals_env.viewer"

#: What a page may do: run its own script and style, which are told by their digests, and nothing else.
POLICY = "default-src 'none'; script-src {script}; style-src {style}; base-uri 'none'; form-action 'none'"

#: ``import { a, b } from "./other.js";``, also over several lines.
IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./([a-z]+)\.js";$', re.MULTILINE)
#: ``export class A``, ``export function b``, ``export async function c``, ``export const D``.
EXPORT = re.compile(r"^export (?=(?:class|function|async function|const) (\w+))", re.MULTILINE)


@cache
def asset(name: str, package: str = VIEWER) -> str:
    """Return the text of a file of ``assets`` of a package, or of the viewer's file of that name if the package has none."""
    path = files(package).joinpath("assets", name)
    if not path.is_file():
        path = files(VIEWER).joinpath("assets", name)
    return path.read_text(encoding="utf-8")


def join_scripts(entry: str, package: str = VIEWER) -> str:
    """Return one script that does what the module ``entry`` (a name without ``.js``) does when a page imports it."""
    done: dict[str, str] = {}
    add_script(entry, package, done)
    return '"use strict";\n' + "\n".join(done.values())


def add_script(name: str, package: str, done: dict[str, str]) -> None:
    """Add a module to ``done``, after those that it imports."""
    source = asset(f"{name}.js", package)
    for _, other in IMPORT.findall(source):
        if other not in done:
            add_script(other, package, done)
    exports = EXPORT.findall(source)
    text = EXPORT.sub("", IMPORT.sub(r"const \1 = \2Module;", source))
    done[name] = f"const {name}Module = (() => {{\n{text}\nreturn {{ {', '.join(exports)} }};\n}})();"


def join_styles(names: Iterable[str], package: str = VIEWER) -> str:
    """Return the text of several style sheets (names without ``.css``)."""
    return "\n".join(asset(f"{name}.css", package) for name in names)


def fill_template(text: str, style: str, script: str, parts: Mapping[str, str]) -> str:
    """Return a page: a template with a style, a script, the policy that allows these two only, and other parts.

    Args:
        text: The template, with names of parts in double braces.
        style: The one style sheet of the page.
        script: The one script of the page.
        parts: HTML of the other parts by name; a value is never searched for the names of others.
    """
    parts = {**parts, "policy": POLICY.format(script=digest(script), style=digest(style)), "style": style, "script": script}
    pieces = text.split("{{")
    page = pieces[0] + "".join(parts[name] + rest for name, _, rest in (piece.partition("}}") for piece in pieces[1:]))
    return page.encode("utf-8", "replace").decode()  # half a surrogate pair in a name has no bytes


def digest(text: str) -> str:
    """Return the source expression that allows exactly this inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
