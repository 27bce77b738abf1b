"""The figure of the opening chapter: flows above, controls below, arrows for particles alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from shooting import DynamicDirect, DynamicParticles, StaticDirect, UpDown
from shooting.study.figures.opening import TITLES, three_controls
from shooting.study.figures.style import MODEL_COLOURS

PARTICLES = 3


@pytest.fixture
def models():
    field = UpDown(1, 2)
    return {
        "static_direct": StaticDirect(field, seeds=[0]),
        "dynamic_direct": DynamicDirect(field, blocks=5, seeds=[0]),
        "dynamic_particles": DynamicParticles(field, PARTICLES, seeds=[0]),
    }


def test_each_model_has_its_flow_and_its_control(models):
    above, below = np.array(three_controls(models).axes).reshape(2, 3)
    where = "left" if above[0].get_title("left") else "center"  # as the style of the moment has it
    assert [ax.get_title(where) for ax in above] == list(TITLES.values())
    for ax, name in zip(below, models, strict=True):
        assert len(ax.lines) == 2  # theta1 is 1 by 2 here
        assert {to_rgb(line.get_color()) for line in ax.lines} == {to_rgb(MODEL_COLOURS[name])}
    assert np.ptp(below[0].lines[0].get_ydata()) == 0  # a static control is constant
    assert len(np.unique(below[1].lines[0].get_ydata())) == 5
    with torch.no_grad():
        end = models["static_direct"](torch.tensor([[-1.5]]), [0.0, 1.0])[0, -1, 0, 0]
    # default: the same solve, on another grid of output times in single precision
    assert above[0].lines[0].get_ydata()[-1] == pytest.approx(float(end), rel=1e-4)


def test_particles_have_paths_and_arrows(models):
    *others, last = three_controls(models).axes[:3]
    assert [len(ax.texts) for ax in (*others, last)] == [0, 0, PARTICLES]
    assert len(last.lines) == len(others[0].lines) + 2 * PARTICLES  # a path and a start each
