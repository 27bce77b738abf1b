"""``python -m shooting new NAME``: the files of an experiment, small ones that work at once.

Templates lie in ``templates`` and are about an experiment called sketch, whose name is replaced.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shooting.study import paths
from shooting.study.storage import atomic_write

TEMPLATES = Path(__file__).with_name("templates")
REGISTRY = Path("shooting/study/experiments/__init__.py")
CHECKSUMS = Path("shooting/study/records/data_checksums.py")
CONTENTS = Path("book/_toc.yml")
LONGEST = 20  # characters of a name
CELL = re.compile(r"^%% (markdown|code)([^|\n]*)(?:\| (.*))?\n", re.MULTILINE)


def new(name: str, root: Path | None = None) -> list[Path]:
    """Write the files of a new experiment, and the lines by which others know it.

    Args:
        name: Its name: of the module, the page and the records.
        root: The checkout; the package's own by default.

    Returns:
        The files, new ones first, relative to the root.

    Raises:
        ValueError: If the name cannot be that of a module, or a file to change is not as expected.
        FileExistsError: If a file of this name is there already.
        NotInCheckoutError: If there is no checkout.
    """
    base = root or paths.book_file("_toc.yml").parents[1]
    fresh = written(check_name(name))
    if present := [str(path) for path in fresh if (base / path).exists()]:
        raise FileExistsError(
            f"expected a name without files yet, got {name!r} with {', '.join(present)}; try "
            "another name"
        )
    edited = {
        REGISTRY: registered(_read(base / REGISTRY), name),
        CHECKSUMS: with_checksum(_read(base / CHECKSUMS), name),
        CONTENTS: with_page(_read(base / CONTENTS), name),
    }
    for path, text in {**fresh, **edited}.items():
        atomic_write(base / path, text.encode())
    return [*fresh, *edited]


def check_name(name: str) -> str:
    """Refuse what cannot be the name of a module, a page and an experiment.

    Raises:
        ValueError: If it is no lower-case name of Python, or so long that lines would not fit.
    """
    fits = re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) and len(name) <= LONGEST
    if not fits or keyword.iskeyword(name):
        raise ValueError(
            f"expected a name in lower case with single underscores, at most {LONGEST} characters, "
            f"got {name!r}; try double_well"
        )
    return name


def named(template: str, name: str) -> str:
    """A template's text with the experiment's name in place of sketch."""
    text = _read(TEMPLATES / f"{template}.txt")
    camel = "".join(word.capitalize() for word in name.split("_"))
    new = {
        "SKETCH": name.upper(),
        "SketchConfig": f"{camel}Config",
        "SketchTask": f"{camel}Task",
        "Sketch": name.replace("_", " ").capitalize(),
        "sketch": name,
    }
    # in one pass, as the new name may hold the word itself
    return re.sub("|".join(new), lambda found: new[found[0]], text)


def written(name: str) -> dict[Path, str]:
    """The new files of an experiment: module, test and page."""
    return {
        Path(f"shooting/study/experiments/{name}.py"): named("experiment", name),
        Path(f"tests/study/experiments/test_{name}.py"): named("test", name),
        Path(f"notebooks/{name}.ipynb"): json.dumps(page(named("page", name)), indent=1) + "\n",
    }


# --- lines in other files ------------------------------------------------------------------


def registered(text: str, name: str) -> str:
    """The registry of experiments with one more."""
    line = f"from shooting.study.experiments.{name} import {name.upper()}\n"
    return _before(_imported(text, line), "    )\n}", f"        {name.upper()},\n", REGISTRY)


def with_checksum(text: str, name: str) -> str:
    """The fingerprints of data with those of one more experiment."""
    template = named("checksum", name)
    config = re.findall(r"config: (\w+)", template)[0]
    text = _imported(text, f"from shooting.study.experiments.{name} import {config}\n")
    text = _imported(
        text, f"from shooting.study.experiments.{name} import target as {name}_target\n"
    )
    return _before(text, "def fingerprints(", template, CHECKSUMS)


def with_page(text: str, name: str) -> str:
    """The table of contents with one more page at the end of the part on experiments."""
    part = re.search(r"  - caption: Experiments\n(?:    .*\n)+", text)
    if part is None:
        raise ValueError(f"expected a part Experiments in {CONTENTS}, found none; restore it")
    return text[: part.end()] + f"      - file: notebooks/{name}\n" + text[part.end() :]


def _imported(text: str, line: str) -> str:
    """A source with one more line among its imports of the study, which stand in order."""
    lines = re.findall(r"^from shooting\.study\S* import (?:\(.*?\)|[^(\n]*)\n", text, re.M | re.S)
    later = next((old for old in lines if old > line), None)
    if not lines:
        raise ValueError(f"expected imports of shooting.study beside {line!r}, found none")
    if later is None:
        return text.replace(lines[-1], lines[-1] + line, 1)
    return text.replace(later, line + later, 1)


def _before(text: str, anchor: str, addition: str, path: Path) -> str:
    if text.count(anchor) != 1:
        raise ValueError(
            f"expected {anchor!r} once in {path}, got it {text.count(anchor)} times; add the lines "
            "of CONTRIBUTING.md by hand"
        )
    return text.replace(anchor, addition + anchor)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


# --- the page ------------------------------------------------------------------------------


def page(text: str) -> dict[str, Any]:
    """A notebook that was not executed yet, from a text in which ``%%`` begins each cell.

    Args:
        text: ``%% markdown``, or ``%% code TAG …``, then ``| {name, caption, alt}`` for a figure.

    Returns:
        The notebook's content, of format 4.5.
    """
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {
        "cells": [_cell(k, *found) for k, found in enumerate(_split(text))],
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _split(text: str) -> Iterator[tuple[str, str, str, str]]:
    """Kind, tags, figure and source of each cell."""
    _, *parts = CELL.split(text)
    for kind, tags, figure, source in zip(*(iter(parts),) * 4, strict=True):
        yield kind, tags, figure or "", source.strip("\n")


def _cell(number: int, kind: str, tags: str, figure: str, source: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"tags": tags.split()}
    if figure:
        about = json.loads(figure)
        image = {"alt": about.pop("alt"), "width": "100%"}
        metadata["mystnb"] = {"figure": about, "image": image}
    lines = source.splitlines(keepends=True)
    cell = {"cell_type": kind, "id": f"cell-{number}", "metadata": metadata, "source": lines}
    return {**cell, "execution_count": None, "outputs": []} if kind == "code" else cell
