"""A training says once when its steps lose H, and which step would keep it."""

from __future__ import annotations

import warnings

import pytest
import torch
from problems import refused
from square import Memory, Square, build, settings
from torch import nn

from shooting import (
    DynamicParticles,
    NonFiniteError,
    ParticleInit,
    Solver,
    StaticDirect,
    UpDown,
    normal,
)
from shooting.conservation import ConservationWarning, step_for
from shooting.fit import fit
from shooting.watch import LIMIT, Watch

pytestmark = pytest.mark.usefixtures("float64")


def loud(**more):
    return DynamicParticles(
        UpDown(1, 4, sigma="tanh"),
        10,
        init=ParticleInit(p=normal(4.0)),
        seeds=[0, 1],
        **{"seed": 0, **more},
    )


def test_a_training_warns_once_and_names_a_step_that_does():
    with pytest.warns(ConservationWarning) as told:
        result = fit(loud(solver=Solver(step=0.5)), Square((0, 1)), settings(6))
    assert len(told) == 1
    assert told[0].filename == __file__
    words = str(told[0].message)
    step = float(words.partition("Solver(step=")[2].rstrip(")"))
    assert result.drift.max() > LIMIT
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = fit(loud(solver=Solver(step=step)), Square((0, 1)), settings(1))
    assert again.drift.max() < LIMIT
    assert again.drift.shape == (2,)


def test_watching_changes_no_bit(monkeypatch):
    watched, alone = build(seeds=[0, 1]), build(seeds=[0, 1])
    fit(watched, Square((0, 1)), settings(5))
    monkeypatch.setattr(Watch, "look", lambda *_: None)
    monkeypatch.setattr(Watch, "drift", lambda *_: None)
    fit(alone, Square((0, 1)), settings(5))
    for a, b in zip(watched.parameters(), alone.parameters(), strict=True):
        assert torch.equal(a, b)


def test_it_looks_at_powers_of_two_and_the_last_epoch(monkeypatch):
    seen = []
    monkeypatch.setattr(Watch, "drift", lambda *_: seen.append(1))
    watch = Watch(build(seeds=[0]))
    for epoch in range(1, 101):
        before = len(seen)
        watch.look(epoch, 100, torch.ones(1, dtype=torch.bool))
        if len(seen) > before:
            seen[-1] = epoch
    assert seen == [1, 2, 4, 8, 16, 32, 64, 100]


def test_blocks_inside_a_network_are_seen_and_static_ones_have_no_h():
    net = nn.ModuleDict(
        {"a": loud(solver=Solver(step=0.5)), "b": StaticDirect(UpDown(1, 2), seed=0)}
    )
    with Watch(net) as watch:
        assert watch.drift((2,)) is None  # not called yet
        net["a"](torch.zeros(3, 1), [0.0, 1.0])
        net["b"](x=torch.zeros(3, 1), times=[0.0, 1.0])
        assert torch.equal(watch.drift((2,)), net["a"].energy_drift([0.0, 1.0]))
        assert watch.drift((5,)) is None
    assert not net["a"]._forward_pre_hooks
    assert not net["a"]._silent


class Inside(nn.Module):
    """One run, whose block was built as one of a list."""

    def __init__(self, **more):
        super().__init__()
        self.flow = loud(**more)

    def forward(self, x, times):
        return self.flow(x, times).mean(0)

    def penalty(self):
        return self.flow.penalty().mean()


def test_a_block_with_runs_of_its_own_counts_in_a_network_of_one_run():
    net = Inside(solver=Solver(step=0.5))
    with pytest.warns(ConservationWarning):
        result = fit(net, Square(None), settings(1))
    assert torch.equal(result.drift, net.flow.energy_drift([0.0, 1.0]).amax())


def test_the_step_that_is_named_is_shorter_than_those_taken():
    class Fine(Square):
        def error(self, model, x):  # the times ask for steps of a half, whatever the solver's
            return ((model(x, [0.0, 0.5, 1.0])[..., -1, :, :] - x**2) ** 2).mean((-1, -2))

    with pytest.warns(ConservationWarning) as told:
        fit(loud(solver=Solver(step=1.0)), Fine((0, 1)), settings(1))
    assert float(str(told[0].message).partition("Solver(step=")[2].rstrip(")")) < 0.5


def test_the_step_that_is_named_is_that_of_the_worst_block():
    net = nn.ModuleDict(
        {"quiet": build(seeds=[0, 1]), "loud": loud(solver=Solver(step=0.5))}  # quiet: step 0.4
    )
    with Watch(net) as watch:
        for block in net.values():
            block(torch.zeros(3, 1), [0.0, 1.0])
        worst = float(watch.drift((2,)).max())
        with pytest.warns(ConservationWarning) as told:
            watch.look(1, 1, torch.ones(2, dtype=torch.bool))
    assert worst > LIMIT > float(net["quiet"].energy_drift([0.0, 1.0]).max())
    step = float(str(told[0].message).partition("Solver(step=")[2].rstrip(")"))
    assert step == step_for(0.5, worst, LIMIT, 4)
    assert step != step_for(1 / 3, worst, LIMIT, 4)  # control: of the other, three steps


def test_a_training_that_ended_before_its_record_keeps_its_drift():
    saved = Memory()
    first = fit(build(seeds=[0, 1]), Square((0, 1)), settings(3), checkpoint=saved)
    again = fit(
        build(seeds=[0, 1]), Square((0, 1)), settings(3), checkpoint=Memory(saved.states[-1])
    )
    assert torch.equal(again.drift, first.drift)
    # control: the state of an epoch before has none
    assert "drift" in saved.states[-1]
    assert "drift" not in saved.states[0]


def test_the_error_at_the_end_says_what_the_solve_met():
    model = DynamicParticles(
        UpDown(1, 4), 10, init=ParticleInit(p=normal(1e3)), momentum_scale=1.0, seeds=[0, 1]
    )
    with refused("of the last call", "from depth", error=NonFiniteError):
        fit(model, Square((0, 1)), settings(2))


def test_the_drift_is_that_of_the_worst_block_and_failed_runs_say_nothing():
    blocks = {"loud": loud(solver=Solver(step=0.5)), "quiet": build(seeds=[0, 1])}
    net = nn.ModuleDict(blocks)
    with Watch(net) as watch:
        for block in net.values():
            block(torch.zeros(3, 1), [0.0, 1.0])
        assert torch.equal(watch.drift((2,)), net["loud"].energy_drift([0.0, 1.0]))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            watch.look(1, 1, torch.zeros(2, dtype=torch.bool))  # no run is alive
        with pytest.warns(ConservationWarning):  # control
            watch.look(1, 1, torch.ones(2, dtype=torch.bool))
