"""Runge-Kutta: the order of every tableau, outputs exactly where asked, torchdiffeq's numbers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from problems import EXACT, fitted_order, gap, refused
from torchdiffeq import odeint

from shooting.solvers import TABLEAUS, Grid, make_grid, rk_step, runge_kutta

pytestmark = pytest.mark.usefixtures("float64")
GAPS = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=5)


def logistic(t, state):
    """y' = (1 + t) y (1 - y), with a known solution, nonlinear and depending on time."""
    (y,) = state
    return ((1 + t) * y * (1 - y),)


def logistic_solution(t: float, start: torch.Tensor) -> torch.Tensor:
    e = math.exp(t + t * t / 2)
    return start * e / (1 + start * (e - 1))


@pytest.mark.parametrize("name", sorted(TABLEAUS))
def test_order(name):
    start = torch.tensor([0.1, 0.3, 0.7])
    steps = [8, 16, 32, 64]
    errors = []
    for n in steps:
        grid = make_grid([0, 1], step=1 / n)
        (last,) = runge_kutta(logistic, (start,), grid, TABLEAUS[name])[-1]
        errors.append(float((last - logistic_solution(1.0, start)).abs().max()))
    # the fitted slope approaches the order from n = 8 on; a wrong weight loses a whole order
    assert abs(fitted_order(errors, steps) - TABLEAUS[name].order) < 0.15


@pytest.mark.parametrize("name", sorted(TABLEAUS))
def test_tableau_conditions(name):
    """The order conditions up to the stated order, in exact-enough arithmetic."""
    t = TABLEAUS[name]
    conditions = {
        1: [(sum(t.b), 1)],
        2: [(sum(b * c for b, c in zip(t.b, t.c, strict=True)), 1 / 2)],
        3: [(sum(b * c**2 for b, c in zip(t.b, t.c, strict=True)), 1 / 3)],
        4: [(sum(b * c**3 for b, c in zip(t.b, t.c, strict=True)), 1 / 4)],
    }
    for order in range(1, t.order + 1):
        for found, wanted in conditions[order]:
            assert found == pytest.approx(wanted, abs=1e-15)  # sums of four fractions
    if t.order < 4:
        assert any(abs(a - b) > 0.01 for a, b in conditions[t.order + 1])


@pytest.mark.parametrize(
    ("ours", "theirs"), [("rk4", "rk4"), ("euler", "euler"), ("midpoint", "midpoint")]
)
def test_equal_to_torchdiffeq(ours, theirs):
    start, times = torch.tensor([0.1, 0.3, 0.7]), torch.tensor([0.0, 0.25, 1.0])
    found = runge_kutta(logistic, (start,), make_grid(times, step=0.125), TABLEAUS[ours])
    wanted = odeint(
        lambda t, y: logistic(float(t), (y,))[0],
        start,
        times,
        method=theirs,
        options={"step_size": 0.125},
    )
    assert gap(torch.stack([s[0] for s in found]), wanted) <= EXACT


def test_classical_is_not_what_torchdiffeq_calls_rk4():
    start, grid = torch.tensor([0.1, 0.3, 0.7]), make_grid([0, 1], step=0.25)
    ends = [runge_kutta(logistic, (start,), grid, TABLEAUS[n])[-1][0] for n in ("rk4", "classical")]
    assert gap(*ends) > 1e-7  # both are of order 4, but not the same method


def test_a_step_of_the_three_eighths_rule_by_hand():
    """Stages at 0, 1/3, 2/3, 1 with weights 1, 3, 3, 1 over 8, on y' = t^3 (exact) and y' = y."""
    (y,) = rk_step(
        lambda t, s: (torch.tensor(t**3),), 0.0, 1.0, (torch.tensor(0.0),), TABLEAUS["rk4"]
    )
    assert float(y) == pytest.approx(1 / 4, abs=1e-15)
    (y,) = rk_step(lambda t, s: s, 0.0, 1.0, (torch.tensor(1.0),), TABLEAUS["rk4"])
    assert float(y) == pytest.approx(1 + 1 + 1 / 2 + 1 / 6 + 1 / 24, abs=1e-15)


@given(gaps=GAPS, start=st.floats(-2, 2), step=st.floats(0.01, 2.0), blocks=st.integers(1, 6))
def test_grid_meets_times_and_block_ends(gaps, start, step, blocks):
    times = [start]
    for g in gaps:
        times.append(times[-1] + g)
    grid = make_grid(times, step=step, blocks=blocks)
    assert [grid.nodes[k] for k in grid.outputs] == times  # exactly, not nearly
    assert all(0 < h <= step * (1 + 1e-5) for h in grid.lengths())  # the eighth-digit rule
    length = times[-1] - times[0]
    for k, block in enumerate(grid.blocks):
        low, high = (times[0] + length * b / blocks for b in (block, block + 1))
        # a block end within 1e-6 of the smallest gap of a requested time is moved onto it
        assert low - 1e-5 <= grid.nodes[k] < grid.nodes[k + 1] <= high + 1e-5
    assert sorted({b for b, _, _ in grid.pieces()}) == list(range(blocks))


