"""The figures of the opening chapter: the idea; flows, controls, arrows for particles alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from shooting import DynamicDirect, DynamicParticles, StaticDirect, UpDown
from shooting.study.data.functions import FUNCTIONS, grid_points
from shooting.study.figures.opening import RIDERS, TITLES, idea, numbers, three_controls
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


@pytest.fixture
def postcard():
    return DynamicParticles(UpDown(1, 4), 2, seeds=[0, 1])


def test_the_idea_shows_every_learned_number_once(postcard):
    with torch.no_grad():
        rows = numbers(postcard, 1)
        shown = np.sort(np.concatenate(list(rows.values())))
        parts = dict(postcard.named_parameters()) | {"p": postcard.momentum_scale * postcard.p}
    learned = torch.cat([part[1].detach().flatten() for part in parts.values()])
    assert len(shown) == postcard.count
    np.testing.assert_array_equal(shown, np.sort(learned.numpy()))
    with torch.no_grad():  # control: another run has other numbers
        assert not np.array_equal(
            shown, np.sort(np.concatenate(list(numbers(postcard, 0).values())))
        )


def test_the_idea_shows_all_weights_and_data_that_end_where_the_model_sends_them(postcard):
    fig = idea(postcard, FUNCTIONS["cubic"], run=1)
    cells, weights, riders = fig.axes
    assert np.isfinite(np.ma.filled(cells.collections[0].get_array(), np.nan)).sum() == 28
    assert len(weights.lines) == 4 + 1 + 4 + 4 + 16  # entries of theta1, b1, theta2, b2, theta3
    with torch.no_grad():
        ends = postcard(grid_points(RIDERS), [0.0, 1.0])[1, -1, :, 0]
    drawn = [line.get_ydata()[-1] for line in riders.lines[:RIDERS]]
    # default: the same solve, on another grid of output times in single precision
    np.testing.assert_allclose(drawn, ends, rtol=1e-4, atol=1e-5)
    wanted = riders.lines[-1].get_ydata()
    np.testing.assert_allclose(wanted, grid_points(RIDERS)[:, 0] ** 3, rtol=1e-6)
    assert np.abs(drawn - wanted).max() > 0.1  # control: an untrained model misses them
