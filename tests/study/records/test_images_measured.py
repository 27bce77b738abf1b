"""The committed measurements of the faster training step say what their numbers say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from shooting.study.experiments.bouncing_balls import COMPARED, BallsConfig
from shooting.study.paths import records_folder
from shooting.study.records.identity import record_id


@pytest.fixture(scope="module")
def measured():
    return json.loads((records_folder() / "images.json").read_text(encoding="utf-8"))


def test_every_part_says_where_it_comes_from(measured):
    parts = {k: v for k, v in measured.items() if k != "bars"}
    assert set(parts) == {"ladder", "pages", "shares", "solver", "early", "narrow"}
    for part in parts.values():
        assert {"commit", "processor", "torch", "threads", "date"} <= set(part["provenance"])
        assert part["provenance"]["threads"] == 1


def test_step_is_as_much_faster_as_was_asked_for(measured):
    models = measured["ladder"]["models"]
    assert set(models) == set(COMPARED)
    gains = [m["setting"]["gain"][1] for m in models.values()]  # medians of pairs
    assert measured["ladder"]["least gain"] == min(gains)
    assert min(gains) >= measured["bars"]["speed"] == 1.8
    assert measured["ladder"]["holds"]


@pytest.mark.parametrize(("part", "inner"), [("early", None), ("narrow", "quick")])
def test_precisions_differ_by_less_than_seeds(measured, part, inner):
    found = measured[part][inner] if inner else measured[part]
    plain, fast = np.array(found["float32"]), np.array(found["bfloat16"])
    # four digits are kept of each number
    assert found["difference"] == pytest.approx((fast - plain).mean(), abs=1e-3 * plain.max())
    assert found["spread"] == pytest.approx(np.ptp(plain), abs=1e-3 * plain.max())
    bar = measured["bars"][part] * found["spread"]
    assert found["holds"] == (abs(found["difference"]) <= bar)
    assert found["holds"]


def test_narrow_run_is_compared_with_its_record(measured):
    found = measured["narrow"]["reduced"]
    assert found["record"] == record_id("bouncing_balls", BallsConfig.reduced())
    away = abs(found["bfloat16"] / found["float32"] - 1)
    assert found["away"] == pytest.approx(away, abs=1e-3)
    assert found["holds"] == (away <= measured["bars"]["reduced"])
    assert found["holds"]


def test_solver_step_moves_the_prediction_by_less_than_its_error(measured):
    models = {k: v for k, v in measured["solver"].items() if k not in ("holds", "provenance")}
    assert len(models) >= 2
    bar = measured["bars"]["solver"]
    assert measured["solver"]["holds"] == all(
        m["rk4 0.1"]["images"] <= bar * m["prediction"] for m in models.values()
    )
    assert measured["solver"]["holds"]
