"""Claims about the circles: each can come out either way."""

import numpy as np
import pytest

from shooting.study.claims import circles
from tests.study.claims.pretending import pretend, spread


def solved(threshold):
    """Runs that fit wherever the weight reaches a threshold that depends on alpha."""

    def metrics(c):
        fits = float(c.classification >= threshold[c.inflation])
        return {"fits": np.full(50, fits), "complexity": spread(1 / c.inflation, 50)}

    return metrics


@pytest.mark.parametrize(
    ("threshold", "status", "always"),
    [
        ({5: 1.0, 10: 0.7, 20: 0.5}, "reproduced", "reproduced"),
        ({5: 2.0, 10: 0.7, 20: 0.5}, "reproduced", "partly"),  # not at weight 1
        ({5: 0.5, 10: 1.0, 20: 2.0}, "not reproduced", "partly"),
        ({5: 2.0, 10: 1.0, 20: 0.7}, "partly", "partly"),  # 10 against 5: a gain at weight 1 alone
        ({5: 10.0, 10: 5.0, 20: 1.0}, "not reproduced", "partly"),  # gains from weight 1 on alone
    ],
)
def test_success_against_inflation(monkeypatch, threshold, status, always):
    pretend(monkeypatch, solved(threshold))
    assert circles.success_grows_with_inflation().status == status
    assert circles.always_fits_when_loud().status == always
    assert circles.simpler_flows().status == "reproduced"


def test_a_failed_run_is_no_success(monkeypatch):
    for good, status in ((44, "not reproduced"), (45, "partly"), (50, "reproduced")):
        fits = np.array([1.0] * good + [np.nan] * (50 - good))
        pretend(monkeypatch, lambda c, fits=fits: {"fits": fits})
        assert circles.always_fits_when_loud().status == status


def test_published_rates_are_looked_for_at_one_weight(monkeypatch):
    hits = {5: 2, 10: 4, 20: 13}

    def metrics(c, only=0.5):
        count = hits[c.inflation] if c.classification == only else 50
        return {"fits": np.arange(50) < count}

    pretend(monkeypatch, metrics)
    assert circles.published_rates().status == "reproduced"
    # at different weights each: no single weight shows all three
    where = {5: 0.5, 10: 0.7, 20: 1.0}
    pretend(monkeypatch, lambda c: metrics(c, where[c.inflation]))
    assert circles.published_rates().status == "partly"


def test_of_two_weights_that_hold_as_many_rates_the_nearer_is_shown(monkeypatch):
    """Both hold 4 and 8 %; at 0.5 the largest rate is 20 %, at 0.7 it is 82 %."""
    largest = {0.5: 10, 0.7: 41}

    def metrics(c):
        count = {5: 2, 10: 4, 20: largest.get(c.classification, 50)}[c.inflation]
        return {"fits": np.arange(50) < (count if c.classification in largest else 50)}

    pretend(monkeypatch, metrics)
    verdict = circles.published_rates()
    assert [p.medians[0] for p in verdict.parts] == [0.04, 0.08, 0.2]
    assert all(p.is_rate for p in verdict.parts)
    assert {p.runs for p in verdict.parts} == {(50, 0)}
