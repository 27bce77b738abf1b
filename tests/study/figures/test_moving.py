"""The moving picture: the frames are the flow, and the drawing is one piece without script."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup

import shooting
from shooting.parametrizations import DynamicParticles
from shooting.study.figures.moving import Frames, film, movie, moving, save_movie


@pytest.fixture(scope="module")
def flow():
    return DynamicParticles(shooting.UpDown(2, 3), 4, seeds=range(2))


@pytest.fixture(scope="module")
def frames(flow):
    points = torch.tensor([[0.1, 0.2], [-1.0, 0.5], [1.0, 1.0]])
    return film(flow, (points[:2], points[2:]), edge=2.0)


def test_frames_are_what_the_model_says(flow, frames):
    corner = torch.tensor([[-2.0, 2.0]])  # first column, last row
    with torch.no_grad():
        path = flow(corner, torch.linspace(0, 1, 11))[0, :, 0].numpy()
        other = flow(corner, torch.linspace(0, 1, 11))[1, :, 0].numpy()
    # 1e-5: float32, batches of another size
    assert np.allclose(frames.mesh[:, -1, 0], path, atol=1e-5)
    assert not np.allclose(frames.mesh[:, -1, 0], other, atol=1e-2)  # control: another run
    assert np.allclose(frames.mesh[0, -1, 0], [-2, 2], atol=1e-6)
    assert [part.shape for part in frames.classes] == [(11, 2, 2), (11, 1, 2)]
    assert frames.particles.shape == frames.momenta.shape == (11, 4, 2)


def test_html_is_small_quiet_and_described(frames):
    html = moving(frames, "flow", caption="A <em>caption</em>.", alt='a "grid" & points')
    assert len(html) < 150_000
    assert not re.search(r"<script|https?://(?!www\.w3\.org/2000/svg)|\son\w+=", html)
    page = BeautifulSoup(html, "html.parser")
    assert [s["aria-label"] for s in page("svg")] == ['a "grid" & points'] * 2
    assert page.select_one(".still animate") is None
    assert len(page.select(".moves circle[r='7']")) == 4
    assert len(page.select(".still circle[r='7']")) == 4 * 4


def test_the_film_starts_and_ends_with_the_flow(frames):
    """Keys of each animation: at rest before and after, as many values as keys."""
    tags = BeautifulSoup(movie(frames, "words"), "html.parser").select("path > animate")
    assert len(tags) == 2 * 13
    for tag in tags:
        values, keys = tag["values"].split(";"), tag["keytimes"].split(";")
        assert len(values) == len(keys) == 11 + 2
        assert values[0] == values[1]
        assert values[-1] == values[-2]
    still = replace(frames, mesh=np.repeat(frames.mesh[:1], 11, 0))  # control: nothing moves
    tag = BeautifulSoup(movie(still, "words"), "html.parser").select_one("path > animate")
    assert len(set(tag["values"].split(";"))) == 1


def test_same_frames_give_the_same_text(frames):
    assert moving(frames, "f", caption="c", alt="a") == moving(frames, "f", caption="c", alt="a")


def test_film_is_written_as_a_file(frames, tmp_path, monkeypatch):
    monkeypatch.delenv("SHOOTING_FIGDIR", raising=False)
    save_movie(frames, "flow", "words")
    monkeypatch.setenv("SHOOTING_FIGDIR", str(tmp_path))
    save_movie(frames, "flow", "words")
    assert [p.name for p in tmp_path.iterdir()] == ["flow.svg"]
    assert (tmp_path / "flow.svg").read_text(encoding="utf-8").startswith("<svg xmlns=")


def test_depths_must_agree(frames):
    with pytest.raises(ValueError, match="same list of depths"):
        Frames(frames.mesh[:5], frames.classes, frames.particles, frames.momenta)
