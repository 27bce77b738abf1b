"""Runs that meet NaN: they fail alone, have no numbers, and are recorded."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from toy import TOY, ToyConfig

from shooting.study import records
from shooting.study.records.record import UNMEASURED
from tests.study.records.handling import CONFIG

pytestmark = pytest.mark.usefixtures("folders")


def test_a_fact_that_is_no_number_is_refused():
    """JSON has no NaN; Python would write one."""

    def train(config, checkpoint):
        return dataclasses.replace(TOY.train(config, checkpoint), facts={"parameters": np.nan})

    with pytest.raises(ValueError, match="JSON"):
        records.compute(dataclasses.replace(TOY, train=train), CONFIG)
    assert records.load("toy", CONFIG) is None


def test_a_poisoned_run_fails_and_its_neighbours_go_on(record):
    bad = records.compute(TOY, dataclasses.replace(CONFIG, poison=1))
    assert bad.failed.tolist() == [False, True, False]
    assert bad.failed_at.tolist() == [-1, 12, -1]  # epoch 3 of four steps each
    assert np.isnan(bad.metrics["loss"]).tolist() == [False, True, False]
    neighbours = [0, 2]
    np.testing.assert_array_equal(
        bad.metrics["loss"][neighbours], record.metrics["loss"][neighbours]
    )
    assert "1 of 3" in bad.provenance["status"]
    assert "NaN" not in bad.path.read_text()
    assert records.state_of(TOY, bad.config) == "failed"


def test_numbers_of_a_failed_run_are_void_even_if_finite():
    """A failed run keeps its last finite parameters; measuring them must not make it a result."""

    def train(config, checkpoint):
        outcome = TOY.train(config, checkpoint)
        return dataclasses.replace(outcome, metrics={"loss": [1.0, 2.0, 3.0]})

    experiment = dataclasses.replace(TOY, train=train)
    record = records.compute(experiment, dataclasses.replace(CONFIG, poison=1))
    np.testing.assert_array_equal(record.metrics["loss"], [1.0, np.nan, 3.0])


def test_all_runs_failed_is_a_record_too():
    config = ToyConfig(seeds=(1,), poison=1, epochs=6)
    record = records.compute(TOY, config)
    assert record.failed.tolist() == [True]
    assert records.load("toy", config).failed_at.tolist() == [12]


def test_whatever_is_asked_of_runs_that_all_failed_is_nan(record):
    failed = records.compute(TOY, ToyConfig(seeds=(1,), poison=1, epochs=6))
    assert list(failed.metrics) == []
    np.testing.assert_array_equal(failed.metrics["loss"], [np.nan])
    pooled = records.pooled([record, failed])
    np.testing.assert_array_equal(pooled["loss"], [*record.metrics["loss"], np.nan])
    np.testing.assert_array_equal(records.pooled([failed, failed])["loss"], [np.nan, np.nan])
    with pytest.raises(KeyError):  # a wrong name is still noticed
        record.metrics["lsos"]


def test_numbers_that_cannot_be_measured_fail_the_run():
    def train(config, checkpoint):
        outcome = TOY.train(config, checkpoint)
        return dataclasses.replace(outcome, metrics={"loss": [1.0, np.inf, 2.0]})

    record = records.compute(dataclasses.replace(TOY, train=train), CONFIG)
    assert record.failed_at.tolist() == [-1, UNMEASURED, -1]
