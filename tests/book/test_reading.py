"""What pages ask of their readers: little code in sight, a picture soon, times that are true.

The measures are those of book/_tools/reading.py; each check has a control that fails it.
"""

from __future__ import annotations

import base64
import json
import re
import statistics
from io import BytesIO
from pathlib import Path

import nbformat
import normalise
import pytest
import reading
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from shooting.study.figures.style import WIDTH

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
AUDIT = ("_claims", "_map", "_report")  # tables, and no chapters
CHAPTERS = [path for path in NOTEBOOKS if not path.stem.endswith(AUDIT)]
TYPED = ("_opening", "_own_model")  # the reader types what they show
WORDS_BEFORE = 120
VISIBLE, USUALLY = 60, 25
DOTS = 110  # an inch, of stored pictures


def load(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def headings(notebook: dict) -> list[str]:
    text = "\n".join(
        "".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "markdown"
    )
    return re.findall(r"^## (.+)$", text, re.M)


def widths(notebook: dict) -> set[int]:
    """Pixels of the pictures stored in a notebook."""
    outputs = [o for c in notebook["cells"] for o in c.get("outputs", [])]
    images = [o["data"]["image/png"] for o in outputs if "image/png" in o.get("data", {})]
    return {Image.open(BytesIO(base64.b64decode("".join(i)))).width for i in images}


def counted(notebook: dict) -> int:
    """Tables whose rows start with 0, 1, 2: an index that says nothing."""
    outputs = [o for c in notebook["cells"] for o in c.get("outputs", [])]
    tables = [
        t
        for o in outputs
        for t in "".join(o.get("data", {}).get("text/html", "")).split("<table")[1:]
    ]
    first = [re.findall(r"<tr[^>]*>\s*<th[^>]*>([^<]*)</th>\s*<td", t) for t in tables]
    return sum(f[:3] == ["0", "1", "2"] for f in first)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_a_chapter_shows_its_finding_and_picture_soon(path):
    notebook = load(path)
    first = "".join(notebook["cells"][0]["source"])
    assert "**" in first, "the finding is set in bold in the first cell"
    assert reading.words(first.split("**")[0]) <= WORDS_BEFORE
    assert reading.measure(notebook).before_picture <= WORDS_BEFORE


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_a_chapter_ends_like_the_others(path):
    found = headings(load(path))
    assert found[-1] == "Things to try"
    assert "What it means" in found or path.stem.endswith(TYPED)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_code_in_sight_is_short_and_fits(path):
    found = reading.measure(load(path))
    assert found.visible <= VISIBLE or path.stem.endswith(TYPED)
    assert found.longest <= reading.COLUMNS


def test_usually_little_code_is_in_sight():
    visible = [reading.measure(load(path)).visible for path in NOTEBOOKS]
    assert statistics.median(visible) <= USUALLY


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_reading_times_are_those_of_words_and_code(path):
    found = reading.measure(load(path))
    assert found.stated == found.minutes


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_a_picture_comes_before_each_long_proof(path):
    assert reading.measure(load(path)).unpictured == 0


def test_writing_a_time_changes_the_time_only(tmp_path):
    page = tmp_path / "page.ipynb"
    text = CHAPTERS[1].read_text(encoding="utf-8")
    page.write_text(text.replace("*Reading time:* ", "*Reading time:* 9"), encoding="utf-8")
    reading.write(page)
    found = reading.measure(load(page))
    assert found.stated == found.minutes
    before = json.loads(reading.TIME.sub("", text))
    after = json.loads(reading.TIME.sub("", page.read_text(encoding="utf-8")))
    assert [c["source"] for c in after["cells"]] == [c["source"] for c in before["cells"]]
    assert normalise.text(normalise.normalise(nbformat.read(page, 4))) == page.read_text("utf-8")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_pictures_have_one_width_and_tables_no_bare_index(path):
    notebook = load(path)
    whole = DOTS * (WIDTH + 0.2)  # padding of a tenth of an inch at both sides
    # a hundredth, which no eye sees in the size of letters: a label may stick out a little
    assert all(abs(width - whole) <= 0.01 * whole for width in widths(notebook))
    assert counted(notebook) == 0


def test_control_a_page_of_the_old_kind_is_noticed():
    small = BytesIO()
    Image.new("RGB", (500, 10)).save(small, format="png")
    table = "<table><tr><th></th><th>a</th></tr>" + "".join(
        f"<tr>\n<th>{k}</th>\n<td>1</td></tr>" for k in range(3)
    )
    outputs = [
        new_output("display_data", {"image/png": base64.b64encode(small.getvalue()).decode()}),
        new_output("display_data", {"text/html": table}),
    ]
    page = new_notebook(
        cells=[
            new_markdown_cell("# Title\n\n" + "word " * 121 + "\n\n*Reading time:* 30 minutes."),
            new_code_cell("\n".join(["x = 1"] * 61), outputs=outputs),
            new_code_cell("y = 1\n" + "z" * 87, metadata={"tags": ["hide-input"]}),
            new_markdown_cell("## Verdict"),
        ]
    )
    found = reading.measure(page)
    assert found.before_picture == 1 + 121 + 4  # title, words, what is said of the time
    assert (found.visible, found.longest) == (61, 87)
    assert (found.stated, found.minutes) == (30, 10)
    assert widths(page) == {500}
    assert counted(page) == 1
    assert headings(page) == ["Verdict"]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Five words of $\\theta(t)$ and text.", 5),
        ("```{math}\n:label: eq-x\n\\alpha beta\n```\nafter", 1),
        ("```{admonition} In this chapter\n*Reading time:* five\n```", 3),
        ("see {doc}`the map <41_map>`", 5),
    ],
)
def test_words_are_those_that_are_read(text, count):
    assert reading.words(text) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("A word $x$ here.", 3 + 2),  # a formula in a line takes as long as two words
        ("$$a = b \\\\ c = d$$", 2 * 20),  # two displayed rows
        ("```{math}\n:label: eq-x\na = b\n```\nafter", 20 + 1),
        ("`````{dropdown} Proof: short\n````{prf:proof}\ntwo words\n````\n`````", 3 * 2),
        ("````{prf:proof}\ntwo $x$ words\n````", 3 * (2 + 2)),  # also unfolded
    ],
)
def test_formulas_and_proofs_take_time(text, count):
    assert reading.pace(reading.HIDDEN.sub(" ", text)) == count


def test_control_a_long_proof_without_a_picture_is_noticed():
    proof = "```{prf:proof}\n" + "word " * (reading.LONG + 1) + "\n```"
    short = "```{prf:proof}\n" + "word " * reading.LONG + "\n```"
    drawing = new_code_cell(outputs=[new_output("display_data", {"image/png": ""})])
    first, *others = new_markdown_cell(proof), new_markdown_cell(short), new_markdown_cell(proof)
    for cells, missed in (
        ([first], 1),
        ([drawing, first], 0),
        ([first, drawing], 1),  # it comes too late
        ([drawing, first, *others], 1),  # one picture serves one long proof
        ([new_markdown_cell("```{figure} a.svg\n```\n" + proof)], 0),
    ):
        assert reading.measure(new_notebook(cells=cells)).unpictured == missed


def test_control_solutions_and_notes_are_looked_up_not_read():
    for title in ("Solution", "What the paper prints"):
        text = f"seen\n```{{dropdown}} {title}\nfive words that nobody reads\n```"
        assert reading.pace(reading.HIDDEN.sub(" ", text)) == 1
