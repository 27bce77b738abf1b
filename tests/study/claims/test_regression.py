"""Claims about the regression: each can come out either way."""

from types import SimpleNamespace

import numpy as np
import pytest

from shooting.study import records
from shooting.study.claims import regression
from tests.study.claims.pretending import ORDER, errors, record_of, spread


def ranked(order):
    """Loss and complexity by place in an order of the four models."""

    def load(experiment, config):
        level = spread(1.0 + order.index(config.model), len(config.seeds))
        metrics = {"loss": level, "complexity": level, "mse": level}
        failed_at = np.full(len(level), -1)
        return SimpleNamespace(
            id="test", config=config, metrics=metrics, failed_at=failed_at, arrays={}
        )

    return load


@pytest.mark.parametrize(
    ("order", "simplest", "particles"),
    [
        (
            ("static_particles", "dynamic_particles", "static_direct", "dynamic_direct"),
            *["reproduced"] * 2,
        ),
        (
            ("dynamic_particles", "static_direct", "dynamic_direct", "static_particles"),
            "reproduced",
            "partly",
        ),
        (
            ("static_direct", "dynamic_particles", "dynamic_direct", "static_particles"),
            "partly",
            "partly",
        ),
        (
            ("static_direct", "dynamic_direct", "dynamic_particles", "static_particles"),
            *["not reproduced"] * 2,
        ),
    ],
)
def test_the_regression_compares_what_the_paper_compares(monkeypatch, order, simplest, particles):
    """K1b excepts the static model with particles, as the paper does; K3b takes both of them."""
    monkeypatch.setattr(records, "load", ranked(order))
    assert regression.quadratic_lowest_complexity().status == simplest
    assert regression.cubic_particles_best_and_simplest().status == particles


def test_runs_that_fit_are_counted_beside_the_median(monkeypatch):
    monkeypatch.setattr(records, "load", errors(lambda c, n: np.arange(n) < 3))
    assert regression.quadratic_needs_fifteen().found == (
        "The runs that fit the quadratic-like function are 3 of 10 at K = 2, 3 of 10 at K = 5, "
        "6 of 50 at K = 15 and 3 of 10 at K = 25, so 2 particles can suffice."
    )
    monkeypatch.setattr(records, "load", errors(lambda c, n: np.full(n, c.particles >= 15)))
    assert "suffice" not in regression.quadratic_needs_fifteen().found  # control


BENT = {True: np.linspace(-1, 1, 101) ** 2, False: np.linspace(-1, 1, 101) ** 3}


@pytest.mark.parametrize("convex", [True, False])
def test_the_static_model_is_said_to_sit_in_a_basin_only_where_its_misses_are_convex(
    monkeypatch, convex
):
    """Three of fifty runs fit at each α; the other 47 have learned a parabola, or a cubic."""

    def load(experiment, config):
        runs = len(config.seeds)
        fits = np.arange(runs) < (3 if runs == 10 else 0)
        record = record_of(config, mse=np.where(fits, 0.0, 0.03))
        curves = [BENT[not convex if good else convex] for good in fits]
        return SimpleNamespace(**vars(record) | {"arrays": {"fit": np.array(curves)}})

    monkeypatch.setattr(records, "load", load)
    found = regression.static_particles_fail().found
    assert found.startswith("The static particle model fits in 3, 3, 3 and 3 of 50 runs at α = 16,")
    assert f"{188 if convex else 0} of the 188 other runs have learned a convex function" in found
    assert found.endswith("so the failure is a basin, not missing capacity.") == convex


def test_a_record_without_curves_is_left_out_of_the_count_of_convex_runs(monkeypatch):
    """Seeds 10-49 keep no curves, as when all of them failed: seven of ten misses are counted."""

    def load(experiment, config):
        runs = len(config.seeds)
        record = record_of(config, mse=np.where(np.arange(runs) < 3, 0.0, 0.03))
        curves = {"fit": np.array(runs * [BENT[True]])} if runs == 10 else {}
        return SimpleNamespace(**vars(record) | {"arrays": curves})

    monkeypatch.setattr(records, "load", load)
    found = regression.static_particles_fail().found
    assert "28 of the 28 other runs have learned a convex function" in found


def test_stuck_runs_are_counted_where_the_lead_is_least(monkeypatch):
    """At α = 16, 20 of 50 runs leave what the best convex function leaves, and the lead is 0.9."""

    def load(experiment, config):
        runs, own = len(config.seeds), config.model == "dynamic_particles"
        stuck_here = own and config.inflation == 16
        mse = np.where(np.arange(runs) < 0.4 * runs, 0.03, 0.001) if stuck_here else np.zeros(runs)
        loss = (0.9 if config.inflation == 16 else 0.5) if own else 1.0
        return record_of(config, loss=spread(loss, runs), mse=mse)

    monkeypatch.setattr(records, "load", load)
    found = regression.quadratic_best_loss().found
    assert "0.90 at α = 16, where 20 of 50 runs are stuck" in found
    assert found.endswith("and 3 of 3 comparisons hold.")


@pytest.mark.parametrize(("sign", "status"), [(1, "reproduced"), (-1, "not reproduced")])
@pytest.mark.parametrize(
    ("claim", "level"),
    [
        ("quadratic_best_loss", lambda c: 1 + ORDER.index(c.model)),
        ("cubic_static_slightly_better", lambda c: 3 - ORDER.index(c.model)),
        ("cubic_loss_falls_with_particles", lambda c: -np.log(c.particles)),
        ("loss_falls_with_inflation", lambda c: -np.log(c.inflation)),
    ],
)
def test_directions_of_losses(monkeypatch, claim, level, sign, status):
    def load(experiment, config):
        loss = spread(np.exp(sign * level(config)), len(config.seeds))
        return record_of(config, loss=loss, mse=loss)

    monkeypatch.setattr(records, "load", load)
    assert getattr(regression, claim)().status == status


@pytest.mark.parametrize(("sign", "status"), [(1, "reproduced"), (-1, "not reproduced")])
def test_directions_of_what_particles_cost_and_weights_do(monkeypatch, sign, status):
    def load(experiment, config):
        few = config.particles < 10
        runs = len(config.seeds)
        values = {"mse": 1.0 + sign * few, "complexity": 9.0 - sign * few}
        values |= {"variation/theta2": 0.1 + 0.05 * sign, "variation/b2": 0.1 + 0.05 * sign}
        values |= {"variation/theta3": 0.1}
        return record_of(config, **{k: spread(v, runs) for k, v in values.items()})

    monkeypatch.setattr(records, "load", load)
    for claim in ("particles_trade_complexity", "weights_change_strongly"):
        assert getattr(regression, claim)().status == status, claim
    assert regression.theta3_changes_moderately().status == status


@pytest.mark.parametrize("fits", [True, False])
def test_static_particles_fail_where_two_particles_of_the_dynamic_fit(monkeypatch, fits):
    monkeypatch.setattr(records, "load", errors(lambda c, n: np.full(n, fits)))
    expected = ("not reproduced", "reproduced") if fits else ("reproduced", "not reproduced")
    found = regression.static_particles_fail().status, regression.two_particles_fit_cubic().status
    assert found == expected