def test_pieces_cover_the_grid():
    grid = make_grid([0, 0.3, 1], step=0.1, blocks=4)
    pieces = list(grid.pieces())
    assert [first for _, first, _ in pieces] == [0, *(last for _, _, last in pieces[:-1])]
    assert pieces[-1][2] == grid.steps


def test_rounding_does_not_add_a_step():
    assert make_grid([0, 0.3], step=0.1).steps == 3  # 0.3 / 0.1 is a little more than 3
    assert make_grid([0, 0.301], step=0.1).steps == 4


def test_grid_is_a_value():
    assert make_grid([0, 1], step=0.5) == Grid((0.0, 0.5, 1.0), (0, 2), (0, 0))


@pytest.mark.parametrize("times", [[0.0], [0.0, float("nan")], [0.0, 0.0], [1.0, 0.0, 0.5]])
def test_bad_times_are_refused(times):
    with refused("times"):
        make_grid(times, step=0.1)


@pytest.mark.parametrize("step", [0.0, -0.1, float("inf"), float("nan"), True, "0.1", None])
def test_bad_steps_are_refused(step):
    with refused("step", repr(step)):
        make_grid([0, 1], step=step)


@pytest.mark.parametrize(
    ("times", "step"), [([0, 1e9], 0.1), ([0, 1e300], 0.1), ([1, 0], 1e-12), ([0, 1], 1e-320)]
)
def test_more_steps_than_anyone_means_are_refused(times, step):
    with refused("at most 1000000 steps", f"step={step:g}"):
        make_grid(times, step=step)


# --- rounded and decreasing times ----------------------------------------------------------------

LONG = [(1.0, 10), (10.0, 100), (100.0, 1000), (1000.0, 10000), (0.7, 7), (2000.0, 20000)]


@pytest.mark.parametrize(("end", "count"), LONG)
def test_single_precision_gives_the_steps_of_exact_times(end, count):
    """Rounding grows with t; a slack relative to the step alone adds steps from t = 10 on."""
    exact = torch.linspace(0, end, count + 1)
    for rounded in (exact.float(), exact.float().tolist(), exact.float().numpy()):
        assert make_grid(rounded, step=end / count).steps == count
        assert make_grid(rounded, step=end / count / 2).steps == 2 * count
    assert make_grid(exact, step=end / count).steps == count
    assert make_grid(exact.flip(0).float(), step=end / count).steps == count


def test_control_steps_that_are_too_long_are_cut_all_the_same():
    assert make_grid(1.001 * torch.linspace(0, 10, 101), step=0.1).steps == 200
    longer = torch.linspace(0, 10.01, 101, dtype=torch.float32)  # far beyond its rounding
    assert make_grid(longer, step=0.1).steps == 200
    # in double precision the digits that single precision would drop are taken at their word
    assert make_grid((1 + 3e-6) * torch.linspace(0, 10, 101), step=0.1).steps == 200


def test_single_precision_moves_no_block_end_off_a_time():
    for end, count in LONG[:3]:
        times = torch.linspace(0, end, count + 1, dtype=torch.float32)
        grid = make_grid(times, step=end / count, blocks=5)
        assert grid.steps == count
        assert [last - first for _, first, last in grid.pieces()] == [count // 5] * 5


@given(gaps=GAPS, start=st.floats(-2, 2), step=st.floats(0.01, 2.0), blocks=st.integers(1, 6))
def test_decreasing_times_meet_the_same_nodes_and_blocks(gaps, start, step, blocks):
    times = [start]
    for g in gaps:
        times.append(times[-1] + g)
    grid, back = (make_grid(t, step=step, blocks=blocks) for t in (times, times[::-1]))
    assert back.nodes == grid.nodes[::-1]
    assert back.blocks == grid.blocks[::-1]
    assert [back.nodes[k] for k in back.outputs] == times[::-1]
    assert back.reversed() == grid


def test_blocks_of_a_given_span():
    whole = make_grid([0, 1], step=0.05, blocks=4)
    part = make_grid([0.2, 0.8], step=0.05, blocks=4, span=(0.0, 1.0))
    assert [b for b, _, _ in part.pieces()] == [0, 1, 2, 3]
    assert part.nodes[part.pieces().__next__()[2]] == pytest.approx(0.25, abs=1e-15)
    assert make_grid([0.3, 0.45], step=0.05, blocks=4, span=(0.0, 1.0)).blocks == (1, 1, 1)
    assert make_grid([0, 1], step=0.05, blocks=4, span=(0.0, 1.0)) == whole
    assert make_grid([0.3, 0.45], step=0.05, blocks=4).blocks != (1, 1, 1)  # the control
    rounded = torch.tensor([0.0, 0.2])  # beyond the span by rounding
    assert set(make_grid(rounded.float(), step=0.1, blocks=2, span=(0.0, 0.2)).blocks) == {0, 1}
