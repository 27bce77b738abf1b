"""Settings of the study are refused in a sentence; the counts in the book are of ten thousand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from calls import OUTCOMES, counted, generate, ready, run
from problems import refused
from study_calls import BEGIN, CONFIGS, END, PAGE, RESULTS, STUDY, table

from shooting.study.experiments.regression import RegressionConfig
from shooting.study.records.identity import record_id


@pytest.mark.slow
def test_generated_settings_are_taken_or_refused_in_a_sentence():
    ready()
    found = run(STUDY, 300, seed=1)
    wrong = [(str(generate(STUDY, i, 1)), kind, text) for i, kind, text in found
             if kind not in ("result", "refused")]  # fmt: skip
    assert wrong == []
    assert min(counted(found)[kind] for kind in ("result", "refused")) > 20


@pytest.mark.parametrize("config", CONFIGS)
def test_defaults_are_taken(config):
    config()
    with refused("epochs", "nan"):
        config(epochs=float("nan"))


def test_numbers_of_numpy_are_the_same_settings():
    ours = RegressionConfig(epochs=20, learning_rate=0.25)
    theirs = RegressionConfig(epochs=np.int64(20), learning_rate=np.float64(0.25))
    assert record_id("regression", ours) == record_id("regression", theirs)


def test_the_counts_of_the_book():
    kept = json.loads(RESULTS.read_text(encoding="utf-8"))
    for when in ("before", "after"):
        assert kept[when]["calls"] == sum(kept[when][kind] for kind in OUTCOMES) == 10_000
    assert [kept["after"][kind] for kind in ("accepted", "raw", "hang", "crash")] == [0, 0, 0, 0]
    text = PAGE.read_text(encoding="utf-8")
    assert text.partition(f"{BEGIN}\n")[2].partition(END)[0].splitlines() == table(kept)
    assert all(kept["before"][kind] for kind in OUTCOMES)  # the control
