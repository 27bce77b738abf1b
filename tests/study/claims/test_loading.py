"""Runs that claims are judged on: all that are recorded, or an error that says how many are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy import TOY, ToyConfig

from shooting.study import records
from shooting.study.claims.loading import judge, load, runs_of
from shooting.study.claims.registry import Claim
from shooting.study.claims.rule import threshold
from shooting.study.records import NotRunError

pytestmark = pytest.mark.usefixtures("folders")

CONFIG = ToyConfig(epochs=2)
MORE = (7, 8)


def test_seeds_of_a_second_record_are_added_where_they_exist():
    assert runs_of(TOY, CONFIG, more=MORE) is None
    first = records.compute(TOY, CONFIG)
    assert runs_of(TOY, CONFIG, more=MORE).ids == (first.id,)
    second = records.compute(TOY, replace(CONFIG, seeds=MORE))
    both = runs_of(TOY, CONFIG, more=MORE)
    assert both.ids == (first.id, second.id)
    np.testing.assert_array_equal(
        both.metrics["loss"], [*first.metrics["loss"], *second.metrics["loss"]]
    )
    assert runs_of(TOY, CONFIG).ids == (first.id,)


def test_a_second_record_alone_is_no_setting():
    records.compute(TOY, replace(CONFIG, seeds=MORE))
    assert runs_of(TOY, CONFIG, more=MORE) is None


def test_missing_settings_are_counted_with_the_command():
    records.compute(TOY, CONFIG)
    configs = {label: replace(CONFIG, label=label) for label in range(3)}
    with pytest.raises(NotRunError, match="^2 records missing; make runs EXPERIMENT=toy$"):
        load(TOY, configs)


def test_the_records_behind_a_verdict_are_named():
    configs = {label: replace(CONFIG, label=label) for label in range(2)}
    made = [records.compute(TOY, c) for c in configs.values()]
    by = load(TOY, configs)
    part = threshold("loss above nothing", by[0].metrics["loss"], -1.0, below=False)
    verdict = judge([part], by, found="The loss is 2.")
    assert verdict.runs == tuple(r.id for r in made)
    assert verdict.status == "reproduced"
    assert verdict.line == "The loss is 2. (one comparison: reproduced)"
    assert [r.id for r in by[0].found] == [made[0].id]


def test_a_claim_whose_records_are_missing_is_not_run(monkeypatch):
    def fail():
        raise NotRunError("3 records missing")

    monkeypatch.setattr("shooting.study.claims.spiral.short_loss_paper", fail)
    verdict = Claim("K", "x", "y", test="spiral:short_loss_paper").verdict()
    assert (verdict.status, verdict.reason) == ("not run", "3 records missing")


def test_control_any_other_error_is_raised(monkeypatch):
    def fail():
        raise LookupError("a slip in the claim")

    monkeypatch.setattr("shooting.study.claims.spiral.short_loss_paper", fail)
    with pytest.raises(LookupError, match="a slip"):
        Claim("K", "x", "y", test="spiral:short_loss_paper").verdict()
