r"""Sphinx extension: docstrings of the package, written for people, become sound reStructuredText.

The package's docstrings are plain text with backquotes around names. reStructuredText reads more
into them: a norm `|lift|` is a substitution, a star opens emphasis, and a name in backquotes is a
title. So text outside backquotes is escaped, and a name in backquotes becomes a link where the page
has such a name, and code otherwise; formulas between dollars are typeset. Fields of a dataclass are
documented as what they are on the page, arguments of its constructor, so that they get their types.
"""

import re
from collections.abc import Iterable
from dataclasses import is_dataclass
from inspect import getdoc
from typing import Any, get_type_hints

from sphinx.util.typing import stringify_annotation

QUOTED = re.compile(r"(``.+?``|`[^`\n]+`|\$\$.+?\$\$|(?<![`\w$])\$[^$`\n]+\$)", re.DOTALL)
DISPLAYED = re.compile(r"^( *)\$\$(.+?)\$\$", re.DOTALL | re.MULTILINE)
# What a sampler made by a function shows as a default, and what it should show.
SAMPLER = re.compile(r"<function (\w+)\.<locals>\.<lambda>>")
# "`name`: meaning" in a Returns section: napoleon would take the name for a type.
NAMED = re.compile(r"^( +``?\w+``?):", re.MULTILINE)
# A star that begins a line is a list or an argument list; an underscore is special at a word's end.
SPECIAL = re.compile(r"(\\|\||(?<!^)(?<![\s*])\*|(?<=\S )\*|_(?!\w))", re.MULTILINE)


def sound(text: str, linked: Iterable[str]) -> str:
    """A docstring as reStructuredText.

    Args:
        text: The docstring.
        linked: Dotted names on the page; the last part of one in backquotes leads there.

    Returns:
        The same with names linked or set as code, and everything else literal.
    """
    targets = {name.rpartition(".")[2]: name for name in linked}
    parts = QUOTED.split(text)
    parts[::2] = [_literal(part) for part in parts[::2]]
    parts[1::2] = [_quoted(part, targets) for part in parts[1::2]]
    return DISPLAYED.sub(_displayed, "".join(parts))


def _literal(part: str) -> str:
    """Words without markup; a line of an example is code already."""
    return "\n".join(
        line if line.lstrip().startswith((">>> ", "... ")) else SPECIAL.sub(r"\\\1", line)
        for line in part.split("\n")
    )


def _displayed(formula: re.Match[str]) -> str:
    """A formula in a paragraph of its own, as a directive."""
    edge, inner = formula.group(1), " ".join(formula.group(2).split())
    return f"{edge}.. math::\n\n{edge}   {inner}\n"


def _quoted(part: str, targets: dict[str, str]) -> str:
    if part.startswith("$"):
        return part if part.startswith("$$") else f":math:`{part[1:-1]}`"
    name = part.strip("`")
    if part.startswith("``") or name not in targets:
        return f"``{name}``"
    return f":py:obj:`{name} <{targets[name]}>`"


def _documented(app: Any) -> list[str]:
    """Dotted names that the page lists."""
    source = (app.srcdir / "book" / "api.md").read_text(encoding="utf-8")
    return re.findall(r"^\.\. auto(?:class|function|exception):: (\S+)$", source, re.MULTILINE)


def _process(app: Any, what: str, _name: str, obj: Any, _options: Any, lines: list[str]) -> None:
    if what == "class" and (is_dataclass(obj) or hasattr(obj, "_fields")):
        lines[:] = ["Args:" if line == "Attributes:" else line for line in lines]
    text = NAMED.sub(r"\1 –", "\n".join(lines))
    lines[:] = sound(text, app.env.api_names).split("\n")


def _skip(
    _app: Any, _what: str, _name: str, obj: Any, _skipped: bool, _options: Any
) -> bool | None:
    """Fields of a named tuple are arguments already: no second list of them."""
    return True if (getdoc(obj) or "").startswith("Alias for field number") else None


def _properties(app: Any, what: str, _name: str, obj: Any, _options: Any, lines: list[str]) -> None:
    """A property says what it is: napoleon would take a colon in it for the end of a type."""
    if what == "property":
        lines[:] = [*sound(getdoc(obj) or "", app.env.api_names).split("\n"), ""]


def _types(app: Any, what: str, name: str, obj: Any, _options: Any, args: str, _: str) -> Any:
    """Types of arguments stand beside them, those of a constructor too; a result's in the line."""
    found = app.env.temp_data.get("annotations", {})
    if what == "class":  # autodoc leaves these as the strings in the source
        hints = {**get_type_hints(obj), **get_type_hints(obj.__init__)}
        found[name] = {key: stringify_annotation(hint, "smart") for key, hint in hints.items()}
    result = found.get(name, {}).pop("return", None)
    if what == "class":
        return (SAMPLER.sub(r"\1(…)", args), None) if args else None
    return (args, result) if what in ("function", "method") else None


def _prepare(app: Any, *_: Any) -> None:
    app.env.api_names = _documented(app)


def setup(app: Any) -> dict[str, bool]:
    """Register the extension; docstrings are mended before napoleon reads them."""
    app.connect("env-before-read-docs", _prepare)
    app.connect("autodoc-process-docstring", _process, priority=400)
    app.connect("autodoc-process-docstring", _properties, priority=600)
    app.connect("autodoc-skip-member", _skip)
    app.connect("autodoc-process-signature", _types, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
