"""Makes HTML and SVG elements; texts of other people can only become text and values of attributes, never markup."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree.ElementTree import Element, tostring

__all__ = ["Child", "element", "html_of", "plain", "player_name", "short", "table"]

Child = Element | str

MAX_CHARACTERS = 300

#: Control characters and halves of surrogate pairs: HTML has no way to write them.
UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def element(tag: str, *children: Child, **attributes: str) -> Element:
    """Return an element.

    Args:
        tag: Name of the element.
        children: Elements and texts, in their order.
        attributes: Values by name; ``class_`` is ``class``, and ``aria_label`` is ``aria-label``.
    """
    made = Element(tag, {name.rstrip("_").replace("_", "-"): plain(value) for name, value in attributes.items()})
    last: Element | None = None
    for child in children:
        if isinstance(child, Element):
            made.append(child)
            last = child
        elif last is None:
            made.text = (made.text or "") + plain(child)
        else:
            last.tail = (last.tail or "") + plain(child)
    return made


def table(head: Iterable[Child], rows: Iterable[Iterable[Child]], **attributes: str) -> Element:
    """Return a table with a line of headings; the first cell of each row is its heading.

    Args:
        head: Headings of the columns.
        rows: Cells of each row; a ``td`` is taken as it is.
        attributes: Of the table.
    """
    made = element("table", **attributes)
    made.append(element("thead", element("tr", *(element("th", text, scope="col") for text in head))))
    body = element("tbody")
    for first, *others in rows:
        cells = [cell if isinstance(cell, Element) and cell.tag == "td" else element("td", cell) for cell in others]
        body.append(element("tr", element("th", first, scope="row"), *cells))
    made.append(body)
    return made


def player_name(name: str) -> Element:
    """Return the name of a player, whose direction of writing does not reach beyond it; its title is the name, too."""
    name = short(name) if name.strip() else "(no name)"
    return element("bdi", name, class_="name", title=name)


def short(text: str) -> str:
    """Return a text of other people, cut after ``MAX_CHARACTERS``."""
    return text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS] + "\u2026"


def plain(text: str) -> str:
    """Return a text that HTML can hold."""
    return UNWRITABLE.sub("\ufffd", text)


def html_of(elements: Iterable[Element]) -> str:
    """Return the HTML of elements."""
    return "\n".join(tostring(each, encoding="unicode", method="html") for each in elements)
