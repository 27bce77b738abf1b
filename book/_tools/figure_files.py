"""Sphinx extension: under each figure of a notebook its files, and the command that redraws it.

A notebook that has just been executed has left SVG, PDF and PNG of each figure in
``$SHOOTING_FIGDIR``; they are copied into the site. Committed outputs come without such files:
then the command alone stands there.
"""

import ast
import functools
import json
import os
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes

FOLDER = "_figures"  # in the site
KINDS = ("svg", "pdf", "png")
DRAWS = ("save", "save_movie", "show")  # calls that name a figure's files


def file_names(source: str) -> list[str]:
    """Names of the files that a cell writes: literal strings in calls that save a figure.

    Args:
        source: Code of the cell.

    Returns:
        Names without suffix; several of one `show` share a file, joined by hyphens.
    """
    found = []
    for call in (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)):
        if isinstance(call.func, ast.Name) and call.func.id in DRAWS:
            literals = [a.value for a in call.args if isinstance(a, ast.Constant)]
            if names := [str(v) for v in literals if isinstance(v, str)]:
                found.append("-".join(names))
    return found


@functools.cache  # a page may hold several figures
def figures(notebook: Path) -> dict[str, list[str]]:
    """For each label of a figure the names of its files."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    found = {}
    for cell in cells:
        label = cell["metadata"].get("mystnb", {}).get("figure", {}).get("name")
        if label and cell["cell_type"] == "code":
            found[label] = file_names("".join(cell["source"]))
    return found


def existing(name: str) -> list[Path]:
    """The files of a figure, in the order in which they are offered."""
    folder = os.environ.get("SHOOTING_FIGDIR")
    paths = [Path(folder) / f"{name}.{kind}" for kind in KINDS] if folder else []
    return [path for path in paths if path.is_file()]


def line(page: str, name: str, command: str) -> str:
    """What stands under a figure, in HTML."""
    up = "../" * page.count("/")
    links = [
        f'<a href="{up}{FOLDER}/{path.name}" aria-label="{name} as {path.suffix[1:].upper()}">'
        f"{path.suffix[1:].upper()}</a>"
        for path in existing(name)
    ]
    start = f"{', '.join(links)}; redraw" if links else "Redraw as SVG, PDF, PNG"
    return f'<p class="figure-files">{start}: <code>{command}</code></p>'


def _add(app: Any, tree: Any) -> None:
    page = app.env.docname
    path = Path(app.env.doc2path(page))
    if path.suffix != ".ipynb":
        return
    profile = "paper" if os.environ.get("SHOOTING_FIGDIR", "").endswith("paper") else "quick"
    suffix = " PROFILE=paper" if profile == "paper" else ""
    command = f"make _build/runs/{profile}/{path.name}{suffix}"
    for figure in list(tree.findall(nodes.figure)):
        labels = {*figure["ids"], *figure["names"]} & set(figures(path))
        for name in (n for label in labels for n in figures(path)[label]):
            app.env.figure_files = {*getattr(app.env, "figure_files", ()), name}
            figure.parent.insert(
                figure.parent.index(figure) + 1,
                nodes.raw("", line(page, name, command), format="html"),
            )


def _copy(app: Any, error: Exception | None) -> None:
    for name in sorted(getattr(app.env, "figure_files", ())) if error is None else ():
        for path in existing(name):
            (Path(app.outdir) / FOLDER).mkdir(exist_ok=True)
            shutil.copy(path, Path(app.outdir) / FOLDER / path.name)


def setup(app: Any) -> dict[str, bool]:
    """Register the extension."""
    app.connect("doctree-read", _add)
    app.connect("build-finished", _copy)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
