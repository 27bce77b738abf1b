"""Outputs that an executed page has lost are found, by cell and kind."""

from __future__ import annotations

import nbformat
import outputs
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

STREAM = new_output("stream", name="stdout", text="a")
ASIDE = new_output("stream", name="stderr", text="a")
RESULT = new_output("execute_result", data={"text/plain": "1"})
PICTURE = new_output("display_data", data={"image/svg+xml": "<svg/>", "image/png": ""})


def page(*of_cells) -> nbformat.NotebookNode:
    return new_notebook(
        cells=[new_markdown_cell("# A"), *(new_code_cell(outputs=o) for o in of_cells)]
    )


@pytest.mark.parametrize(
    ("executed", "committed", "lost"),
    [
        ([[PICTURE]], [[PICTURE]], []),
        ([[STREAM]], [[STREAM, PICTURE]], [(2, "image/png", 1), (2, "image/svg+xml", 1)]),
        ([[PICTURE]], [[PICTURE, PICTURE]], [(2, "image/png", 1), (2, "image/svg+xml", 1)]),
        ([[PICTURE], []], [[], [PICTURE]], [(3, "image/png", 1), (3, "image/svg+xml", 1)]),
        ([[]], [[RESULT]], [(2, "text/plain", 1)]),
        ([[]], [[STREAM, STREAM]], [(2, "stdout", 1)]),
        ([[STREAM]], [[STREAM, STREAM]], []),  # cut by timing
        ([[]], [[ASIDE]], []),
        ([[PICTURE]], [[]], []),  # a new one
    ],
)
def test_what_is_lost_is_found(executed, committed, lost):
    assert outputs.lacking(page(*executed), page(*committed)) == lost
