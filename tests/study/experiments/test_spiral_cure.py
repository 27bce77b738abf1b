"""The spiral with its lift frozen at first: the spiral's training but for what is frozen."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from problems import refused

from shooting.study.experiments import EXPERIMENTS, spiral
from shooting.study.experiments.convex_trap import BOTH
from shooting.study.experiments.spiral import SpiralConfig
from shooting.study.experiments.spiral_cure import SpiralCureConfig, grid, train

pytestmark = pytest.mark.usefixtures("float64")
SMALL = SpiralCureConfig(inflation=4, particles=4, seeds=(0, 1), epochs=3, frozen_epochs=2)


def test_published_setting_is_that_of_the_spiral():
    shared = {f.name: getattr(SMALL, f.name) for f in fields(SpiralConfig)}
    mine, theirs = train(SMALL), spiral.train(SpiralConfig(**shared))
    assert torch.equal(mine.fit.history, theirs.fit.history)
    assert mine.metrics == theirs.metrics
    other = train(replace(SMALL, frozen=BOTH))
    assert torch.equal(mine.fit.early[0], other.fit.early[0])
    assert not torch.equal(mine.fit.history[1:], other.fit.history[1:])


def test_direct_models_are_refused():
    with refused("'static_direct'", "particles"):
        replace(SMALL, model="static_direct")


def test_grid_is_both_protocols_cured_and_not():
    full = grid("paper")
    assert EXPERIMENTS["spiral_cure"].config is SpiralCureConfig
    assert len(full) == len(set(full)) == 8
    assert {type(c) for c in full} == {SpiralCureConfig}
    assert {(c.protocol, c.frozen) for c in full} == {
        (p, f) for p in ("paper", "released") for f in (("x",), BOTH)
    }
    assert {len(c.seeds) for c in full} == {50}
