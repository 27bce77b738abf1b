"""Sphinx extension: under each figure, moving ones too, its files and the command that redraws it.

A notebook that has just been executed has left SVG, PDF and PNG of each figure in
``$SHOOTING_FIGDIR``; they are copied into the site, and the page shows the SVG, in two versions for
light and dark mode. Committed outputs come without such files: the page then shows the PNG that is
stored in the notebook, and the command alone stands there.

``<figure class="thumb" data-name="flow"></figure>`` on any page becomes a small copy of a figure.
"""

import ast
import base64
import functools
import json
import os
import re
import shutil
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from matplotlib.colors import to_hex

from shooting.study.figures.contrast import readable

FOLDER = "_figures"  # in the site
THUMB = re.compile(r'<figure class="thumb" data-name="([\w-]+)"></figure>')
KINDS = ("svg", "pdf", "png")
GREY = re.compile(r"(?<=[:\" ])#([0-9a-f]{2})\1\1(?=[;\"])")  # as Matplotlib writes colours
WORDS = re.compile(
    r'(<g id="text_\d+">\s*(?:<!--.*?-->\s*)?<g style="fill: )(#[0-9a-f]{6})', re.DOTALL
)
DARK_GROUND, DARK_TEXT = (0x12, 0x12, 0x12), (0xCE, 0xD6, 0xDD)  # of the theme's dark mode
DRAWS = ("save", "save_movie", "show")  # calls that name a figure's files
MOVING = re.compile(r'<figure class="moving" data-name="([\w-]+)">.*?</figure>', re.DOTALL)


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


