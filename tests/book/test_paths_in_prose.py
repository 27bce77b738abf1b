"""Files that pages name exist: a module that moves must not leave its old address behind."""

from __future__ import annotations

import json
import re
from pathlib import Path

PLACES, KINDS = "tests|shooting|book|notebooks", "py|md|yaml|c|ipynb"
NAMED = re.compile(rf"(?<![\w/.-])(?:{PLACES})/[\w./-]*\.(?:{KINDS})\b")
EXAMPLES = re.compile("double_well|YYYY")  # files that a reader is told to make


def prose(path: Path) -> str:
    """What a page says: the text of a page without code, or of all cells."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells)


def missing(root: Path, text: str) -> list[str]:
    return [n for n in NAMED.findall(text) if not (root / n).exists() and not EXAMPLES.search(n)]


def test_files_that_pages_name_exist(root):
    pages = [*root.glob("*.md"), *root.glob("book/*.md"), *root.glob("notebooks/*.ipynb")]
    pages = [p for p in pages if p.name != "CHANGELOG.md"]  # tells what was, too
    assert len(pages) > 30
    gone = {p.name: found for p in pages if (found := missing(root, prose(p)))}
    assert gone == {}


def test_control_a_file_that_has_gone_is_found(root):
    assert missing(root, "see `tests/test_nothing.py` and shooting/fields.py.") == [
        "tests/test_nothing.py"
    ]
