"""Long trainings that are not finished: how far they are, and their test error so far.

``python -m shooting unfinished --out book/records/unfinished.json`` reads checkpoints and writes
the file; the book shows it apart from the records, and no claim is judged by it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shooting.errors import shown
from shooting.study.experiments import EXPERIMENTS, Experiment
from shooting.study.experiments.base import float32
from shooting.study.experiments.settings import as_dict, from_dict
from shooting.study.paths import records_folder
from shooting.study.records import store
from shooting.study.records.checkpoints import read_checkpoint
from shooting.study.records.identity import record_id
from shooting.study.storage import CorruptFileError, atomic_write

NAME = "unfinished.json"
DRAWN = ("misses", "validation")  # arrays that are kept: errors by frame, by epoch
ADVICE = "write it anew with python -m shooting unfinished, or delete it"


@dataclass(frozen=True)
class Unfinished:
    """What the checkpoint of one training says, under the names of a record.

    Attributes:
        experiment: Name of the experiment.
        config: Settings.
        epochs: Epochs done.
        seconds: Time of training so far.
        source: Hash of the sources that train.
        metrics: Final numbers by name, one per run, if the training ended here.
        arrays: `DRAWN`, first axis the run.
    """

    experiment: str
    config: Any
    epochs: int
    seconds: float
    source: str
    metrics: dict[str, list[float]]
    arrays: dict[str, np.ndarray]

    @property
    def id(self) -> str:
        """Of the record that is to come."""
        return record_id(self.experiment, self.config)

    def line(self) -> str:
        """One line for people."""
        error, at = (self.metrics[k][0] for k in ("validation_mse", "best_epoch"))
        return (
            f"epoch {self.epochs} of {self.config.epochs}, least validation error {error:.4f} "
            f"(epoch {at:.0f}), test error {self.metrics['mse'][0]:.4f}"
        )


def measure(experiment: Experiment, config: Any) -> Unfinished | None:
    """What the checkpoint of a config says; None without one, or if an epoch is not yet done.

    Args:
        experiment: One that has `so_far`.
        config: Its config.

    Raises:
        CorruptFileError: If the checkpoint is not what was written, or not of such a model.
    """
    assert experiment.so_far is not None
    path = store.lock_path(experiment, config).with_suffix(".safetensors")
    try:
        state, about = read_checkpoint(path)
    except FileNotFoundError:
        return None
    if not (epochs := len(state["history"])):
        return None
    try:
        with float32():
            metrics, arrays = experiment.so_far(config, state)
    except (RuntimeError, ValueError, KeyError) as error:  # as load_state_dict raises
        raise CorruptFileError(
            f"expected a model of {path.stem} in {path}, got {shown(str(error))}; finish it with "
            "the sources that began it"
        ) from error
    return Unfinished(
        experiment.name,
        config,
        epochs,
        round(float(about["elapsed"]), 1),
        about["owner"].split()[-1],
        metrics,
        {k: arrays[k] for k in DRAWN},
    )


def write(found: Iterable[Unfinished], path: Path) -> None:
    """Write a file for `load`; what it had of other trainings stays, unless they are recorded."""
    kept = {u.id: u for u in [*(load(path) if path.exists() else []), *found]}
    documents = {name: _document(u) for name, u in sorted(kept.items())}
    atomic_write(path, (json.dumps(documents, indent=1) + "\n").encode())


def _document(found: Unfinished) -> dict[str, Any]:
    lists = {k: [[float(f"{x:.6g}") for x in row] for row in v] for k, v in found.arrays.items()}
    return {
        "experiment": found.experiment,
        "config": as_dict(found.config),
        "epochs": found.epochs,
        "seconds": found.seconds,
        "source": found.source,
        "metrics": found.metrics,
        "arrays": lists,
    }


def load(path: Path | None = None) -> list[Unfinished]:
    """The trainings of a file that have no record yet, in the order of their grids.

    Args:
        path: The file; ``unfinished.json`` among the committed records unless given, where there
            need not be one.

    Raises:
        CorruptFileError: If it is not what `write` wrote.
    """
    path = path or records_folder() / NAME
    if not path.exists():
        return []
    try:
        found = {
            name: _read(name, document) for name, document in json.loads(path.read_bytes()).items()
        }
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        got = f"{type(error).__name__}: {shown(str(error))}"
        raise CorruptFileError(
            f"expected unfinished runs in {path}, got {got}; {ADVICE}"
        ) from error
    wanted = [record_id(e.name, c) for e in EXPERIMENTS.values() for c in e.grid("paper")]
    open_ = [found[name] for name in wanted if name in found]
    return [u for u in open_ if store.load(u.experiment, u.config) is None]


def _read(name: str, document: Mapping[str, Any]) -> Unfinished:
    experiment = EXPERIMENTS[document["experiment"]]
    found = Unfinished(
        experiment.name,
        from_dict(experiment.config, document["config"]),
        int(document["epochs"]),
        float(document["seconds"]),
        str(document["source"]),
        {k: [float(x) for x in v] for k, v in document["metrics"].items()},
        {k: np.array(document["arrays"][k], dtype=np.float32) for k in DRAWN},
    )
    if found.id != name:
        raise ValueError(f"expected the settings of {name}, got those of {found.id}")
    lengths = {k: v.shape for k, v in found.arrays.items()}
    if lengths["validation"] != (1, found.epochs) or len(lengths["misses"]) != 2:
        raise ValueError(f"expected errors of {found.epochs} epochs, got shapes {lengths}")
    found.line()  # fails without the metrics that it shows
    return found
