"""Adam and the schedules equal PyTorch's own on a single run, and runs do not touch each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import EXACT, draw, gap, refused

from shooting.optim import Adam, Cosine, Plateau

pytestmark = pytest.mark.usefixtures("float64")


def _train(optimiser, weights, steps, *, seed=0, schedule=None):
    """Steps of a fixed stream of gradients that depend on the weights, so that errors feed back."""
    trail = []
    for k in range(steps):
        for i, w in enumerate(weights):
            w.grad = torch.sin(3 * w.detach()) + draw(seed + 100 * k + i, *w.shape)
        optimiser.step()
        if schedule is not None:
            schedule(k)
        trail.append(torch.cat([w.detach().flatten() for w in weights]))
    return torch.stack(trail)


def _weights(*shapes):
    return [torch.nn.Parameter(draw(50 + i, *s)) for i, s in enumerate(shapes)]


# --- Adam ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9)])
def test_adam_is_torch_adam(weight_decay, betas):
    ours, theirs = _weights((3, 2), (4,), ()), _weights((3, 2), (4,), ())
    how = {"betas": betas, "weight_decay": weight_decay}
    mine = Adam([(str(i), w) for i, w in enumerate(ours)], learning_rate=0.03, **how)
    want = _train(torch.optim.Adam(theirs, lr=0.03, **how), theirs, 200)
    assert gap(_train(mine, ours, 200), want) <= EXACT


@pytest.mark.parametrize(
    ("groups", "reason"),
    [([("w", "x")], "no parameter"), ([("w", "w")], "twice"), ([("w",), ("w",)], "twice")],
)
def test_wrong_groups_are_refused(groups, reason):
    parameters = [("w", _weights((3,))[0])]
    with refused("groups", reason, "named_parameters"):
        Adam(parameters, learning_rate=0.1, groups=groups)
    Adam(parameters, learning_rate=0.1, groups=[("w",)])  # the control


@pytest.mark.parametrize("runs", [(), (2,)])
def test_a_parameter_without_entries_has_finite_gradients(runs):
    empty, full = _weights((*runs, 0, 3), (*runs, 3))
    for weights in ([empty], [empty, full]):
        mine = Adam([(str(i), w) for i, w in enumerate(weights)], learning_rate=0.1, runs=runs)
        for w in weights:
            w.grad = torch.ones_like(w)
        assert mine.finite().shape == runs
        assert bool(mine.finite().all())
        mine.step()
    full.grad[..., 0] = math.nan
    assert not bool(mine.finite().any())  # the control


def test_control_decoupled_decay_is_another_method():
    ours, theirs = _weights((3,)), _weights((3,))
    mine = Adam([("w", ours[0])], learning_rate=0.03, weight_decay=0.1)
    adamw = torch.optim.AdamW(theirs, lr=0.03, weight_decay=0.1)
    assert gap(_train(mine, ours, 50), _train(adamw, theirs, 50)) > 1e-3


def test_each_run_has_its_own_rate():
    together = torch.nn.Parameter(draw(0, 4, 5))
    alone = [torch.nn.Parameter(draw(0, 4, 5)[r].clone()) for r in range(4)]
    rates = [0.1, 0.01, 0.03, 0.5]
    mine = Adam([("w", together)], learning_rate=0.1, runs=(4,), weight_decay=0.01)
    mine.lr.copy_(torch.tensor(rates))
    theirs = [
        torch.optim.Adam([w], lr=r, weight_decay=0.01) for w, r in zip(alone, rates, strict=True)
    ]
    for k in range(50):
        together.grad = draw(k, 4, 5)
        mine.step()
        for r in range(4):
            alone[r].grad = draw(k, 4, 5)[r]
            theirs[r].step()
    assert gap(together, torch.stack([w.detach() for w in alone])) <= EXACT


@settings(max_examples=20)
@given(frozen=st.integers(1, 30), decay=st.sampled_from([0.0, 0.1]))
def test_frozen_entries_stay_and_restart_afresh(frozen, decay):
    w, fresh = _weights((6,))[0], None
    mine = Adam([("w", w)], learning_rate=0.03, weight_decay=decay)
    mine.active["w"][:3] = 0
    start = w.detach().clone()
    for k in range(frozen + 20):
        if k == frozen:
            assert torch.equal(w.detach()[:3], start[:3])
            mine.active["w"].fill_(1)
            fresh = torch.nn.Parameter(start[:3].clone())
            theirs = torch.optim.Adam([fresh], lr=0.03, weight_decay=decay)
        w.grad = draw(k, 6)
        mine.step()
        if k >= frozen:
            fresh.grad = draw(k, 6)[:3]
            theirs.step()
    assert gap(w[:3], fresh) <= EXACT


def test_free_neighbours_of_frozen_entries_train_as_usual():
    w, other = _weights((6,))[0], _weights((6,))[0]
    mine, theirs = Adam([("w", w)], learning_rate=0.03), torch.optim.Adam([other], lr=0.03)
    mine.active["w"][:3] = 0
    for k in range(20):
        w.grad, other.grad = draw(k, 6), draw(k, 6)
        mine.step()
        theirs.step()
    assert gap(w[3:], other[3:]) <= EXACT
    assert gap(w[:3], other[:3]) > 1e-2


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e200])
def test_dead_runs_stay_bit_for_bit(bad):
    """Neither their gradient nor weight decay moves them, and neighbours do not notice."""
    w, clean = (torch.nn.Parameter(draw(0, 3, 4)) for _ in range(2))
    mine, other = (
        Adam([("w", v)], learning_rate=0.1, runs=(3,), weight_decay=0.1) for v in (w, clean)
    )
    before = w.detach().clone()
    for k in range(10):
        clean.grad = draw(k, 3, 4)
        w.grad = clean.grad.clone()
        w.grad[1] = bad
        mine.step(torch.tensor([True, False, True]))
        other.step()
    assert torch.equal(w[1], before[1])
    assert torch.equal(w[[0, 2]], clean[[0, 2]])
    assert not torch.equal(w[0], before[0])


def test_finite_is_per_run():
    w, b = torch.nn.Parameter(torch.zeros(3, 2, 2)), torch.nn.Parameter(torch.zeros(3))
    adam = Adam([("w", w), ("b", b), ("c", torch.nn.Parameter(torch.zeros(3)))],
                learning_rate=0.1, runs=(3,))  # fmt: skip
    w.grad, b.grad = torch.zeros(3, 2, 2), torch.zeros(3)
    assert adam.finite().tolist() == [True, True, True]
    w.grad[1, 0, 1], b.grad[2] = float("nan"), float("inf")
    assert adam.finite().tolist() == [True, False, False]
    single = Adam([("b", b)], learning_rate=0.1)
    assert single.finite().shape == ()
    assert not single.finite()


def test_parameters_without_gradient_are_left_alone():
    w = torch.nn.Parameter(torch.ones(3))
    adam = Adam([("w", w)], learning_rate=0.1, weight_decay=1.0)
    adam.step()
    assert torch.equal(w, torch.ones(3))
    w.grad = torch.ones(3)
    adam.zero_grad()
    assert w.grad is None


def test_state_dict_restores_the_trajectory():
    first, second = _weights((3, 2))[0], _weights((3, 2))[0]
    a = Adam([("w", first)], learning_rate=0.03)
    a.active["w"][0] = 0
    _train(a, [first], 7)
    b = Adam([("w", second)], learning_rate=1.0)
    b.load_state_dict({k: v.clone() for k, v in a.state_dict().items()})
    with torch.no_grad():
        second.copy_(first)
    assert torch.equal(_train(a, [first], 5, seed=9), _train(b, [second], 5, seed=9))


# --- schedules -----------------------------------------------------------------------------------

# values: improvements, stalls within and beyond the relative threshold, zero, negative and NaN
VALUES = st.lists(
    st.one_of(
        st.floats(-2, 2),
        st.sampled_from([1.0, 1.0 - 5e-5, 1.0 - 2e-4, 0.5, 0.0, float("nan"), float("inf")]),
    ),
    min_size=1,
    max_size=40,
)


@given(
    values=VALUES,
    patience=st.integers(0, 4),
    factor=st.sampled_from([0.1, 0.5]),
    lr=st.sampled_from([0.01, 1e-7]),
)
def test_plateau_is_torch_plateau(values, patience, factor, lr):
    w = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.Adam([w], lr=lr)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=factor, patience=patience)
    mine = Plateau(factor=factor, patience=patience, every=1)
    rate = torch.tensor(lr)
    state = mine.start(rate)
    for epoch, value in enumerate(values, 1):
        theirs.step(value)
        rate = mine.rate(state, rate, epoch, torch.tensor(value))
        # products of at most 40 factors: 40 roundings of 1e-16
        assert float(rate) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-14)


def test_plateau_is_per_run_and_waits_between_evaluations():
    mine = Plateau(factor=0.5, patience=1)
    rate = torch.full((3,), 0.1)
    state = mine.start(rate)
    assert torch.equal(mine.rate(state, rate, 1, None), rate)
    for k, value in enumerate([[3, 3, 3], [2, 3, 3], [1, 3, 3], [0.5, 3, 2], [0.2, 3, 3]]):
        rate = mine.rate(state, rate, k, torch.tensor(value, dtype=rate.dtype))
    # run 1 drops after its third and its fifth value, run 2 after its third
    assert rate.tolist() == [0.1, 0.025, 0.05]


def test_control_patience_off_by_one_is_noticed():
    """PyTorch tolerates `patience` bad values and drops at the next one."""
    rates = []
    for patience in (2, 3):
        mine, rate = Plateau(patience=patience), torch.tensor(0.1)
        state = mine.start(rate)
        for epoch in range(4):
            rate = mine.rate(state, rate, epoch, torch.tensor(1.0))
        rates.append(float(rate))
    assert rates == [0.05, 0.1]


@pytest.mark.parametrize("floor", [0.0, 0.001])
def test_cosine_is_torch_cosine(floor):
    w = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([w], lr=0.1)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 30, eta_min=floor)
    mine, rate = Cosine(30, floor=floor), torch.tensor([0.1, 0.2])
    state = mine.start(rate)
    for epoch in range(1, 31):
        w.grad = torch.zeros(1)
        optimiser.step()
        theirs.step()
        rate = mine.rate(state, rate, epoch, None)
        # torch's recursion accumulates a rounding error an epoch
        assert float(rate[0]) == pytest.approx(theirs.get_last_lr()[0], abs=1e-15)
    assert float(rate[1]) == pytest.approx(floor, abs=1e-15)


def test_cosine_formula():
    rate = torch.tensor(0.3)
    mine = Cosine(10, floor=0.1)
    at_five = mine.rate(mine.start(rate), rate, 5, None)
    assert float(at_five) == pytest.approx(0.2, rel=1e-14)
    at_two = mine.rate(mine.start(rate), rate, 2, None)
    assert float(at_two) == pytest.approx(0.1 + 0.1 * (1 + math.cos(math.pi / 5)), rel=1e-14)


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"factor": 0.0}, "0.0"),
        ({"factor": 1.0}, "1.0"),  # a plateau would then change nothing, silently
        ({"factor": math.nan}, "nan"),
        ({"patience": -1}, "patience"),
        ({"patience": 2.5}, "2.5"),
        ({"every": 0}, "every"),  # epoch % 0 would stop the training after its first epoch
        ({"every": True}, "True"),
        ({"threshold": 1.0}, "1.0"),
        ({"threshold": -1e-4}, "-0.0001"),
        ({"min_change": -1.0}, "-1.0"),
    ],
)
def test_plateau_refuses_settings_without_meaning(settings, said):
    with refused(said):
        Plateau(**settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epochs": 0}, "0"),  # would divide by zero in the first epoch
        ({"epochs": 2.5}, "2.5"),
        ({"epochs": 10, "floor": -0.1}, "-0.1"),
        ({"epochs": 10, "floor": math.inf}, "inf"),
        ({"epochs": 10, "every": -1}, "-1"),
    ],
)
def test_cosine_refuses_settings_without_meaning(settings, said):
    with refused(said):
        Cosine(**settings)


def test_control_the_smallest_settings_are_taken():
    Plateau(factor=1e-3, patience=0, every=1, threshold=0.0, min_change=0.0)
    Cosine(1, floor=0.0, every=0)


def test_a_parameter_without_the_run_axes_is_refused():
    """Compiled code would read the gains of a run past their end."""
    shared = torch.nn.Parameter(torch.zeros(4, 2))
    with pytest.raises(
        ValueError, match=r"expected parameter head to lead .* \(2,\), got \(4, 2\)"
    ):
        Adam([("head", shared)], learning_rate=0.1, runs=(2,))


@pytest.mark.parametrize("kind", [torch.bool, torch.int64, torch.float32])
def test_who_takes_part_may_be_said_in_any_type(kind):
    w = torch.nn.Parameter(torch.ones(3, 2))
    w.grad = torch.ones(3, 2)
    Adam([("w", w)], learning_rate=0.1, runs=(3,)).step(torch.tensor([1, 0, 1]).to(kind))
    assert (w != 1).all(1).tolist() == [True, False, True]


def by_the_book(w, mean, square, grad, step, rate, betas=(0.9, 0.999), eps=1e-8):
    """One step of Adam with every factor an array of the weights' shape, no shortcut."""
    t, one = torch.full_like(w, step), torch.ones_like(w)
    gain1, gain2 = (1 - betas[0]) * one, (1 - betas[1]) * one
    first, root = one / (1 - betas[0] ** t), (1 - betas[1] ** t).sqrt()
    mean += torch.sub(grad, mean) * gain1
    square += (grad * grad - square) * gain2
    w -= rate * first * mean / (square.sqrt() / root + eps)


