"""A notebook as papermill leaves it."""

from __future__ import annotations

import nbformat


def executed(folder, name: str, **stamp):
    metadata = {"papermill": {"end_time": "2026-11-25T10:00:00", "parameters": {}}}
    if stamp:
        metadata["shooting"] = stamp
    notebook = nbformat.v4.new_notebook(metadata=metadata)
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"
