"""Short trainings whose numbers are on file: a change of results must raise `NUMERICS`.

``python tests/study/test_goldens.py`` adds the goldens that are missing, and renews all of them
once `NUMERICS` (in `shooting.study.records.identity`) has been raised. An experiment without
records yet may change freely: ``python tests/study/test_goldens.py circles`` renews its goldens.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from shooting.study.experiments import EXPERIMENTS
from shooting.study.records.identity import NUMERICS

FILE = Path(__file__).with_name("goldens.json")
GOLDENS = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
# float64, some twenty steps: routes and processors differ by rounding (1e-16 a step, amplified a
# few orders by training); anything larger is another computation
TOLERANCE = 1e-7


@contextmanager
def float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def short(config):
    """The first two epochs of two runs."""
    return dataclasses.replace(config, seeds=config.seeds[:2], epochs=2)


def cases():
    """One config per experiment and model, by name."""
    return {
        f"{name} {getattr(config, 'model', '')}".strip(): (name, short(config))
        for name, experiment in EXPERIMENTS.items()
        for config in reversed(experiment.grid("quick"))
    }


def train(name, config):
    with float64():
        outcome = EXPERIMENTS[name].train(config, None)
    return {
        "losses": outcome.fit.early.tolist(),
        "metrics": {k: list(v) for k, v in outcome.metrics.items()},
    }


def apart(was, now):
    """Largest relative difference of two trainings; numbers below 1e-3 count as absolute."""
    pairs = [(was["losses"], now["losses"])]
    assert was["metrics"].keys() == now["metrics"].keys()
    pairs += [(was["metrics"][k], now["metrics"][k]) for k in was["metrics"]]
    return max(
        float(np.max(np.abs(np.subtract(a, b)) / np.maximum(np.abs(a), 1e-3), initial=0))
        for a, b in pairs
    )


def test_goldens_belong_to_the_present_numerics():
    assert GOLDENS["numerics"] == NUMERICS, "renew the goldens: python tests/study/test_goldens.py"


@pytest.mark.parametrize("case", sorted(cases()))
def test_results_change_only_with_numerics(case):
    assert case in GOLDENS["trainings"], "no golden yet: python tests/study/test_goldens.py"
    distance = apart(GOLDENS["trainings"][case], train(*cases()[case]))
    assert distance < TOLERANCE, (
        f"the results of {case} moved by {distance:.1e} relative: if that is meant, raise NUMERICS "
        "and renew the goldens (python tests/study/test_goldens.py); records are then stale"
    )


def test_control_a_small_change_is_noticed():
    """A learning rate changed in the sixth digit moves a golden."""
    case = "regression dynamic_particles"
    name, config = cases()[case]
    other = dataclasses.replace(config, learning_rate=config.learning_rate * (1 + 1e-5))
    assert apart(GOLDENS["trainings"][case], train(name, other)) > TOLERANCE


if __name__ == "__main__":
    torch.set_num_threads(1)
    kept = GOLDENS["trainings"] if GOLDENS.get("numerics") == NUMERICS else {}
    trainings = {
        case: kept[case] if case in kept and case.split()[0] not in sys.argv else train(*found)
        for case, found in sorted(cases().items())
    }
    text = json.dumps({"numerics": NUMERICS, "trainings": trainings}, indent=0)
    FILE.write_text(text.replace(",\n", ", ").replace("[\n", "[").replace("\n]", "]") + "\n")
