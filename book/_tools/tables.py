"""Sphinx extension: on a phone a table is a list of cards, each value with its column's name."""

import copy
import re
from typing import Any

from bs4 import BeautifulSoup

COLUMNS = 2  # a list fits a phone as it is
TABLE = re.compile(r"<table\b.*?</table>", re.DOTALL)


def labelled(table: str) -> str:
    """A table whose cells know the name of their column, for the style sheet to show.

    A name with a formula, which no attribute can show, stands hidden in the cell.

    Args:
        table: HTML of one table. Without a head of one row, or with few columns, it stays as it is.

    Returns:
        HTML.
    """
    parsed = BeautifulSoup(table, "html.parser")
    heads = parsed.select("thead tr")
    names = [_name(parsed, cell) for cell in heads[0].find_all("th")] if heads else []
    rows = parsed.select("tbody tr")
    if len(heads) != 1 or len(names) < COLUMNS or any(_width(row) != len(names) for row in rows):
        return table
    for row in rows:
        for name, cell in zip(names, row.find_all(("td", "th")), strict=True):
            if name.find(class_="math"):
                cell.insert(0, copy.copy(name))
            elif words := name.get_text(" ", strip=True):
                cell["data-label"] = words
    assert parsed.table is not None
    parsed.table["class"] = [*parsed.table.get("class", []), "cards"]
    return str(parsed)


def _name(parsed: BeautifulSoup, head: Any) -> Any:
    """What a cell of the head holds, formulas included, in an element that may stand twice."""
    name = parsed.new_tag("span", attrs={"class": "column", "hidden": ""})
    name.extend(copy.copy(part) for part in head.contents)
    for part in name.find_all("p"):
        part.unwrap()
    for part in name.find_all(id=True):
        del part["id"]
    return name


def _width(row: Any) -> int:
    return len(row.find_all(("td", "th")))


def _label(_app: Any, _page: str, _template: str, context: dict[str, Any], _tree: Any) -> None:
    if "body" in context:
        context["body"] = TABLE.sub(lambda found: labelled(found[0]), context["body"])


def setup(app: Any) -> dict[str, bool]:
    """Register the extension."""
    app.connect("html-page-context", _label)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
