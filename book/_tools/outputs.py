"""What an executed page lacks of the outputs it is committed with."""

from collections import Counter

import nbformat


def lacking(
    executed: nbformat.NotebookNode, committed: nbformat.NotebookNode
) -> list[tuple[int, str, int]]:
    """Outputs that a page has lost, as it does where drawing is switched off.

    Args:
        executed: the notebook just executed.
        committed: the same cells with the outputs that are stored; none for a new page.

    Returns:
        Number of the cell, counted from 1, kind of the outputs, and how many are missing. What is
        said on the error channel does not count: less of it is better.
    """
    pairs = zip(committed.cells, executed.cells, strict=True)
    lost = ((i, kinds(old) - kinds(new)) for i, (old, new) in enumerate(pairs, 1))
    return [(i, kind, count) for i, missing in lost for kind, count in sorted(missing.items())]


def kinds(cell: nbformat.NotebookNode) -> Counter[str]:
    """How many outputs of each kind a cell has: mime types, and streams by name."""
    found: Counter[str] = Counter()
    for output in cell.get("outputs", []):
        found.update(output.get("data", {}).keys())
        if output.get("name") == "stdout":
            found["stdout"] = 1  # where a stream is cut into pieces depends on timing
    return found
