"""A record: what it holds, how its files are read, and what a training puts into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shooting.study.experiments.base import Outcome
from shooting.study.experiments.settings import as_dict, from_dict
from shooting.study.records.files import (
    ADVICE,
    Document,
    numbers,
    read_arrays,
    read_document,
)
from shooting.study.records.identity import record_id
from shooting.study.storage import CorruptFileError

UNMEASURED = -2  # "failed step" of a run that trained, but whose final numbers are not finite


@dataclass(frozen=True)
class Record:
    """One ensemble, trained.

    Where every run failed, `arrays` is empty, and each metric that is asked for is NaN.

    Attributes:
        experiment: Name of the experiment.
        id: Hash of experiment, config and `NUMERICS`.
        config: Settings.
        metrics: Final numbers by name, one per run; NaN where a run failed.
        arrays: What figures draw; ``history`` is the loss of each epoch, ``(epochs, runs)``.
        early: Losses of the first 50 steps, ``(steps, runs)``.
        facts: Numbers of the whole ensemble.
        failed_at: Optimiser step at which a run met NaN or infinity, -1 if it never did.
        provenance: Code, versions, machine, route, cost.
        path: The JSON file.
        drift: By which part the Hamiltonian moves over depth, one per run; None for models without
            one, and in records older than the measurement, so that nothing is compared with it.
    """

    experiment: str
    id: str
    config: Any
    metrics: dict[str, np.ndarray]
    arrays: dict[str, np.ndarray]
    early: np.ndarray
    facts: dict[str, float]
    failed_at: np.ndarray
    provenance: dict[str, Any]
    path: Path
    drift: np.ndarray | None = None

    @property
    def failed(self) -> np.ndarray:
        """Which runs failed, ``(runs,)``."""
        found: np.ndarray = self.failed_at != -1
        return found

    @property
    def command(self) -> str:
        """The command that makes this record."""
        return f"python -m shooting run --experiment {self.experiment} --ids {self.id}"


class Unmeasured(dict[str, Any]):
    """Metrics of runs that have none, because all of them failed: NaN, whatever is asked for.

    Args:
        runs: How many.
    """

    def __init__(self, runs: int) -> None:
        super().__init__()
        self.runs = runs

    def __missing__(self, name: str) -> np.ndarray:
        return np.full(self.runs, np.nan)


def pooled(found: Sequence[Record]) -> dict[str, Any]:
    """Metrics of several ensembles of one setting, run after run; NaN where a run failed.

    Args:
        found: The records.

    Returns:
        Numbers by name, as many as there are runs.
    """
    names = dict.fromkeys(name for r in found for name in r.metrics)
    if not names:
        return Unmeasured(sum(len(r.failed_at) for r in found))
    return {name: [float(x) for r in found for x in r.metrics[name]] for name in names}


def read(path: Path, config: Any) -> Record:
    """Read and check one record.

    Args:
        path: Its JSON file.
        config: The config it should hold.

    Returns:
        The record.

    Raises:
        CorruptFileError: If anything differs from what was written.
    """
    document = read_document(path)
    name = document["experiment"]
    own = record_id(name, config, document["numerics"])
    wanted = as_dict(config)  # to the letter: what a config sets anew must not hide a change
    try:
        same = from_dict(type(config), document["config"]) == config and all(
            wanted[key] == value for key, value in document["config"].items()
        )
    except (ValueError, TypeError) as error:
        told = f"{path} has another config ({error})"
        raise CorruptFileError(f"expected the config of {own}, but {told}; {ADVICE}") from error
    if path.stem != own or not same:
        raise CorruptFileError(f"expected the config of {own} in {path}, got another; {ADVICE}")
    return Record(
        experiment=name,
        id=document["id"],
        config=config,
        metrics=_metrics(document),
        arrays=read_arrays(path.with_suffix(".npz"), document["arrays"]),
        early=_floats(document["early"]),
        facts=document["facts"],
        failed_at=np.array(document["failed_at"], dtype=np.int64),
        provenance=document["provenance"],
        path=path,
        drift=_floats(document["drift"]) if "drift" in document else None,
    )


def _metrics(document: Document) -> dict[str, Any]:
    measured = {k: _floats(v) for k, v in document["metrics"].items()}
    return measured or Unmeasured(len(document["failed_at"]))


def _floats(values: Any) -> np.ndarray:
    return np.array(values, dtype=np.float64)  # null becomes NaN


Content = tuple[Document, dict[str, np.ndarray], str | None]  # part of the JSON, arrays, route


def content_of(outcome: Outcome) -> Content:
    """What a training leaves in its record; numbers of failed runs are void."""
    fit = outcome.fit
    failed = fit.failed.reshape(-1).cpu().numpy()
    metrics = {k: np.array(v, dtype=np.float64) for k, v in outcome.metrics.items()}
    for values in metrics.values():
        failed = np.where((failed == -1) & ~np.isfinite(values), UNMEASURED, failed)
    history = fit.history.reshape(len(fit.history), -1).cpu().numpy()
    early = fit.early.reshape(len(fit.early), -1).cpu().numpy()
    document = {
        "metrics": {k: numbers(np.where(failed == -1, v, np.nan)) for k, v in metrics.items()},
        "facts": outcome.facts,
        "failed_at": [int(step) for step in failed],
        "history": {
            "epochs": len(history),
            "first": numbers(history[0]),
            "last": numbers(history[-1]),
        },
        "early": [numbers(row) for row in early],
    }
    if fit.drift is not None:
        moved = fit.drift.reshape(-1).cpu().numpy()
        document["drift"] = numbers(np.where(failed == -1, moved, np.nan))
    return document, {**outcome.arrays, "history": history}, outcome.route


def content_of_failure(steps: Sequence[int]) -> Content:
    """The same where every run failed, at these steps: nothing to measure, but a result."""
    document = {
        "metrics": {},
        "facts": {},
        "failed_at": list(steps),
        "history": {"epochs": 0, "first": [], "last": []},
        "early": [],
    }
    return document, {}, None
