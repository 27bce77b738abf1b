"""What a page asks of its reader: code in sight, words before the first picture, minutes.

Usage: python reading.py NOTEBOOK...   (a line for each; --write: pages state their time)
"""

import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import normalise

FOLDED = {"hide-input", "remove-input", "hide-cell", "remove-cell"}
COLUMNS = 86  # of code that is not cut at 1400 pixels
WORDS_A_MINUTE = 200
INLINE, ROW = 2, 20  # words that a formula in a line, and a row of a displayed one, take as long as
SLOWLY = 3  # a proof is followed line by line, at a third of the pace
LINES_A_MINUTE = 10  # of code in sight
STEP = 5  # minutes to which a time is rounded up
LONG = 160  # words of a proof, its formulas counted: at most half a printed page
TIME = re.compile(r"\*Reading time:\* (\d+) minutes")
PICTURES = ("image/png", "image/svg+xml")
# What is no running text: directives' fences and options, formulas, glued keys, addresses
NO_TEXT = re.compile(
    r"^\s*[`:]{3,}[^\n]*$|^\s*:[\w-]+:[^\n]*$|\$\$[^$]*\$\$|\$[^$\n]*\$|\{[\w:]+\}|\]\([^)\n]*\)",
    re.M,
)
MATHS = re.compile(r"^`{3,}\{math\}.*?^`{3,}\s*$", re.M | re.S)
SHOWN = re.compile(r"^`{3,}\{math\}\n(?P<a>.*?)^`{3,}\s*$|\$\$(?P<b>.*?)\$\$", re.M | re.S)
PROOF = re.compile(
    r"^(?P<fence>`{3,})\{(?:dropdown\} *Proof|prf:proof\}).*?^(?P=fence)\s*$", re.M | re.S
)
FIGURE = r"\{(?:glue:)?figure\}"
INNER = re.compile(r"(?<!\$)\$[^$\n]+\$(?!\$)")
# a reader of a chapter reads its proofs, also folded ones; solutions and notes are looked up
HIDDEN = re.compile(r"^(?P<fence>`{3,})\{dropdown\}(?! *Proof).*?^(?P=fence)\s*$", re.M | re.S)


@dataclass(frozen=True)
class Measures:
    """What a page asks of its reader.

    Attributes:
        visible: Lines of code that are not folded.
        longest: Characters of the longest line of code, folded ones included.
        before_picture: Words before the first picture; None without one.
        minutes: For words, formulas, proofs and code in sight, rounded up to five.
        stated: Minutes that the page states; None if it states none.
        unpictured: Long proofs without a picture between the long proof before and them.
    """

    visible: int
    longest: int
    before_picture: int | None
    minutes: int
    stated: int | None
    unpictured: int


def words(text: str) -> int:
    """Number of words of running text: no formulas, no options, no addresses."""
    return len(re.findall(r"[^\W_]+", NO_TEXT.sub(" ", MATHS.sub(" ", text))))


def formulas(text: str) -> int:
    """Words that the formulas of a text take as long as: by the row where displayed."""
    shown = [m["a"] or m["b"] or "" for m in SHOWN.finditer(text)]
    rows = sum(1 + body.count("\\\\") for body in shown)
    return ROW * rows + INLINE * len(INNER.findall(SHOWN.sub(" ", text)))


def pace(text: str) -> int:
    """Words that a text takes as long as: with its formulas, and proofs read slowly."""
    proofs = sum(words(m[0]) + formulas(m[0]) for m in PROOF.finditer(text))
    plain = PROOF.sub(" ", text)
    return words(plain) + formulas(plain) + SLOWLY * proofs


def measure(notebook: dict[str, Any]) -> Measures:
    """Measure an executed notebook."""
    cells = notebook["cells"]
    texts = ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"]
    code = [c for c in cells if c["cell_type"] == "code"]
    visible = sum(len(_lines(c)) for c in code if not FOLDED & set(c["metadata"].get("tags", [])))
    read = sum(pace(HIDDEN.sub(" ", text)) for text in texts)
    minutes = read / WORDS_A_MINUTE + visible / LINES_A_MINUTE
    stated = TIME.search("\n".join(texts))
    return Measures(
        visible=visible,
        longest=max((len(line) for c in code for line in _lines(c)), default=0),
        before_picture=_before_picture(cells),
        minutes=STEP * math.ceil(minutes / STEP),
        stated=int(stated[1]) if stated else None,
        unpictured=_unpictured(cells),
    )


def _lines(cell: dict[str, Any]) -> list[str]:
    return [line for line in "".join(cell["source"]).splitlines() if line.strip()]


def _before_picture(cells: list[dict[str, Any]]) -> int | None:
    count = 0
    for cell in cells:
        if cell["cell_type"] == "markdown":
            text = "".join(cell["source"])
            head, *figure = re.split(FIGURE, text, maxsplit=1)
            count += words(head)
            if figure:
                return count
        elif any(_is_picture(output) for output in cell["outputs"]):
            return count
    return None


def _unpictured(cells: list[dict[str, Any]]) -> int:
    seen, count = False, 0
    for cell in cells:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code":
            seen |= any(_is_picture(output) for output in cell["outputs"])
            continue
        for found in re.finditer(f"{PROOF.pattern}|(?P<figure>{FIGURE})", text, PROOF.flags):
            if found["figure"]:
                seen = True
            elif words(found[0]) + formulas(found[0]) > LONG:
                count, seen = count + (not seen), False
    return count


def _is_picture(output: dict[str, Any]) -> bool:
    data = output.get("data", {})
    html = "".join(data.get("text/html", ""))
    return any(kind in data for kind in PICTURES) or "<figure" in html or "<svg" in html


def lines(paths: list[Path]) -> Iterator[str]:
    """A line for each page."""
    for path in paths:
        found = measure(json.loads(path.read_text(encoding="utf-8")))
        yield (
            f"{path.stem:28s} visible {found.visible:4d}  longest {found.longest:4d}  "
            f"words before a picture {found.before_picture!s:>5}  "
            f"long proofs without one {found.unpictured}  "
            f"minutes {found.minutes:3d} (stated {found.stated})"
        )


def write(path: Path) -> None:
    """Make a page state its reading time, and keep its normal form (ids are of the text)."""
    text = path.read_text(encoding="utf-8")
    stated = f"*Reading time:* {measure(json.loads(text)).minutes} minutes"
    page = nbformat.reads(TIME.sub(stated, text), as_version=4)
    path.write_text(normalise.text(normalise.normalise(page)), encoding="utf-8")


if __name__ == "__main__":
    pages = [Path(name) for name in sys.argv[1:] if name != "--write"]
    if "--write" in sys.argv:
        for page in pages:
            write(page)
    print("\n".join(lines(pages)))
