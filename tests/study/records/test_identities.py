"""What must hold inside a record holds in all that are committed, and finds what is changed."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

from shooting.study.experiments import EXPERIMENTS
from shooting.study.records import verification
from shooting.study.records.identities import OWN, ROUNDING, STEPS, problems
from tests.study.records.forging import CHOSEN, chosen


@pytest.fixture(scope="module")
def known():
    return chosen()


def test_every_experiment_has_identities():
    assert set(OWN) == set(STEPS) == set(CHOSEN) == set(EXPERIMENTS)


def test_no_committed_record_contradicts_itself():
    """Neither one that was made here nor one of another machine; in seconds, as nothing trains."""
    found, _ = verification.committed(list(EXPERIMENTS.values()))
    assert len(found) > 400
    assert {r.id: wrong for r in found if (wrong := problems(r))} == {}


OLDER = """
from shooting.study.experiments import EXPERIMENTS
from shooting.study.records import provenance, verification

assert "ATEN_CPU_CAPABILITY=default" in provenance.processor()
found, _ = verification.committed(list(EXPERIMENTS.values()))
print(*(verdict.details for verdict in verification.contradictions(found)), sep="\\n")
"""


def test_nor_does_any_by_the_instructions_of_an_older_processor():
    """A grid that is zero in its middle here is -2e-8 there: 214 records were called "differs"."""
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "default"}
    done = subprocess.run(
        [sys.executable, "-c", OLDER], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == ""


def with_part(record, part, name, factor, more=0.0):
    """The first run's numbers changed."""
    values = getattr(record, part)[name].astype(np.float64)
    values[0] = factor * values[0] + more
    changed = {**getattr(record, part), name: values}
    return dataclasses.replace(record, **{part: changed})


@pytest.mark.parametrize(
    ("experiment", "part", "name"),
    [
        ("regression", "metrics", "mse"),
        ("regression", "metrics", "loss"),
        ("regression", "metrics", "penalty"),
        ("regression", "arrays", "depth"),
        ("baselines", "metrics", "loss"),
        ("spiral", "metrics", "short_loss"),
        ("spiral", "metrics", "long_mse"),
        ("spiral", "metrics", "followed"),
        ("spiral_cure", "arrays", "long"),
        ("circles", "metrics", "test_accuracy"),
        ("rotating_mnist", "metrics", "mse_first"),
        ("bouncing_balls", "metrics", "validation_mse"),
        ("bouncing_balls", "arrays", "misses"),
    ],
)
def test_a_number_that_others_determine_is_found(known, experiment, part, name):
    """By twenty times the rounding that is allowed, of a number that is not zero."""
    record = known[experiment]
    assert problems(record) == []
    assert problems(with_part(record, part, name, 1 + 20 * ROUNDING))


def test_errors_of_digits_have_the_mean_and_the_spread_of_the_metrics(known):
    record = known["rotating_mnist"]
    mean, spread = record.metrics["mse"], record.metrics["mse_std"]
    errors = np.stack([mean - spread, mean + spread], axis=-1)
    arrays = {**record.arrays, "errors": errors}
    assert problems(dataclasses.replace(record, arrays=arrays)) == []
    for wrong in (1.01 * errors, mean[:, None] + 1.01 * (errors - mean[:, None])):
        assert problems(dataclasses.replace(record, arrays={**arrays, "errors": wrong}))


@pytest.mark.parametrize(
    ("experiment", "name"),
    [
        ("regression", "variation/theta1"),
        ("convex_trap", "bend"),
        ("convex_trap", "negative"),
        ("circles", "fits"),
    ],
)
def test_small_numbers_and_counts_are_found_by_a_hundredth(known, experiment, name):
    """Of differences of nearly equal numbers, rounding leaves fewer digits."""
    assert problems(with_part(known[experiment], "metrics", name, 1.0, more=0.01))


def test_the_error_of_a_curve_is_found_up_to_what_lies_between_its_points(known):
    record = known["baselines"]
    assert problems(with_part(record, "arrays", "fit", 1.5))


def test_counts_status_and_shapes_are_exact(known):
    record = known["regression"]
    about = {**record.provenance, "status": "failed: 1 of 10 runs"}
    nan = {**record.metrics, "mse": np.where(np.arange(10) == 3, np.nan, record.metrics["mse"])}
    for changes, told in [
        ({"facts": {"parameters": np.nextafter(record.facts["parameters"], np.inf)}}, "parameters"),
        ({"provenance": about}, "status"),
        ({"failed_at": record.failed_at + 1}, "a number in a run that failed"),
        ({"metrics": nan}, "NaN in a run that did not fail"),
        ({"metrics": {**record.metrics, "mse": np.ones(9)}}, "10 seeds"),
        ({"arrays": {**record.arrays, "history": record.arrays["history"][1:]}}, "500 epochs"),
        ({"early": record.early[1:]}, "early"),
        ({"early": record.early * 1.001}, "first epochs"),
    ]:
        assert told in " ".join(problems(dataclasses.replace(record, **changes)))


@pytest.mark.parametrize("wrong", ["array fit: NaN", "arrays", "failed_at"])
def test_what_contradicts_the_living_runs_is_named(known, wrong):
    record = known["regression"]
    fit, failed = record.arrays["fit"].copy(), record.failed_at.copy()
    fit[0, 0], failed[0] = np.nan, -3
    changes = {
        "array fit: NaN": {"arrays": {**record.arrays, "fit": fit}},
        "arrays": {"arrays": {}},
        "failed_at": {"failed_at": failed},
    }
    found = problems(dataclasses.replace(record, **changes[wrong]))
    assert any(problem.startswith(wrong) for problem in found)
    assert not problems(record)  # control
