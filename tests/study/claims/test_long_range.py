"""Predictions of the long range: complete, judged by the rule, and the tuning as recorded."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from problems import refused

from shooting.study.claims import long_range as told
from shooting.study.claims.loading import Runs
from shooting.study.claims.long_range import Prediction, config_of, predictions, tuned
from shooting.study.claims.rule import NOT, NOT_RUN, PARTLY, REPRODUCED, alike
from shooting.study.data.systems import SYSTEMS
from shooting.study.experiments.long_range import CHOSEN, NAMES, SWITCHES, VARIED, grid


class Made:
    """A record with the same number for every run but a little spread."""

    def __init__(self, value: float) -> None:
        self.id = f"{value}"
        spread = value + 0.01 * np.arange(10)
        self.metrics = {"followed": spread, "long": spread}


def made(monkeypatch, values):
    monkeypatch.setattr(
        told.records, "load", lambda e, c: Made(values[c.model]) if c.model in values else None
    )


def one(**changes):
    common = {"id": "X", "words": "so", "kind": "better", "measure": "followed",
              "systems": ["pendulum"], "first": ["node"], "others": ["ridge"]}  # fmt: skip
    return Prediction(**common | changes)


def test_predictions_name_what_is_planned():
    planned = set(grid("paper"))
    assert len({p.id for p in predictions()}) == len(predictions()) == 11
    for p in predictions():
        assert set(p.first) | set(p.others) <= set(NAMES) | set(SWITCHES)
        assert set(p.systems) <= set(SYSTEMS)
        assert not p.varied or p.varied in VARIED
        needed = {config_of(s, n, p.varied) for s in p.systems for n in (*p.first, *p.others)}
        assert needed <= planned


def test_the_further_seeds_count_unless_the_first_are_asked_for(monkeypatch):
    """The further seeds turn the verdict: without them it is the other one."""

    def load(experiment, config):
        better = (config.model == "node") == (config.seeds[0] == 0)
        return Made(5.0 if better else 3.0)

    monkeypatch.setattr(told.records, "load", load)
    assert one().verdict(first=True).status == REPRODUCED
    assert one().verdict().status != REPRODUCED
    assert one().verdict().parts[0].runs == (20, 20)
    assert one().verdict(first=True).parts[0].runs == (10, 10)


def test_longer_is_better_for_times_and_lower_for_errors(monkeypatch):
    made(monkeypatch, {"node": 5.0, "ridge": 3.0})
    assert one().verdict().status == REPRODUCED
    assert one(measure="long").verdict().status == NOT
    assert one(first=["ridge"], others=["node"]).verdict().status == NOT
    assert one(kind="alike").verdict().status == NOT
    assert one(kind="below", others=[], bound=6.0).verdict().status == REPRODUCED
    assert one(kind="below", others=[], bound=4.0).verdict().status == NOT
    made(monkeypatch, {"node": 5.001, "ridge": 5.0})
    assert one().verdict().status == PARTLY
    assert one(kind="alike").verdict().status == REPRODUCED


def test_failed_runs_are_the_worst_in_either_direction(monkeypatch):
    """Three good runs of ten, which follow for less than the rival's do, and seven failed ones."""
    few = np.array([1.0, 1.1, 1.2, *[np.nan] * 7])
    made(monkeypatch, {"node": few, "ridge": 3.0})
    assert one().verdict().status == NOT
    assert one(measure="long").verdict().status == NOT
    assert one(first=["ridge"], others=["node"]).verdict().status == REPRODUCED
    assert one(first=["ridge"], others=["node"], measure="long").verdict().status == REPRODUCED
    assert one(kind="alike").verdict().status == NOT
    made(monkeypatch, {"node": np.array([5.0] * 9 + [np.nan]), "ridge": 5.0})
    assert one(kind="alike").verdict().status == REPRODUCED  # one of ten decides nothing
    assert told.quartiles(told.counted("long", Runs(None, {"long": few}, ()))) == (
        "failed (failed to failed)"
    )
    assert told.quartiles(told.counted("followed", Runs(None, {"followed": few}, ()))).startswith(
        "under"
    )


def test_missing_records_are_said(monkeypatch):
    made(monkeypatch, {"node": 5.0})
    verdict = one().verdict()
    assert verdict.status == NOT_RUN
    assert "ridge" in verdict.reason


def test_alike_is_decided_by_the_interval():
    rng = np.random.default_rng(0)
    a, b = np.exp(rng.normal(size=(2, 10)))
    assert alike("same", a, b).status == REPRODUCED
    apart = alike("apart", a, b + 10)
    assert apart.status == NOT
    assert apart.effect.interval[0] < apart.effect.value < apart.effect.interval[1]


def test_unknown_kind_is_refused():
    with refused("'worse'"):
        one(kind="worse")


@pytest.mark.parametrize("model", NAMES)
def test_rates_are_those_that_the_tuning_chooses(model):
    assert tuned(model) == CHOSEN[model]


def test_every_prediction_has_a_verdict_from_the_records():
    verdicts = {p.id: p.verdict() for p in predictions()}
    assert all(v.status != NOT_RUN for v in verdicts.values()), verdicts
    assert all(len(v.parts) and v.runs for v in verdicts.values())


