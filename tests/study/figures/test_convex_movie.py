"""The moving convex trap: what moves are the filmed curves, and where they bend downwards."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
from bs4 import BeautifulSoup

from shooting.study.data.functions import BOUND
from shooting.study.experiments.convex_trap import TrapConfig, marks
from shooting.study.figures.convex_movie import STILLS, movie, moving, save_movie

X = np.linspace(-BOUND, BOUND, 101)


def filmed(bend):
    """A parabola that turns over during the training, or stays."""
    config = TrapConfig(film=True, seeds=(0, 3))
    turn = np.linspace(1, bend, len(marks(config)))[:, None]
    film = np.repeat((2.5 + 0.2 * turn * X**2)[None], 2, 0)
    return SimpleNamespace(config=config, arrays={"film": film.astype(np.float32)})


@pytest.fixture(scope="module")
def rows():
    return [("stays", filmed(1.0), 0), ("turns <over>", filmed(-1.0), 1)]


def length(pieces):
    """How much of a path is drawn."""
    numbers = np.array(re.findall(r"-?\d+", pieces), dtype=float).reshape(-1, 2, 2)
    return float(np.linalg.norm(numbers[:, 1] - numbers[:, 0], axis=-1).sum())


def test_bends_are_marked_when_they_are_there(rows):
    panels = BeautifulSoup(movie(rows, "words", last=490), "html.parser").select("svg > g")
    marked = []
    for panel in panels:
        curve, bent = panel.select("animate")
        for tag in (curve, bent):
            assert len(tag["values"].split(";")) == len(tag["keytimes"].split(";")) == 49 + 2
        shapes = {re.sub(r"-?\d+", "", v) for v in bent["values"].split(";")}
        assert len(shapes) == 1, "frames must be alike to turn into each other"
        marked.append([length(v) for v in bent["values"].split(";")])
    assert max(marked[0]) == 0
    assert marked[1][0] == 0
    assert marked[1][-1] > 300


def test_html_is_small_quiet_and_described(rows):
    html = moving(rows, "trap", caption="A <em>caption</em>.", alt='a "curve" & points')
    assert len(html) < 150_000
    assert not re.search(r"<script|https?://(?!www\.w3\.org/2000/svg)|\son\w+=", html)
    page = BeautifulSoup(html, "html.parser")
    assert [s["aria-label"] for s in page("svg")] == ['a "curve" & points'] * 2
    assert page.select_one(".still animate") is None
    assert len(page.select(".still > g")) == len(rows) * len(STILLS)
    assert page.select(".moves text")[1].text == "turns <over>"


def test_the_drawing_is_saved_where_figures_go(rows, tmp_path, monkeypatch):
    monkeypatch.delenv("SHOOTING_FIGDIR", raising=False)
    save_movie(rows, "trap", "words")
    monkeypatch.setenv("SHOOTING_FIGDIR", str(tmp_path))
    save_movie(rows, "trap", "words")
    assert [p.name for p in tmp_path.iterdir()] == ["trap.svg"]
    assert (tmp_path / "trap.svg").read_text() == movie(rows, "words")
