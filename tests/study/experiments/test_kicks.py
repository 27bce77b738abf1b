"""The spiral with kicks: the spiral's training but for what jumps, and rivals of equal size."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from problems import gap, refused

from shooting.study.data.spiral import snippets
from shooting.study.experiments import EXPERIMENTS, kicks, spiral
from shooting.study.experiments.kicks import (
    INNER,
    KicksConfig,
    first_variation,
    grid,
    make_model,
    names,
    numbers,
    setting,
    train,
)
from shooting.study.experiments.spiral import DEPTH, SIMILARITY, TIMES, SpiralConfig, SpiralTask

pytestmark = pytest.mark.usefixtures("float64")
SMALL = KicksConfig(inflation=4, particles=4, seeds=(0, 1), epochs=3, frozen_epochs=2)


def test_without_kicks_it_is_the_spiral():
    shared = {f.name: getattr(SMALL, f.name) for f in fields(SpiralConfig)}
    mine, theirs = train(SMALL), spiral.train(SpiralConfig(**shared))
    assert torch.equal(mine.fit.history, theirs.fit.history)
    assert {**mine.metrics, **theirs.metrics} == mine.metrics
    other = train(replace(SMALL, kicked=True))
    # before the first step no kick acts
    assert gap(other.fit.early[0], mine.fit.early[0]) <= 1e-12
    assert not torch.equal(mine.fit.history[1:], other.fit.history[1:])


def test_kicks_lie_at_the_inner_samples_and_begin_with_zero():
    model = make_model(replace(SMALL, kicked=True))
    assert model.kick_times == INNER == TIMES[1:4]
    assert float(model.kicks.detach().abs().max()) == 0
    released = SpiralConfig.released(inflation=4, particles=4, seeds=(0, 1))
    shared = {f.name: getattr(released, f.name) for f in fields(SpiralConfig)}
    mine, theirs = make_model(KicksConfig(**shared, kicked=True)), spiral.make_model(released)
    assert torch.equal(mine.x, theirs.x)  # on the spiral
    assert torch.equal(mine.lift.weight, theirs.lift.weight)


def test_the_loss_weighs_the_levels_of_r():
    model, task = make_model(replace(SMALL, kicked=True)), SpiralTask(SMALL)
    with torch.no_grad():
        model.kicks.normal_(generator=torch.Generator().manual_seed(0))
    error = SIMILARITY * task.error(model, task.watch)
    rest = task.monitor(model) - error
    assert gap(rest, task.penalty_weight * model.penalty(TIMES)) <= 1e-12
    start = model.field.energy(*model.start())
    assert gap(rest, task.penalty_weight * start) > 1e-4  # control: not R at the start


@pytest.mark.parametrize("kicked", [False, True])
def test_the_first_variation_is_that_of_finite_differences(kicked):
    config = replace(SMALL, kicked=kicked)
    model, task = make_model(config), SpiralTask(config)
    if kicked:
        with torch.no_grad():
            model.kicks.normal_(generator=torch.Generator().manual_seed(0))
    truth = snippets(config.seeds, 20, "test")
    shapes = {n: (2, 4, *s) for n, s in model.field.shapes.items()}
    direction = {n: torch.randn(*s) for n, s in shapes.items()}

    def objective(size):
        moved = {n: size * d for n, d in direction.items()}
        cost, path = kicks._moved_solve(model, truth[:, 0], moved)
        return cost, path

    cost, path = objective(torch.tensor(0.0))
    # both integrate with the same steps
    assert gap(path, model(truth[:, 0], TIMES)) <= 1e-12
    whole = model.penalty(TIMES) if kicked else model.penalty()
    # R is constant on a segment up to the solver's error: 1e-3 where a step meets a fold of ReLU
    assert gap(cost / DEPTH, whole) <= 3e-3
    size = torch.tensor(0.0, requires_grad=True)
    cost, path = objective(size)
    (slope,) = torch.autograd.grad(cost.sum() + path.sum(), size)
    above, below = ((c.sum() + p.sum()) for c, p in map(objective, (1e-5, -1e-5)))
    assert abs(float((above - below).detach() / 2e-5 - slope)) <= 1e-6 * abs(float(slope))
    found = first_variation(config, task, model)
    assert found.shape == (2,)
    assert bool((found > 1).all())  # untrained: the error's slopes are not balanced


def test_rivals_have_the_numbers_next_to_that_with_kicks():
    for alpha in kicks.FACTORS:
        for name in names():
            config = setting(name, "paper", alpha, seeds=(0,))
            given = {
                "blocks": config.blocks,
                "particles": config.particles,
                "kicks": len(INNER) * config.kicked,
            }
            assert make_model(config).count == numbers(config.inflation, **given)
        wanted = numbers(alpha, particles=15, kicks=3)
        for name in names()[2:]:
            found = make_model(setting(name, "paper", alpha, seeds=(0,))).count
            assert abs(found / wanted - 1) < 0.09  # half of what one more column brings


def test_configs_have_one_identity():
    assert replace(SMALL, blocks=3) == SMALL
    direct = KicksConfig(model="dynamic_direct", kicked=True, blocks=2)
    assert (direct.particles, direct.kicked, direct.blocks) == (0, False, 2)
    with refused("'static_direct'"):
        KicksConfig(model="static_direct")
    with refused("blocks"):
        KicksConfig(model="dynamic_direct", blocks=0)
    with refused("'other'"):
        setting("other", "paper", 16)


def test_grid_is_both_protocols_with_all_rivals():
    full = grid("paper")
    assert EXPERIMENTS["kicks"].config is KicksConfig
    assert len(full) == len(set(full)) == 24
    assert {c.protocol for c in full} == {"paper", "released"}
    assert {len(c.seeds) for c in full} == {10}
    assert [c.kicked for c in grid("quick")] == [False, False, True]
