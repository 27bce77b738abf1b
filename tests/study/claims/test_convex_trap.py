"""Counts of the convex trap, on made-up runs whose fate is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from shooting.study.claims import convex_trap
from shooting.study.claims.convex_trap import Tally, level, stuck, tallies, tally
from shooting.study.data.functions import BOUND
from shooting.study.experiments.ablations import stuck as older
from shooting.study.experiments.convexity import best_convex, named
from shooting.study.experiments.regression import REGRESSION
from shooting.study.records import load_all

FUNCTION = "quadratic-like"
X = np.linspace(-BOUND, BOUND, 101)
BEST = best_convex(named(FUNCTION), points=101).values
RUNS = {  # error relative to the best convex function's, and the curve
    "stuck": (1.05, BEST),
    "stuck, far": (1.3, X**2),
    "stuck, concave": (1.4, -(X**2)),
    "stuck, neither": (1.1, np.sin(4 * X)),
    "free": (0.1, named(FUNCTION)(X)),
    "free, yet convex": (0.1, BEST),
    "failed": (np.nan, np.full(101, np.nan)),
}


def made(names=tuple(RUNS)):
    errors, curves = zip(*(RUNS[n] for n in names), strict=True)
    return SimpleNamespace(
        config=SimpleNamespace(function=FUNCTION),
        metrics={"mse": level(FUNCTION) * np.array(errors)},
        arrays={"fit": np.array(curves, dtype=np.float32)},
    )


def test_each_run_is_counted_where_it_belongs():
    record = made()
    found = tally(FUNCTION, record.metrics["mse"], record.arrays["fit"])
    assert found == Tally(runs=7, stuck=5, stuck_convex=2, near=2, free_convex=1)
    assert found.share == 5 / 7
    low, high = found.interval
    assert 0 < low < 5 / 7 < high < 1


def test_counts_add_up_over_records():
    halves = [made(("stuck", "free")), made(("free", "failed"))]
    halves[1].config.seeds = (1,)
    whole = made(("stuck", "free", "free", "failed"))
    assert tallies(halves, lambda c: c.function) == tallies([whole], lambda c: c.function)


def test_the_older_criterion_names_the_same_runs():
    """Half of what the best constant or line leaves: in every recorded run of the regression."""
    found = load_all(REGRESSION, "paper")
    assert len(found) > 100
    for record in found:
        function, errors = record.config.function, record.metrics["mse"]
        assert (stuck(function, errors) == older(function, errors)).all(), record.id
    errors = np.array([record.metrics["mse"][0] for record in found])
    assert (stuck(FUNCTION, errors) != stuck("cubic", errors)).any(), "the control must differ"


def test_settings_without_records_are_left_out(monkeypatch):
    monkeypatch.setattr(convex_trap.records, "load", lambda *_: None)
    assert convex_trap.interventions() == {}
    assert convex_trap.elsewhere() == {}


@pytest.mark.parametrize("function", ["quadratic-like", "cubic"])
def test_levels_are_errors_of_the_best_convex_function(function):
    x = np.linspace(-BOUND, BOUND, 401)
    rest = np.interp(x, best_convex(named(function)).x, best_convex(named(function)).values)
    assert level(function) == pytest.approx(np.mean((rest - named(function)(x)) ** 2), rel=0.02)