def test_tables_have_every_system_and_model():
    table = told.table_of()
    assert list(table.columns[2:]) == list(NAMES.values())
    assert len(table) == len(SYSTEMS)
    assert set(told.outcomes()["outcome"]) <= {"win", "tie", "loss"}


def test_particles_are_compared_with_one_model_by_every_measure():
    table = told.against()
    assert list(table.columns) == ["system", *told.MEASURES.values()]
    assert set(table.iloc[:, 1:].to_numpy().flat) <= {"win", "tie", "loss"}
    assert (told.against("ridge")["error on snippets"] == "loss").sum() >= 5  # of six systems
    assert set(told.apart("followed")) == {"static_particles", *SWITCHES}


@pytest.mark.parametrize(
    ("measure", "better", "worse"),
    [
        ("long", 1.0, 2.0),
        ("snippet", 1.0, np.nan),
        ("followed", 2.0, 1.0),
        ("followed", 2.0, np.nan),
    ],
)
def test_less_error_and_longer_following_win_and_failed_runs_lose(measure, better, worse):
    spread = 0.01 * np.arange(10)
    one, other = (Runs(None, {measure: v + spread}, ()) for v in (better, worse))
    assert told.outcome_by(measure, one, other) == "win"
    assert told.outcome_by(measure, other, one) == "loss"
    assert told.outcome_by(measure, one, one) == "tie"


def test_what_a_verdict_rests_on_is_told(monkeypatch):
    made(monkeypatch, {"node": 5.0, "ridge": 3.0})
    assert "ridge on cubic polynomials: 5.0 and 3.0" in told.medians(one(), one().verdict())
    other = one(measure="long")
    assert "5.0 and 3.0, interval of the difference -2 to -2" in told.medians(
        other, other.verdict()
    )
    made(monkeypatch, {})
    assert "got none" in told.medians(one(), one().verdict())
    assert told.table_or_none("followed", "noise 0.05") is None
    assert told.ensembles("spiral") == []


def test_switches_show_what_is_recorded():
    found = told.switches()
    assert list(found["setting"])[:2] == ["dynamic with particles", "static with particles"]
    assert set(found["setting"][2:]) == set(SWITCHES)
    assert (found["numbers"] > 400).all()
    assert told.hours() > 0.1


@pytest.mark.parametrize(
    ("value", "shown"),
    [(33.5, "33.5"), (0.123, "0.12"), (0.00054, "0.00054"), (3e-6, "under 0.0001")],
)
def test_numbers_are_short(value, shown):
    assert told.quartiles(np.full(4, value)) == f"{shown} ({shown} to {shown})"


def test_other_tasks_are_told_by_their_claims():
    rows = told.uses()
    assert [r[0] for r in rows] == list(told.USES)
    assert all(len(r) == 3 for r in rows)
    assert "quadratic-like" not in rows[0][1]
    assert rows[0][2].endswith(")")  # the verdict behind its counts


def test_two_models_that_failed_are_not_alike(monkeypatch):
    monkeypatch.setattr(told.records, "load", lambda e, c: Made(np.nan))
    assert one(kind="alike").verdict().status == NOT


def test_other_snippets_are_judged_by_their_own_records(monkeypatch):
    def load(experiment, config):
        return Made(5.0 if (config.model == "node") == (config.noise > 0) else 3.0)

    monkeypatch.setattr(told.records, "load", load)
    where = {"systems": ["lotka_volterra"]}
    assert one(**where).verdict().status == NOT
    assert one(**where, varied="noise 0.05").verdict().status == REPRODUCED


def test_a_verdict_names_all_records_behind_it(monkeypatch):
    made(monkeypatch, {"node": 5.0, "ridge": 3.0})
    assert set(one().verdict().runs) == {"5.0", "3.0"}


def test_outcomes_are_against_the_best_rival(monkeypatch):
    levels = dict.fromkeys(NAMES, 2.0) | {"dynamic_particles": 3.0, "node": 4.0}
    spread = 0.01 * np.arange(10)
    timed = SimpleNamespace(provenance={"wall_seconds": 1.0})

    def found(config, first=False):
        return Runs(config, {"followed": levels[config.model] + spread}, (), (timed,))

    monkeypatch.setattr(told, "found", found)
    rows = told.outcomes()
    assert set(rows["outcome"]) == {"loss"}
    assert rows["best rival"].str.startswith(NAMES["node"]).all()
    levels["dynamic_particles"] = 5.0
    assert set(told.outcomes()["outcome"]) == {"win"}
    monkeypatch.setattr(told, "switched", lambda change: SimpleNamespace(model="switched"))
    levels["switched"] = levels["static_particles"] = 6.0
    assert set(told.apart("followed").values()) == {"loss"}


def test_a_rate_at_which_most_runs_fail_is_not_chosen(monkeypatch):
    rates = [c.learning_rate for c in told.trials("node")]

    def load(experiment, config):
        failing = config.learning_rate == max(rates)
        few = np.array([np.nan] * 6 + [0.1] * 4)
        return SimpleNamespace(metrics={"validation": few if failing else np.ones(10)})

    monkeypatch.setattr(told.records, "load", load)
    assert tuned("node") != max(rates)
