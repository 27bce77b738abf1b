"""Keep in a notebook only what a reader needs: no timings, paths or machine details.

Usage: python normalise.py --into FOLDER NOTEBOOK...   (write the normal form into FOLDER)
"""

import argparse
import copy
import hashlib
import re
from collections import Counter
from pathlib import Path
from typing import Any

import nbformat

from shooting.study.storage import atomic_write

KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}\b")  # of an object in memory, another in each run
CELL_METADATA = ("tags", "mystnb", "slideshow", "jupyter")


def normalise(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a copy with fixed kernel metadata, stable cell ids and no execution traces.

    Args:
        notebook: a notebook of format 4.

    Returns:
        The normal form; applying the function twice changes nothing.
    """
    clean = copy.deepcopy(notebook)
    clean.metadata = nbformat.from_dict(KERNEL)
    clean.nbformat, clean.nbformat_minor = 4, 5
    count = 0
    seen: Counter[str] = Counter()
    for cell in clean.cells:
        kept = {key: cell.metadata[key] for key in CELL_METADATA if key in cell.metadata}
        cell.metadata = nbformat.from_dict(kept)
        seen[cell.source] += 1
        named = f"{cell.source}:{seen[cell.source]}"
        cell["id"] = hashlib.sha256(named.encode()).hexdigest()[:8]
        if cell.cell_type == "code":
            count += cell.execution_count is not None
            _normalise_code(cell, count)
    return clean


def _normalise_code(cell: Any, count: int) -> None:
    if cell.execution_count is not None:
        cell.execution_count = count
    cell.outputs = _joined(cell.outputs)
    for output in cell.outputs:
        if "execution_count" in output:
            output.execution_count = cell.execution_count
        if "metadata" in output:
            output.metadata = nbformat.from_dict(
                {key: value for key, value in output.metadata.items() if key == "scrapbook"}
            )
        if isinstance(plain := output.get("data", {}).get("text/plain"), str):
            output.data["text/plain"] = ADDRESS.sub("0x000000", plain)


def _joined(outputs: list[Any]) -> list[Any]:
    """Outputs with neighbouring pieces of one stream joined: where it is cut depends on timing."""
    joined: list[Any] = []
    for output in outputs:
        if joined and "name" in output and output.get("name") == joined[-1].get("name"):
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def text(notebook: nbformat.NotebookNode) -> str:
    """Return the file content of a notebook, ending in one newline."""
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def main() -> None:
    """Write normal forms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("notebooks", nargs="*", type=Path)
    arguments = parser.parse_args()
    for path in arguments.notebooks:
        content = text(normalise(nbformat.read(path, as_version=4)))
        atomic_write(arguments.into / path.name, content.encode())


if __name__ == "__main__":
    main()
