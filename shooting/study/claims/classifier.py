"""What was predicted of the classifier of digits before its runs, and what came out.

The predictions stand in ``book/classifier_predictions.yaml``; verdicts follow the rule of the other
claims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import yaml

from shooting.errors import require_choice
from shooting.study.claims.loading import Runs, runs_of
from shooting.study.claims.rule import NOT, NOT_RUN, Part, Verdict, alike, combine, compare, outcome
from shooting.study.experiments.classifier import (
    CLASSIFIER,
    NAMES,
    PARTICLES,
    ClassifierConfig,
    setting,
    trials,
    unpenalised,
)
from shooting.study.paths import book_file
from shooting.study.records import NotRunError
from shooting.study.storage import CorruptFileError

KINDS = ("tie", "close")


@dataclass(frozen=True)
class Prediction:
    """One prediction, as committed before the first record.

    Attributes:
        id: Its number.
        words: Its sentence.
        kind: One of `KINDS`.
        others: Models that dynamic particles are compared with.
        margin: Of the kind ``close``: the accuracy that may be lost.
    """

    id: str
    words: str
    kind: str
    others: Sequence[str]
    margin: float = 0.0

    def __post_init__(self) -> None:
        require_choice(self.kind, KINDS, "a kind of prediction")

    def verdict(self) -> Verdict:
        """The verdict, computed from the records; ``not run`` where one is missing or corrupt."""
        try:
            by = {m: found(setting(m)) for m in (PARTICLES, *self.others)}
        except (NotRunError, CorruptFileError) as missing:
            return Verdict(NOT_RUN, str(missing))
        parts = [self._part(accuracies(by[PARTICLES]), m, accuracies(by[m])) for m in self.others]
        return combine(parts, [i for runs in by.values() for i in runs.ids])

    def _part(self, mine: np.ndarray, model: str, other: np.ndarray) -> Part:
        what = f"accuracy of {NAMES[PARTICLES]} against {NAMES[model]}"
        if self.kind == "tie":
            part = alike(what, mine, other)
            lost = not (np.median(mine) or np.median(other))  # as failed runs are counted
            return replace(part, status=NOT) if lost else part
        return compare(f"{what}, less {self.margin:g}", mine - self.margin, other)


def predictions() -> list[Prediction]:
    """The committed predictions."""
    text = book_file("classifier_predictions.yaml").read_text(encoding="utf-8")
    return [Prediction(**entry) for entry in yaml.safe_load(text)]


def found(config: ClassifierConfig) -> Runs:
    """The runs of a config.

    Raises:
        NotRunError: If they are not recorded.
    """
    runs = runs_of(CLASSIFIER, config)
    if runs is None:
        raise NotRunError(
            f"expected a record of the classifier {config.model}, got none; try "
            "make runs EXPERIMENT=classifier OUT=book/records"
        )
    return runs


def accuracies(runs: Runs) -> np.ndarray:
    """Accuracy on test images of each run; 0 where it failed."""
    known: np.ndarray = np.nan_to_num(np.asarray(runs.metrics["accuracy"]), nan=0.0)
    return known


def tuned(model: str) -> float | None:
    """The rate that the tuning chooses: the best median accuracy on validation images.

    A failed run counts as accuracy 0; of equal rates the lowest is taken.

    Args:
        model: Key of `NAMES`.

    Returns:
        The rate; None if a trial is not recorded.
    """
    medians = {}
    for config in trials(model):
        runs = runs_of(CLASSIFIER, config)
        if runs is None:
            return None
        medians[config.learning_rate] = float(np.median(accuracies(runs)))
    return max(medians, key=lambda rate: (medians[rate], -rate))


def table() -> pd.DataFrame:
    """Every model: its numbers, accuracy, seconds a run, and how dynamic particles do against it.

    Accuracies are medians over seeds with quartiles, seconds those of the record over its runs. The
    last row is dynamic particles without their penalty.

    Raises:
        NotRunError: If a model is not recorded.
    """
    by = {NAMES[m]: found(setting(m)) for m in NAMES}
    by[f"{NAMES[PARTICLES]}, no penalty"] = found(unpenalised())
    mine = accuracies(by[NAMES[PARTICLES]])
    rows = []
    for name, runs in by.items():
        (record,) = runs.found
        low, middle, high = np.quantile(accuracies(runs), (0.25, 0.5, 0.75))
        rows.append(
            {
                "model": name,
                "numbers": f"{record.facts['parameters']:,.0f}",
                "accuracy": f"{middle:.3f} ({low:.3f} to {high:.3f})",
                "seconds a run": f"{record.provenance['wall_seconds'] / len(record.failed):.1f}",
                "particles": "—" if name == NAMES[PARTICLES] else outcome(mine, accuracies(runs)),
            }
        )
    return pd.DataFrame(rows)
