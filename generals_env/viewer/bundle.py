"""Joins the scripts and styles of ``assets`` into one of each: pages have no other files.

Scripts are ES modules that a browser runs as they are. Here each becomes a function that is called once and returns what the
module exports, in the order of their imports.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

__all__ = ["asset", "join_scripts", "join_styles"]

#: ``import { a, b } from "./other.js";``, also over several lines.
IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./([a-z]+)\.js";$', re.MULTILINE)
#: ``export class A``, ``export function b``, ``export async function c``, ``export const D``.
EXPORT = re.compile(r"^export (?=(?:class|function|async function|const) (\w+))", re.MULTILINE)


@cache
def asset(name: str) -> str:
    """Return the text of a file of ``assets``."""
    return files("generals_env.viewer").joinpath("assets", name).read_text(encoding="utf-8")


def join_scripts(entry: str) -> str:
    """Return one script that does what the module ``entry`` (a name without ``.js``) does when a page imports it."""
    done: dict[str, str] = {}
    add_script(entry, done)
    return '"use strict";\n' + "\n".join(done.values())


def add_script(name: str, done: dict[str, str]) -> None:
    """Add a module to ``done``, after those that it imports."""
    source = asset(f"{name}.js")
    for _, other in IMPORT.findall(source):
        if other not in done:
            add_script(other, done)
    exports = EXPORT.findall(source)
    text = EXPORT.sub("", IMPORT.sub(r"const \1 = \2Module;", source))
    done[name] = f"const {name}Module = (() => {{\n{text}\nreturn {{ {', '.join(exports)} }};\n}})();"


def join_styles(names: Iterable[str]) -> str:
    """Return the text of several style sheets (names without ``.css``)."""
    return "\n".join(asset(f"{name}.css") for name in names)
