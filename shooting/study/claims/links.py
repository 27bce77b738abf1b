"""Where a label of the book ends up: addresses of equations, theorems, figures and sections."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from shooting.study.paths import CHECKOUT

LABEL = re.compile(r"^(?:\s*:label: |\(|\$\$ \()(?P<label>[\w.-]+)(?:\)=?)?$")
STATEMENT = re.compile(r"^`{3,}\{prf:(?P<kind>\w+)\} ?(?P<title>.*)$")
HEADING = re.compile(r"^#{1,4} (.+)$")


def source(page: str) -> Path:
    """The file behind a page: `01_x` is a notebook, `book/x` a page without code."""
    inside = f"{page}.md" if page.startswith("book/") else f"notebooks/{page}.ipynb"
    return CHECKOUT / inside


@dataclass(frozen=True)
class Mark:
    """Something on a page that can be linked.

    Attributes:
        anchor: Its id in the built page.
        text: What it is called: a heading, the title of a theorem, "equation", a figure's name.
    """

    anchor: str
    text: str


@functools.cache
def anchors(page: str) -> dict[str, Mark]:
    """Labels and headings of a page, and where each is found in the built page.

    A figure that has not been drawn, because its records are missing, has no id of its own: its
    label then leads to the heading or label before it.

    Args:
        page: As in `Item.see`.

    Raises:
        FileNotFoundError: If there is no such page.
    """
    found: dict[str, Mark] = {}
    section = ""
    for cell in _cells(source(page)):
        for name, mark in _marks("".join(cell["source"])) if _is_text(cell) else ():
            section = name if name == mark.anchor else section
            found.setdefault(name, mark)
        figure = cell["metadata"].get("mystnb", {}).get("figure", {}).get("name")
        if figure:
            found[figure] = Mark(figure if _is_drawn(cell) else section, _figure_name(figure))
    return found


def _figure_name(label: str) -> str:
    words = label.removeprefix("fig-").replace("-", " ")
    return words if words.startswith("fig") else f"figure {words}"


def _marks(text: str) -> Iterator[tuple[str, Mark]]:
    """Each heading and label of a text."""
    called = ""
    for line in text.splitlines():
        if heading := HEADING.match(line):
            called = heading.group(1)
            yield slug(called), Mark(slug(called), called)
        elif statement := STATEMENT.match(line):
            called = statement.group("title") or statement.group("kind")
        elif label := LABEL.search(line):
            name = label.group("label")
            is_equation = name.startswith("eq-")
            yield name, Mark(*((f"equation-{name}", "equation") if is_equation else (name, called)))


def _cells(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells: list[dict[str, Any]] = json.loads(text)["cells"]
        return cells
    return [{"cell_type": "markdown", "metadata": {}, "source": [text]}]


def _is_text(cell: dict[str, Any]) -> bool:
    return bool(cell["cell_type"] == "markdown")


def _is_drawn(cell: dict[str, Any]) -> bool:
    return any(kind.startswith("image/") for o in cell["outputs"] for kind in o.get("data", {}))


def slug(heading: str) -> str:
    """The id that Sphinx gives to a heading."""
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-").lstrip("0123456789-")


def address(see: str) -> str:
    """Relative address of `page#label`, from any page in book/ or notebooks/.

    Raises:
        FileNotFoundError: If there is no such page.
        LookupError: If the page has no such label.
    """
    page, _, label = see.partition("#")
    folder = "" if page.startswith("book/") else "notebooks/"
    known = anchors(page)
    if label and label not in known:
        raise LookupError(f"expected a label of {page}, got {label!r}; try one of {sorted(known)}")
    return f"../{folder}{page}.html" + (f"#{known[label].anchor}" if label else "")


@functools.cache
def title(page: str) -> str:
    """The main heading of a page."""
    text = "\n".join("".join(c["source"]) for c in _cells(source(page)) if _is_text(c))
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    return found.group(1) if found else page


def link(see: str, text: str = "") -> str:
    """HTML link to `page#label`; its text is the page's heading unless given."""
    return f'<a href="{address(see)}">{escape(text or title(see.partition("#")[0]))}</a>'


def links(sees: Sequence[str]) -> str:
    """HTML links to several places, grouped by page: its heading, then what is found there."""
    lines = []
    for page in dict.fromkeys(see.partition("#")[0] for see in sees):
        labels = [label for p, _, label in (s.partition("#") for s in sees) if p == page and label]
        inner = ", ".join(link(f"{page}#{n}", _plain(anchors(page)[n].text)) for n in labels)
        lines.append(f"{escape(title(page))}: {inner}" if inner else link(page))
    return "<br>".join(lines)


def _plain(text: str) -> str:
    return re.sub(r"[$`*\\]", "", text)


def badge(verdict: str) -> str:
    """A verdict, marked as such."""
    return f'<span class="verdict">{escape(verdict)}</span>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, name: str) -> str:
    """An HTML table of cells that are HTML already.

    Args:
        head: Column titles.
        rows: Cells.
        name: Its id, so that it can be linked and filtered.
    """
    top = "".join(f'<th scope="col">{escape(h)}</th>' for h in head)
    body = "\n".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return (
        f'<table class="dataframe texts" id="{name}"><thead><tr>{top}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table>"
    )
