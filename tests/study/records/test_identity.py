"""The id of a record: every setting enters it, and old ids stay what they are."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest
from toy import ToyConfig

from shooting.study.experiments import EXPERIMENTS, PROFILES
from shooting.study.experiments.settings import later
from shooting.study.records.identity import record_id

CONFIG = ToyConfig(epochs=6)


def test_every_setting_enters_the_identity():
    names = {f.name: f for f in dataclasses.fields(ToyConfig)}
    changed = {"label": 1, "rate": 0.1, "seeds": (0, 1), "epochs": 7, "poison": 0}
    assert changed.keys() == names.keys()
    ids = {record_id("toy", dataclasses.replace(CONFIG, **{k: v})) for k, v in changed.items()}
    assert len({*ids, record_id("toy", CONFIG)}) == len(changed) + 1


def test_experiment_and_numerics_enter_the_identity():
    ids = {record_id("toy", CONFIG), record_id("toi", CONFIG), record_id("toy", CONFIG, 0)}
    assert len(ids) == 3


def test_the_identity_is_fixed_for_ever():
    """Changing how ids are made would orphan every committed record."""
    assert record_id("toy", ToyConfig(), 1) == "be2699eb36b94576"


def test_a_whole_number_in_a_float_field_is_the_same_config():
    assert record_id("toy", ToyConfig(rate=1)) == record_id("toy", ToyConfig(rate=1.0))


def test_a_setting_added_later_keeps_old_identities():
    @dataclass(frozen=True)
    class Before:
        label: int = 0

    @dataclass(frozen=True)
    class After:
        label: int = 0
        extra: float = later(0.5)

    assert record_id("toy", After()) == record_id("toy", Before())
    assert record_id("toy", After(extra=1.0)) != record_id("toy", Before())


@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_grids_have_no_config_twice(name):
    for profile in PROFILES:
        ids = [record_id(name, c) for c in EXPERIMENTS[name].grid(profile)]
        assert len(set(ids)) == len(ids) > 0
