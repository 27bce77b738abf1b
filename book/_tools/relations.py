"""Draw book/_static/related.svg: how shooting and its neighbours follow from each other.

``python book/_tools/relations.py`` after a change of this file; a test fails while the two differ.
Lines and letters take the colour of the page's text.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

from shooting.study.storage import atomic_write

TARGET = Path(__file__).resolve().parent.parent / "_static" / "related.svg"
WIDTH, HEIGHT = 800, 430
BOX = (152, 40)  # width and height of a box
LETTER = 6.6  # pixels a letter of a label takes, at most
TITLE = "How shooting relates to its neighbours"


@dataclass(frozen=True)
class Node:
    """A model or a theory.

    Attributes:
        name: Its first line.
        below: Its second line: how its weights depend on depth.
        x: Centre, pixels from the left.
        y: Centre, pixels from the top.
    """

    name: str
    below: str
    x: float
    y: float


@dataclass(frozen=True)
class Edge:
    """One step from a neighbour to another.

    Attributes:
        start: Key of the first node.
        end: Key of the second.
        label: What the step changes, in lines parted by a slash.
        at: Where the middle of the label is.
        loose: Whether it is a likeness only; drawn dashed.
    """

    start: str
    end: str
    label: str
    at: tuple[float, float]
    loose: bool = False


NODES = {
    "resnet": Node("ResNet", "free in each layer", 85, 60),
    "node": Node("NODE, ANODE", "constant", 85, 215),
    "momentum": Node("Momentum ResNet", "free in each layer", 85, 370),
    "principle": Node("maximum principle", "free, found by sweeps", 400, 60),
    "shooting": Node("shooting", "obey optimality", 400, 215),
    "lddmm": Node("LDDMM", "velocities, no weights", 400, 370),
    "galerkin": Node("Galerkin NODE", "in a fixed basis", 715, 60),
    "anodev2": Node("ANODEV2", "obey a chosen law", 715, 215),
    "hamiltonian": Node("Hamiltonian nets", "constant", 715, 370),
}
EDGES = (
    Edge("resnet", "node", "step to zero,/same weights", (85, 137)),
    Edge("resnet", "principle", "penalty, conditions/at the optimum", (242, 60)),
    Edge("node", "shooting", "weights that move,/from particles", (242, 215)),
    Edge("principle", "shooting", "start from the conditions,/unknowns at depth zero", (400, 137)),
    Edge("galerkin", "anodev2", "an equation/instead of a basis", (715, 137)),
    Edge("anodev2", "shooting", "the law derived,/not chosen", (558, 215)),
    Edge("lddmm", "shooting", "kernel of finite rank,/learned landmarks", (400, 293)),
    Edge("momentum", "shooting", "a second slot/as in UpDown", (222, 305), loose=True),
    Edge(
        "hamiltonian", "shooting", "data are Hamiltonian,/not the weights", (578, 305), loose=True
    ),
)


def picture() -> str:
    """The text of the SVG file."""
    parts = [line for edge in EDGES for line in _edge(edge)]
    parts += [line for key, node in NODES.items() for line in _node(node, main=key == "shooting")]
    head = (
        f'<svg class="relations" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{TITLE}" fill="currentColor" font-size="13" text-anchor="middle">'
    )
    return "\n".join([head, f"<title>{TITLE}</title>", ARROW, *parts, "</svg>"]) + "\n"


ARROW = (
    '<defs><marker id="relation" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
    'markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8Z"/></marker></defs>'
)


def _node(node: Node, *, main: bool) -> list[str]:
    w, h = BOX
    return [
        f'<rect x="{node.x - w / 2:g}" y="{node.y - h / 2:g}" width="{w}" height="{h}" rx="5" '
        f'class="box" stroke="currentColor" stroke-width="{2.5 if main else 1}"/>',
        f'<text x="{node.x:g}" y="{node.y - 3:g}" font-weight="600">{escape(node.name)}</text>',
        f'<text x="{node.x:g}" y="{node.y + 13:g}" font-size="12">{escape(node.below)}</text>',
    ]


def _edge(edge: Edge) -> list[str]:
    a, b = NODES[edge.start], NODES[edge.end]
    ends = [_border(a, b), _border(b, a)]
    (x1, y1), (x2, y2) = ends
    dashes = ' stroke-dasharray="5 4"' if edge.loose else ""
    lines = edge.label.split("/")
    wide = LETTER * max(map(len, lines))
    x, y = edge.at
    words = [
        f'<text x="{x:g}" y="{y + 15 * i - 3:g}" font-size="12" font-style="italic">'
        f"{escape(line)}</text>"
        for i, line in enumerate(lines)
    ]
    return [
        f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" stroke="currentColor" '
        f'marker-end="url(#relation)"{dashes}/>',
        f'<rect x="{x - wide / 2:g}" y="{y - 17:g}" width="{wide:g}" height="34" class="ground"/>',
        *words,
    ]


def _border(node: Node, towards: Node) -> tuple[float, float]:
    """Where the line to another node leaves the box, three pixels off it."""
    dx, dy = towards.x - node.x, towards.y - node.y
    w, h = BOX[0] / 2 + 3, BOX[1] / 2 + 3
    scale = min(w / abs(dx) if dx else 9e9, h / abs(dy) if dy else 9e9)
    return round(node.x + scale * dx, 1), round(node.y + scale * dy, 1)


if __name__ == "__main__":
    atomic_write(TARGET, picture().encode())
