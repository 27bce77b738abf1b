"""Figures of the long range, from synthetic records."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from shooting.study.data.systems import SAMPLES, SYSTEMS, system
from shooting.study.experiments.long_range import NAMES, setting
from shooting.study.figures import long_range as draw


def made(place, model, share=0.5):
    config = setting(place, model)
    path = np.zeros((1, SAMPLES, system(place).dim), np.float32)
    path[0, 150:] = np.nan
    path[0, 100] = 50.0
    followed = np.full(len(config.seeds), share * system(place).horizon)
    return SimpleNamespace(config=config, metrics={"followed": followed}, arrays={"path": path})


def test_paths_have_a_panel_per_model_with_gaps_outside_the_window():
    fig = draw.paths([made("duffing", m) for m in NAMES])
    drawn = [ax for ax in fig.axes if ax.lines]
    assert [ax.get_title(loc="left") for ax in drawn] == list(NAMES.values())
    assert np.isnan(drawn[0].lines[1].get_xdata()).sum() == 52  # 51 missing, one far away
    fig.canvas.draw()


def test_strips_show_shares_of_the_horizon():
    fig = draw.strips({s: [made(s, m, 0.25) for m in NAMES] for s in SYSTEMS})
    assert [ax.get_title(loc="left") for ax in fig.axes] == [s.words for s in SYSTEMS.values()]
    for ax in fig.axes:
        assert len(ax.lines) == 2 * len(NAMES)
        np.testing.assert_allclose(ax.lines[1].get_xdata(), 0.25, rtol=1e-12)  # rounding
    fig.canvas.draw()


def test_every_model_has_a_colour_of_its_own():
    assert set(draw.LOOKS) == set(NAMES)
    assert len({tuple(c) for c in draw.LOOKS.values()}) == len(NAMES)
