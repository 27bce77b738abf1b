"""What was predicted of kicks on the rotating threes, and what came out; three seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import yaml

from shooting.study import records
from shooting.study.claims.kicks import FAILS, HOLDS, NOT_RUN
from shooting.study.experiments.models import MODELS
from shooting.study.experiments.rotating_mnist import (
    COMPARED,
    HELD_OUT,
    ROTATING_MNIST,
    SHORTER,
    RotatingConfig,
    kicks,
)
from shooting.study.paths import book_file
from shooting.study.records import Record

LAST = 10  # epochs over which the final loss is averaged: each drops other frames
Pair = tuple[Record, Record]  # without and with kicks


@dataclass(frozen=True)
class Prediction:
    """One prediction and its pairs.

    Attributes:
        words: As written before the runs.
        why: The reason given then.
        agree: Whether it says that kicks lower the measure for each seed; else that seeds differ.
        ratios: With kicks over without, by seed.
    """

    words: str
    why: str
    agree: bool
    ratios: Mapping[int, float]

    @property
    def verdict(self) -> str:
        """Whether it holds; not run while a seed is missing."""
        if len(self.ratios) < len(SHORTER):
            return NOT_RUN
        lower = [ratio < 1 for ratio in self.ratios.values()]
        came = all(lower) if self.agree else any(lower) and not all(lower)
        return HOLDS if came else FAILS

    @property
    def found(self) -> str:
        """The ratios in words."""
        told = ", ".join(f"{ratio:.3f}" for ratio in self.ratios.values())
        return f"with kicks over without: {told}" if told else "no records yet"


def pairs() -> dict[int, Pair]:
    """The records without and with kicks, by seed; those that exist."""
    found = {
        seed: (
            records.load(ROTATING_MNIST, RotatingConfig.reduced(seeds=(seed,))),
            records.load(ROTATING_MNIST, kicks(seed)),
        )
        for seed in SHORTER
    }
    return {s: (a, b) for s, (a, b) in found.items() if a is not None and b is not None}


def measured(record: Record, name: str) -> float:
    """A metric of a run, or ``objective``: its training loss, mean of the last ten epochs."""
    if name == "objective":
        return float(record.arrays["history"][-LAST:].mean())
    return float(record.metrics[name][0])


def predictions(known: Mapping[int, Pair] | None = None) -> list[Prediction]:
    """The committed predictions with what was found.

    Args:
        known: Records by seed; by default all that exist.
    """
    text = book_file("kicks_predictions.yaml").read_text(encoding="utf-8")
    entries: list[dict[str, Any]] = yaml.safe_load(text)["digits"]
    by = pairs() if known is None else known
    return [
        Prediction(
            entry["words"],
            entry["why"],
            entry["agree"],
            {
                s: measured(b, entry["metric"]) / measured(a, entry["metric"])
                for s, (a, b) in by.items()
            },
        )
        for entry in entries
    ]


def table() -> pd.DataFrame:
    """All models with 200 epochs and the same seeds: numbers of the flow, and medians over seeds.

    The objective is `measured`; the errors are on test digits, at the angle left out and at the
    others. Models of which a seed is not recorded are missing.
    """
    settings = {
        MODELS[m]: [RotatingConfig.reduced(model=m, seeds=(s,)) for s in SHORTER] for m in COMPARED
    }
    settings["dynamic with particles, kicks"] = [kicks(s) for s in SHORTER]
    rows = []
    for name, configs in settings.items():
        found = [r for c in configs if (r := records.load(ROTATING_MNIST, c)) is not None]
        if len(found) < len(SHORTER):
            continue
        others = [np.delete(r.arrays["misses"][0], HELD_OUT).mean() for r in found]
        values = {
            "training loss": [measured(r, "objective") for r in found],
            "angle left out": [measured(r, "mse") for r in found],
            "other angles": others,
        }
        numbers = int(found[0].facts["flow_parameters"])
        rows.append(
            {"model": name, "numbers of the flow": numbers}
            | {k: f"{np.median(v):.4f}" for k, v in values.items()}
        )
    return pd.DataFrame(rows)