@functools.cache
def alternatives(notebooks: Path) -> dict[str, str]:
    """What each drawing of a folder of notebooks shows, in words, by the name of its files."""
    found = {}
    for path in sorted(notebooks.glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            words = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt")
            if words and cell["cell_type"] == "code":
                found |= dict.fromkeys(file_names("".join(cell["source"])), str(words))
    return found


def existing(name: str) -> list[Path]:
    """The files of a figure, in the order in which they are offered."""
    folder = os.environ.get("SHOOTING_FIGDIR")
    paths = [Path(folder) / f"{name}.{kind}" for kind in KINDS] if folder else []
    return [path for path in paths if path.is_file()]


def line(page: str, name: str, command: str, kinds: tuple[str, ...] = KINDS) -> str:
    """What stands under a figure, in HTML."""
    up = "../" * page.count("/")
    links = [
        f'<a href="{up}{FOLDER}/{path.name}" aria-label="{name} as {path.suffix[1:].upper()}">'
        f"{path.suffix[1:].upper()}</a>"
        for path in existing(name)
    ]
    start = f"{', '.join(links)}; redraw" if links else f"Redraw as {', '.join(kinds).upper()}"
    return f'<p class="figure-files">{start}: <code>{command}</code></p>'


def picture(page: str, name: str, alt: str) -> str:
    """A drawing as HTML: two images, of which the theme's mode shows one.

    Args:
        page: The page on which it stands.
        name: Of the files.
        alt: What it shows, in words.
    """
    up = "../" * page.count("/")
    images = [
        f'<img class="plot only-{mode}" src="{up}{FOLDER}/{name}{suffix}.svg" loading="lazy" '
        f'alt="{escape(alt, quote=True)}">'
        for mode, suffix in (("light", ""), ("dark", "-dark"))
    ]
    return f'<div class="plot" tabindex="0">{"".join(images)}</div>'


def darkened(svg: str) -> str:
    """A drawing for dark pages: its greys are turned round, its colours stay.

    White becomes the theme's dark background, black its text; what has no colour is black in SVG.
    Words in a colour become light enough to be read.

    Args:
        svg: Text of the file.
    """
    turned = GREY.sub(_turned, svg).replace("<svg ", f'<svg fill="{_grey(0)}" ', 1)
    return WORDS.sub(_lightened, turned)


def _lightened(found: re.Match[str]) -> str:
    return found[1] + to_hex(readable(found[2], _grey(255)))


def _turned(found: re.Match[str]) -> str:
    return _grey(int(found[1], 16))


def _grey(value: int) -> str:
    """The grey of a dark page for one of a light page, from 0 (black) to 255."""
    mixed = (t + (b - t) * value / 255 for t, b in zip(DARK_TEXT, DARK_GROUND, strict=True))
    return "#" + "".join(f"{round(part):02x}" for part in mixed)


def command_of(notebook: Path) -> str:
    """The command that executes a notebook and so redraws its figures."""
    profile = "paper" if os.environ.get("SHOOTING_FIGDIR", "").endswith("paper") else "quick"
    return f"make _build/runs/{profile}/{notebook.name}"


def _add(app: Any, tree: Any) -> None:
    page = app.env.docname
    path = Path(app.env.doc2path(page))
    if path.suffix != ".ipynb":
        return
    for figure in list(tree.findall(nodes.figure)):
        labels = {*figure["ids"], *figure["names"]} & set(figures(path))
        for name in (n for label in labels for n in figures(path)[label]):
            _offer(app, name)
            _show_drawing(figure, page, name)
            figure.parent.insert(
                figure.parent.index(figure) + 1,
                nodes.raw("", line(page, name, command_of(path)), format="html"),
            )


def _show_drawing(figure: Any, page: str, name: str) -> None:
    """Put the drawing in place of the picture that the notebook holds, where there is one."""
    if any(path.suffix == ".svg" for path in existing(name)):
        for image in list(figure.findall(nodes.image)):
            drawing = picture(page, name, str(image.get("alt", "")))
            image.parent.replace(image, nodes.raw("", drawing, format="html"))


def thumbnail(page: str, name: str, *, drawn: bool, alt: str) -> str:
    """A figure made small.

    Args:
        page: The page on which it stands.
        name: Of the files.
        drawn: Whether there is an SVG, in two versions, or the stored PNG alone.
        alt: What it shows, in words.
    """
    start = f'src="{"../" * page.count("/")}{FOLDER}/{name}'
    drawings = {"only-light": ".svg", "only-dark": "-dark.svg"}
    images = [
        f'<img class="{kind}" {start}{suffix}" loading="lazy" alt="{escape(alt, quote=True)}">'
        for kind, suffix in (drawings if drawn else {"stored": ".png"}).items()
    ]
    return f'<figure class="thumb">{"".join(images)}</figure>'


def stored(notebook: Path, name: str) -> bytes | None:
    """The PNG of a figure as a notebook holds it; None if it holds none."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code" and name in file_names("".join(cell["source"])):
            for output in cell["outputs"]:
                if "image/png" in output.get("data", {}):
                    return base64.b64decode("".join(output["data"]["image/png"]))
    return None


def _fill_thumbnails(app: Any, page: str, _template: str, context: dict[str, Any], _t: Any) -> None:
    words = alternatives(Path(app.srcdir) / "notebooks")
    place = "" if app.builder.name == "singlehtml" else page  # which is moved to the root

    def filled(found: re.Match[str]) -> str:
        name = found[1]
        drawn = any(path.suffix == ".svg" for path in existing(name))
        if not drawn:
            _store(app, name)
        _offer(app, name)
        return thumbnail(place, name, drawn=drawn, alt=words.get(name, ""))

    if "body" in context:
        context["body"] = THUMB.sub(filled, context["body"])


def _store(app: Any, name: str) -> None:
    """Write the stored PNG of a figure into the site."""
    notebooks = sorted(Path(app.srcdir).glob("notebooks/*.ipynb"))
    image = next(filter(None, (stored(path, name) for path in notebooks)), None)
    if image is None:
        raise ValueError(f"expected a notebook that draws {name!r}, found none; try another name")
    (Path(app.outdir) / FOLDER).mkdir(exist_ok=True)
    (Path(app.outdir) / FOLDER / f"{name}.png").write_bytes(image)


def _offer(app: Any, name: str) -> None:
    app.env.figure_files = {*getattr(app.env, "figure_files", ()), name}


def _add_to_moving(app: Any, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """A moving figure is raw HTML, and may stand on another page than its notebook's."""

    def with_line(found: re.Match[str]) -> str:
        name = found[1]
        _offer(app, name)
        origins = [n for n in Path(app.srcdir).glob("notebooks/*.ipynb") if saves(n, name)]
        if len(origins) != 1:
            raise ValueError(
                f"expected one notebook that calls save_movie with {name!r}, got "
                f"{[n.name for n in origins]}; give each movie a name of its own"
            )
        return found[0] + line(page, name, command_of(origins[0]), KINDS[:1])

    if "body" in context:
        context["body"] = MOVING.sub(with_line, context["body"])


@functools.cache
def saves(notebook: Path, name: str) -> bool:
    """Whether a notebook writes the files of this name."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    return any(name in file_names(source) for source in code if "save_movie(" in source)


def _copy(app: Any, error: Exception | None) -> None:
    for name in sorted(getattr(app.env, "figure_files", ())) if error is None else ():
        for path in existing(name):
            (Path(app.outdir) / FOLDER).mkdir(exist_ok=True)
            shutil.copy(path, Path(app.outdir) / FOLDER / path.name)
            if path.suffix == ".svg":
                dark = Path(app.outdir) / FOLDER / f"{name}-dark.svg"
                dark.write_text(darkened(path.read_text(encoding="utf-8")), encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Register the extension."""
    app.connect("doctree-read", _add)
    app.connect("html-page-context", _add_to_moving)
    app.connect("html-page-context", _fill_thumbnails)
    app.connect("build-finished", _copy)
    return {"parallel_read_safe": False, "parallel_write_safe": False}
