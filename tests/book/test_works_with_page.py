"""The page on what a block works with: each row names a test that exists, and its lines run."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import torch

ROW = re.compile(r"^\| (.+) \| (.+) \| `([\w./]+)::(\w+)` \|$")


def rows(text: str) -> list[str]:
    """Lines of tables, without heads."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [line for line in lines if not line.startswith("| what ")]


def untested(root: Path, text: str) -> list[str]:
    """Rows that name no test, or one that does not exist."""
    found = []
    for row in rows(text):
        match = ROW.match(row)
        if match is None or match[4] not in functions(root / match[3]):
            found.append(row)
    return found


def functions(path: Path) -> set[str]:
    body = ast.parse(path.read_text(encoding="utf-8")).body if path.is_file() else []
    return {node.name for node in body if isinstance(node, ast.FunctionDef)}


@pytest.fixture(scope="module")
def page(root) -> str:
    return (root / "book" / "works_with.md").read_text(encoding="utf-8")


def test_every_row_names_a_test(root, page):
    assert len(rows(page)) > 20
    assert untested(root, page) == []


def test_every_test_of_the_wrappers_has_a_row(root, page):
    named = {ROW.match(row)[4] for row in rows(page)}
    known = functions(root / "tests" / "test_works_with.py")
    assert {name for name in known if name.startswith("test_")} <= named


def test_control_a_row_without_a_test_is_found(root):
    for place in ("`tests/test_works_with.py::test_gone`", "`tests/gone.py::test_x`", "soon"):
        assert len(untested(root, f"| Lightning | as usual | {place} |")) == 1


# PyTorch's own `vmap` uses what PyTorch is about to drop
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_the_lines_of_the_page_run_as_they_stand(page):
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    scope: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "works_with.md", "exec"), scope)
    assert scope["each"].keys() == scope["found"].keys()
    for name, value in scope["each"].items():
        # float32: rounding of sums over at most a few hundred products
        torch.testing.assert_close(scope["found"][name], value, rtol=1e-4, atol=1e-6)
