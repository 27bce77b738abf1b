"""The data of the committed records are what they were, and a change of any is noticed."""

from __future__ import annotations

import json

import pytest
import torch

from shooting.study.data import functions
from shooting.study.experiments import EXPERIMENTS
from shooting.study.experiments.circles import CirclesConfig, CirclesTask
from shooting.study.experiments.regression import RegressionConfig, RegressionTask
from shooting.study.experiments.spiral import SpiralConfig, SpiralTask
from shooting.study.records import data_checksums
from shooting.study.records.data_checksums import data, differences

IMAGES = ("rotating_mnist", "bouncing_balls")


@pytest.fixture
def known(root):
    return json.loads((root / "book" / "records" / "data.json").read_text(encoding="utf-8"))


def test_this_machine_makes_the_data_of_the_committed_records(known):
    """Renewed by `data_checksums.renew()`, when data are changed on purpose."""
    assert data_checksums.reference() == known


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_run_has_a_fingerprint(known, name):
    """Except frames of images and the authors' own data, which have checksums of their own."""
    one_each = {
        (str(d and d[0]), c.seeds): c
        for c in EXPERIMENTS[name].grid("paper")
        for d in [data_checksums.data(c)]
    }  # several models are trained on each set of data
    for config in one_each.values():
        found, each = data_checksums.fingerprints(config)
        foreign = name in IMAGES or getattr(config, "source", "own") == "authors-seeds"
        assert (found == "") == foreign
        assert len(each) == (0 if foreign else len(config.seeds))
        assert differences(config, known) == []


@pytest.mark.parametrize(
    ("config", "task", "seen"),
    [
        (RegressionConfig(seeds=(3,)), RegressionTask, lambda t: (t.train, t.target(t.train))),
        (CirclesConfig(seeds=(3,)), CirclesTask, lambda t: (t.points, t.labels)),
        (SpiralConfig(seeds=(3,)), SpiralTask, lambda t: (t.watch[0, 0],)),
    ],
)
def test_what_is_hashed_is_what_is_trained_on(config, task, seen):
    name, arrays = data(config)
    hashed = list(arrays(3))
    if name.startswith("spiral"):
        path, _, index = hashed
        hashed = [path[index[0]]]
    for ours, theirs in zip(hashed, seen(task(config)), strict=False):
        assert torch.equal(ours.to(theirs), theirs)


def test_a_changed_datum_is_named_with_both_fingerprints(known, monkeypatch):
    config = RegressionConfig(seeds=(0, 1))
    exact = functions.TARGETS[config.function]
    monkeypatch.setitem(functions.TARGETS, config.function, lambda x: exact(x) + 1e-5)
    first, second = differences(config, known)
    assert first.startswith("data of seed 0 (")
    assert f"recorded {known['quadratic-like, 500 points']['0']}, now " in first
    assert "seed 1" in second


def test_the_last_bits_of_another_machine_do_not_count(known, monkeypatch):
    config = RegressionConfig(seeds=(0,))
    exact = functions.TARGETS[config.function]
    monkeypatch.setitem(functions.TARGETS, config.function, lambda x: exact(x) * (1 + 4e-16))
    assert differences(config, known) == []


def test_the_precision_of_the_caller_is_put_back():
    before = torch.get_default_dtype()
    data_checksums.fingerprints(RegressionConfig(seeds=(0,)))
    assert torch.get_default_dtype() == before


def test_runs_that_were_never_noted_are_not_compared(known):
    assert differences(RegressionConfig(seeds=(12345,)), known) == []
