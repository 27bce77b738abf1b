"""The page of checks leads where it says: to a cell with an assertion, its bar and a control."""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "book" / "theory_checks.md"
CHAPTERS = sorted((ROOT / "notebooks").glob("0[1-9]_*.ipynb"))
TESTS = ROOT / "tests" / "study" / "theory"
FOLDERS = (TESTS, ROOT / "tests")  # what the library can do is tested there


class Row(NamedTuple):
    """One check: its number, bars, labels of cells, what its test files are called."""

    number: int
    bars: list[float]
    labels: list[str]
    tests: list[str]


def read(page: str) -> list[Row]:
    rows = []
    for line in page.splitlines():
        if not (found := re.match(r"\| \*\*(\d+)\*\* \|", line)):
            continue
        _, _, claim, _, cells, tests, _ = line.split("|")
        bars = [float(b) for b in re.findall(r"`([\d.]+)`", claim)]
        bars += [10.0 ** int(power) for power in re.findall(r"10\^\{(-?\d+)\}", claim)]
        labels = re.findall(r"\{ref\}`[^`]*<(check-[\w-]+)>`", cells)
        rows.append(Row(int(found[1]), bars, labels, re.findall(r"\w+", tests)))
    return rows


def sections(notebook) -> dict[str, str]:
    """The code between a label at the end of a text cell and the next text cell, by label."""
    found: dict[str, str] = {}
    open_labels: list[str] = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            tail = re.search(r"((?:^\(check-[\w-]+\)=\n?)+)\Z", cell.source, re.M)
            open_labels = re.findall(r"\((check-[\w-]+)\)=", tail[1]) if tail else []
            found.update(dict.fromkeys(open_labels, ""))
        for label in open_labels if cell.cell_type == "code" else []:
            found[label] += cell.source + "\n"
    return found


def numbers(code: str) -> set[float]:
    nodes = ast.walk(ast.parse(code))
    return {
        float(n.value)
        for n in nodes
        if isinstance(n, ast.Constant) and type(n.value) in (int, float)
    }


def problems(row: Row, cells: dict[str, str]) -> list[str]:
    """What a reader who follows the row would miss."""
    missing = [f"no label {label}" for label in row.labels if label not in cells]
    code = [cells[label] for label in row.labels if label in cells]
    missing += ["a cell without assertion" for c in code if "assert " not in c]
    if not any(re.search("control|wrong", c) for c in code):
        missing.append("no control")
    known = set().union(*(numbers(c) for c in code))
    near = (bar for bar in row.bars if not any(math.isclose(bar, n) for n in known))
    return missing + [f"no bar {bar:g}" for bar in near]


@pytest.fixture(scope="module")
def cells() -> dict[str, str]:
    out: dict[str, str] = {}
    for path in CHAPTERS:
        found = sections(nbformat.read(path, as_version=4))
        assert not out.keys() & found.keys()
        out |= found
    return out


ROWS = read(PAGE.read_text(encoding="utf-8"))


def test_every_check_of_the_chapters_is_listed_once():
    assert sorted(r.number for r in ROWS) == [*range(1, 19), *range(24, 41)]


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"C{r.number}")
def test_a_row_leads_to_its_cells_and_tests(row, cells):
    assert row.labels
    assert problems(row, cells) == []
    assert [name for name in row.tests if not any(has(name, folder) for folder in FOLDERS)] == []


def has(name: str, folder: Path) -> bool:
    return (folder / f"test_{name}.py").is_file()


def test_every_label_is_on_the_page(cells):
    assert cells.keys() == {label for row in ROWS for label in row.labels}


def test_docstrings_of_tests_name_checks_that_exist():
    named = set()
    for path in TESTS.glob("test_*.py"):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        named |= {int(n) for n in re.findall(r"\bC(\d+)\b", doc)}
    assert named - {row.number for row in ROWS} == set()
    assert len(named) > 15  # control: the pattern still finds them


@pytest.mark.parametrize(
    ("claim", "label", "complaints"),
    [
        ("order `3.7`", "check-5", []),
        ("order `9.9`", "check-5", ["no bar 9.9"]),
        ("order", "check-55", ["no label check-55", "no control"]),
    ],
)
def test_control_a_row_that_leads_astray_is_found(claim, label, complaints, cells):
    (row,) = read(f"| **5** | {claim} | slip | {{ref}}`there <{label}>` | |")
    assert problems(row, cells) == complaints


def test_control_a_cell_without_control_is_found():
    assert problems(Row(1, [], ["a"], []), {"a": "assert True"}) == ["no control"]
    assert problems(Row(1, [], ["a"], []), {"a": "x = 1  # control"}) == [
        "a cell without assertion"
    ]
