"""Tables of the convex trap, from made-up records and with none."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from shooting.study.claims import convex_tables as tables
from shooting.study.claims.convex_hypotheses import Level
from shooting.study.claims.convex_trap import Tally, level
from shooting.study.data.functions import BOUND
from shooting.study.experiments.convex_trap import TrapConfig

X = np.linspace(-BOUND, BOUND, 101)
FUNCTION = "quadratic-like"


def made(stuck, runs=50):
    held = np.arange(runs) < stuck
    mse = np.where(held, 1.02, 0.05) * level(FUNCTION)
    return SimpleNamespace(
        config=TrapConfig(),
        metrics={"mse": mse, "loss": np.where(held, 3.0, 0.25)},
        arrays={"fit": np.where(held[:, None], X**2, np.cos(2 * X))},
    )


def test_models_have_a_row_and_factors_a_column():
    found = {
        ("static_direct", 0, 16): Tally(50, 0, 0, 0, 0),
        ("dynamic_particles", 15, 16): Tally(50, 18, 17, 17, 0),
        ("dynamic_particles", 15, 8): Tally(10, 9, 9, 9, 0),
    }
    table = tables.by_model(found)
    assert list(table.columns) == ["model", "α = 8", "α = 16"]
    assert table.to_numpy().tolist() == [
        ["dynamic K = 15", "9/10 (9)", "18/50 (17)"],
        ["static direct", "not run yet", "0/50"],
    ]


def test_spiral_shows_medians_and_says_what_is_missing():
    one = SimpleNamespace(metrics={"short_loss": np.full(20, 0.25)})
    table = tables.on_the_spiral([("a", one, None)])
    assert table.to_numpy().tolist() == [["a", "0.250 [0.250, 0.250]", "not run yet"]]


def test_targets_count_convex_runs_and_those_at_the_level():
    known = Level(FUNCTION, 2.74, True, made(18))
    waiting = Level("cubic, raised", 17.4, True, None)
    first, second = tables.targets([known, waiting]).to_numpy().tolist()
    at = 1.02 * 100 * level(FUNCTION)
    assert first == [FUNCTION, "2.74", "yes", f"18 of 50 at {at:.2f}", "18; 18", "holds"]
    assert second == ["cubic, raised", "17.40", "yes", *["not run yet"] * 3]


@pytest.mark.parametrize("stuck", [0, 50])
def test_added_settings_are_counted_where_they_exist(monkeypatch, stuck):
    monkeypatch.setattr(tables, "runs_of", lambda _: made(stuck))
    monkeypatch.setattr(tables.records, "load", lambda *_: None)
    rows = {row[0]: row[1:] for row in tables.added().to_numpy().tolist()}
    share = "0 to 7 %" if stuck == 0 else "93 to 100 %"  # Wilson: 1 / (1 + 50 / 1.96^2) = 7.1 %
    assert rows["α = 128"] == [f"{stuck} of 50", share, "0.250" if stuck == 0 else "3.000"]
    assert rows["α = 128, cured"] == ["not run yet"] * 3