@pytest.mark.parametrize("size", [5, 5000])
def test_long_trainings_keep_the_bits_of_the_formula(size):
    """The committed records hang on them: a shortcut once moved last bits after 160 steps."""
    w = torch.nn.Parameter(draw(0, size).float())
    mine = Adam([("w", w)], learning_rate=0.01)
    book = w.detach().clone()
    mean, square = torch.zeros_like(book), torch.zeros_like(book)
    for step in range(1, 501):
        w.grad = torch.sin(3 * w.detach())
        by_the_book(book, mean, square, torch.sin(3 * book), step, mine.lr)
        mine.step()
        assert torch.equal(w.detach(), book), step


def test_numpy_integers_are_counts_and_booleans_are_not():
    plateau = Plateau(patience=np.int64(3), every=np.int32(2))
    assert (type(plateau.patience), plateau) == (int, Plateau(patience=3, every=2))
    assert Cosine(np.int64(7), every=np.uint8(0)) == Cosine(7)
    for wrong in (True, 1.0, np.float64(2), "3"):
        with refused(repr(wrong)):
            Plateau(patience=wrong)
        with refused(repr(wrong)):
            Cosine(wrong)


def test_a_large_eps_damps_as_in_torch():
    ours, theirs = (torch.nn.Parameter(draw(0, 4)) for _ in range(2))
    ours.grad, theirs.grad = draw(1, 4), draw(1, 4)
    Adam([("w", ours)], learning_rate=0.1, eps=0.5).step()
    torch.optim.Adam([theirs], lr=0.1, eps=0.5).step()
    assert gap(ours, theirs) <= EXACT
