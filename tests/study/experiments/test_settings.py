"""Configs as plain entries: nothing is lost on the way to JSON and back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import ToyConfig

from shooting.study.experiments.settings import as_dict, from_dict
from shooting.study.records.identity import record_id

CONFIG = ToyConfig(epochs=6)


@given(st.integers(0, 9), st.floats(1e-6, 1.0), st.lists(st.integers(), max_size=4))
def test_configs_survive_json(label, rate, seeds):
    config = ToyConfig(label=label, rate=rate, seeds=tuple(seeds))
    again = from_dict(ToyConfig, json.loads(json.dumps(as_dict(config))))
    assert again == config
    assert record_id("toy", again) == record_id("toy", config)


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="inflatoin"):
        from_dict(ToyConfig, {"inflatoin": 16})
