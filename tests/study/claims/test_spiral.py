"""Claims about the spiral: each can come out either way."""

import numpy as np
import pytest

from shooting.study import records
from shooting.study.claims import spiral
from shooting.study.data.spiral import trajectory
from shooting.study.experiments.orbit import FINE, lay_along, true_orbit
from tests.study.claims.pretending import ORDER, pretend, record_of, spread


@pytest.mark.parametrize(("sign", "status"), [(1, "reproduced"), (-1, "not reproduced")])
def test_complexity_of_the_spiral(monkeypatch, sign, status):
    pretend(
        monkeypatch,
        lambda c: {"complexity": spread(10.0 + 5 * sign * ORDER.index(c.model))},
    )
    assert spiral.complexity_paper().status == status


@pytest.mark.parametrize(("ratio", "status"), [(1.02, "reproduced"), (1.3, "not reproduced")])
def test_similar_loss_is_within_a_tenth(monkeypatch, ratio, status):
    def metrics(c):
        return {"short_loss": np.full(10, ratio if c.model == "dynamic_particles" else 1.0)}

    pretend(monkeypatch, metrics)
    assert spiral.short_loss_released().status == status


def test_protocols_are_kept_apart(monkeypatch):
    good = {"paper": 1.0, "released": 9.0}
    pretend(
        monkeypatch,
        lambda c: {
            "long_loss": np.full(10, good[c.protocol] if c.model == "dynamic_particles" else 3.0)
        },
    )
    assert spiral.long_loss_paper().status == "reproduced"
    assert spiral.long_loss_released().status == "not reproduced"


@pytest.mark.parametrize(("mse", "status"), [(0.05, "reproduced"), (0.5, "not reproduced")])
def test_prediction_of_the_spiral(monkeypatch, mse, status):
    pretend(monkeypatch, lambda c: {"long_mse": np.full(10, mse)})
    assert spiral.pasting_predicts_paper().status == status


def test_standing_still_leaves_what_the_bar_says():
    # half a unit of the third digit given
    assert float((trajectory() ** 2).mean()) == pytest.approx(spiral.STILL, abs=5e-4)


def kept(monkeypatch, *paths):
    """Records that keep these paths as predictions; without any, every run has failed."""

    def load(experiment, config):
        record = record_of(config)
        record.arrays = {"long": np.stack(paths)} if paths else {}
        return record

    monkeypatch.setattr(records, "load", load)


TRUTH = trajectory().double().numpy()
SLOW = true_orbit().points[: 199 * FINE // 2 + 1 : FINE // 2]  # at half the true speed
TURN = -2 * np.pi * true_orbit().turns()[: 199 * FINE + 1 : FINE]


@pytest.mark.parametrize(
    ("path", "near"),
    [
        (TRUTH, True),
        (SLOW, True),
        (0.9 * TRUTH, True),
        (1.2 * np.stack([np.cos(TURN), np.sin(TURN)], -1), False),  # turns in step
        (0 * TRUTH, False),
        (np.repeat(TRUTH[:1], 200, axis=0), False),
        (TRUTH * [1, -1], False),
    ],
)
def test_a_tenth_of_rest_tells_what_stays_near_the_orbit(monkeypatch, path, near):
    kept(monkeypatch, path)
    (course,) = spiral.courses(spiral._config("paper", "dynamic_particles", 16))
    assert (course.square < spiral.OFF_ORBIT / 10) == near


def test_phase_is_told_apart_from_shape(monkeypatch):
    """A slow prediction misses the criterion by its phase alone, and the sentence says so."""
    kept(monkeypatch, *[SLOW] * 3)
    assert ((SLOW - TRUTH) ** 2).mean() > spiral.STILL / 10
    turns = true_orbit().turns()
    late = np.mean(turns[: 199 * FINE + 1 : FINE] - turns[: 199 * FINE // 2 + 1 : FINE // 2])
    found = spiral.pasting_predicts_paper().found
    assert "in the 12 predictions kept as curves 0 to 0 is left where the phase is free" in found
    assert f"off by {late:.2g} periods in the middle run, {late:.2g} in the worst" in found


def test_a_failed_run_among_those_kept_is_left_out(monkeypatch):
    kept(monkeypatch, SLOW, np.full_like(SLOW, np.nan), TRUTH)
    assert len(spiral.courses(spiral._config("paper", "dynamic_particles", 16))) == 2
    found = spiral.pasting_predicts_paper().found
    assert "in the 8 predictions kept as curves" in found
    assert "nan" not in found


def test_runs_that_all_failed_leave_no_curve(monkeypatch):
    kept(monkeypatch)
    assert "no prediction was kept as a curve" in spiral.pasting_predicts_paper().found


def test_rest_is_off_the_orbit_by_what_the_bar_says():
    # half a unit of the third digit given
    rest = lay_along(0 * TRUTH, true_orbit())
    assert rest.square == pytest.approx(spiral.OFF_ORBIT, abs=5e-4)
