"""Predictions of the classifier: judged by the rule, and the tuning as recorded."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from problems import refused

from shooting.study.claims import classifier as told
from shooting.study.claims.classifier import Prediction, predictions, tuned
from shooting.study.claims.loading import Runs
from shooting.study.claims.rule import NOT, NOT_RUN, PARTLY, REPRODUCED, outcome
from shooting.study.experiments.classifier import CHOSEN, NAMES, PARTICLES, setting

SPREAD = 0.001 * np.arange(10)


def pretend(monkeypatch, **values):
    """Runs with the same accuracy for each but a little spread."""

    def runs(experiment, config, more=()):
        if config.model not in values:
            return None
        return Runs(config, {"accuracy": values[config.model] + SPREAD}, (config.model,))

    monkeypatch.setattr(told, "runs_of", runs)


def test_predictions_name_models():
    assert [p.id for p in predictions()] == ["D1", "D2"]
    assert all(set(p.others) <= set(NAMES) - {PARTICLES} for p in predictions())


def test_a_tie_is_an_interval_that_holds_zero(monkeypatch):
    tie = Prediction("X", "so", "tie", ["mlp"])
    for other, status in ((0.95, REPRODUCED), (0.9, NOT), (0.99, NOT)):
        pretend(monkeypatch, dynamic_particles=0.95, mlp=other)
        assert tie.verdict().status == status
    half = Prediction("X", "so", "tie", ["mlp", "node"])
    pretend(monkeypatch, dynamic_particles=0.95, mlp=0.95, node=0.8)
    assert half.verdict().status == PARTLY


def test_no_block_may_lose_the_margin_and_no_more(monkeypatch):
    close = Prediction("X", "so", "close", ["none"], margin=0.01)
    known = ((0.96, REPRODUCED), (0.95, REPRODUCED), (0.9405, PARTLY), (0.93, NOT))
    for other, status in known:
        pretend(monkeypatch, dynamic_particles=0.95, none=other)
        assert close.verdict().status == status


def test_failed_runs_count_as_wrong_everywhere(monkeypatch):
    gone = np.where(np.arange(10) < 6, np.nan, 0.95)

    def runs(experiment, config, more=()):
        value = gone if config.model == "mlp" else 0.95 + SPREAD
        return Runs(config, {"accuracy": value}, ())

    monkeypatch.setattr(told, "runs_of", runs)
    assert told.accuracies(told.found(setting("mlp"))).min() == 0
    assert (
        outcome(
            told.accuracies(told.found(setting("node"))),
            told.accuracies(told.found(setting("mlp"))),
        )
        == "win"
    )
    assert Prediction("X", "so", "close", ["mlp"], 0.01).verdict().status == NOT


def test_missing_records_are_said(monkeypatch):
    pretend(monkeypatch, dynamic_particles=0.95)
    verdict = Prediction("X", "so", "tie", ["mlp"]).verdict()
    assert verdict.status == NOT_RUN
    assert "mlp" in verdict.reason
    assert tuned("mlp") is None


def test_the_tuning_takes_the_best_and_of_equal_rates_the_lowest(monkeypatch):
    def runs(experiment, config, more=()):
        value = 0.9 if config.learning_rate in (0.003, 0.03) else 0.8
        return Runs(config, {"accuracy": np.full(4, value)}, ())

    monkeypatch.setattr(told, "runs_of", runs)
    assert tuned("mlp") == 0.003


def test_unknown_kind_is_refused():
    with refused("'worse'"):
        Prediction("X", "so", "worse", ["mlp"])


@pytest.mark.parametrize(("shift", "word"), [(0.0, "tie"), (0.05, "win"), (-0.05, "loss")])
def test_outcomes_follow_the_interval(shift, word):
    assert outcome(0.9 + shift + SPREAD, 0.9 + SPREAD) == word


@pytest.mark.parametrize("model", NAMES)
def test_rates_are_those_that_the_tuning_chooses(model):
    assert tuned(model) == CHOSEN[model]


def test_every_prediction_has_a_verdict_from_the_records():
    verdicts = [p.verdict() for p in predictions()]
    assert all(v.status != NOT_RUN and v.runs and v.parts for v in verdicts), verdicts


def test_the_table_has_every_model():
    table = told.table()
    names = list(NAMES.values())
    assert list(table["model"]) == [*names, f"{names[0]}, no penalty"]
    assert table["numbers"].iloc[0] == table["numbers"].iloc[-1]
    assert table["particles"][0] == "—"
    assert set(table["particles"][1:]) <= {"win", "tie", "loss"}


def test_two_models_that_failed_do_not_tie(monkeypatch):
    def runs(experiment, config, more=()):
        return Runs(config, {"accuracy": np.full(10, np.nan)}, (config.model,))

    monkeypatch.setattr(told, "runs_of", runs)
    assert Prediction("X", "so", "tie", ["mlp"]).verdict().status == NOT


def test_a_row_of_the_table_says_who_is_ahead(monkeypatch):
    made = SimpleNamespace(
        facts={"parameters": 5}, provenance={"wall_seconds": 1.0}, failed=np.zeros(10, bool)
    )

    def found(config):
        level = 0.9 if config.model == PARTICLES else 0.8
        return Runs(config, {"accuracy": level + SPREAD}, (), (made,))

    monkeypatch.setattr(told, "found", found)
    table = told.table()
    assert set(table["particles"][1:-1]) == {"win"}
    low, high = (0.8 + np.quantile(SPREAD, share) for share in (0.25, 0.75))
    middle = 0.8 + np.median(SPREAD)
    assert set(table["accuracy"][1:-1]) == {f"{middle:.3f} ({low:.3f} to {high:.3f})"}
    assert low < middle < high  # control
    assert set(table["seconds a run"]) == {"0.1"}  # one second, ten runs
