"""Claims about the spiral: each can come out either way."""

import numpy as np
import pytest

from shooting.study.claims import spiral
from shooting.study.data.spiral import trajectory
from tests.study.claims.pretending import ORDER, pretend, spread


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
