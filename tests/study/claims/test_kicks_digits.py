"""Kicks on the rotating threes: three pairs, judged by their signs."""

from __future__ import annotations

import numpy as np
import pytest

from shooting.study.claims.kicks import FAILS, HOLDS, NOT_RUN
from shooting.study.claims.kicks_digits import measured, pairs, predictions, table
from shooting.study.experiments.rotating_mnist import SHORTER


class Made:
    """A run whose loss and error are given."""

    def __init__(self, loss, mse):
        history = np.full((20, 1), 9.0)
        history[-10:] = loss
        self.arrays, self.metrics = {"history": history}, {"mse": np.array([mse])}


def judged(losses, errors):
    known = {s: (Made(1.0, 1.0), Made(a, b)) for s, a, b in zip(SHORTER, losses, errors)}
    return [p.verdict for p in predictions(known)]


def test_the_objective_has_to_fall_for_every_seed():
    assert judged([0.9, 0.8, 0.99], [0.9, 1.1, 1.2]) == [HOLDS, HOLDS]
    assert judged([0.9, 0.8, 1.01], [0.9, 1.1, 1.2])[0] == FAILS


@pytest.mark.parametrize("errors", [[0.9, 0.8, 0.7], [1.1, 1.2, 1.3]])
def test_errors_that_agree_in_sign_are_against_the_prediction(errors):
    assert judged([0.9, 0.8, 0.9], errors)[1] == FAILS


def test_without_all_seeds_nothing_is_judged():
    assert judged([0.9, 0.8], [0.9, 1.1]) == [NOT_RUN, NOT_RUN]
    assert predictions({})[0].found == "no records yet"


def test_the_objective_is_a_mean_over_ten_epochs():
    assert measured(Made(0.5, 1.0), "objective") == 0.5


def test_recorded_pairs_differ_in_the_kicks_alone():
    for seed, (without, kicked) in pairs().items():
        assert without.config.seeds == kicked.config.seeds == (seed,)
        assert (without.config.kick_rank, kicked.config.kick_rank) == (0, 5)
        assert without.config.epochs == kicked.config.epochs


def test_the_table_has_every_model_with_the_same_seeds():
    """Its medians, recomputed for one model from the records."""
    found = table().set_index("model")
    assert list(found.index)[-1] == "dynamic with particles, kicks"
    assert len(found) == 4
    kicked = [pair[1] for pair in pairs().values()]
    middle = np.median([r.metrics["mse"][0] for r in kicked])
    assert found.loc["dynamic with particles, kicks", "angle left out"] == f"{middle:.4f}"
    # the fourth frame is the one left out
    rest = [[e for k, e in enumerate(r.arrays["misses"][0]) if k != 3] for r in kicked]
    middle = np.median(np.mean(rest, axis=1))
    assert found.loc["dynamic with particles, kicks", "other angles"] == f"{middle:.4f}"
    assert found["numbers of the flow"].max() == kicked[0].facts["flow_parameters"]
