"""Reading, computing and looking after records; `shooting.study.records` has the public names."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from shooting.environment import variable
from shooting.errors import MissingDataError, NonFiniteError
from shooting.study.experiments import EXPERIMENTS, PROFILES, Experiment, Outcome, check_profile
from shooting.study.experiments.base import float32
from shooting.study.experiments.settings import as_dict, from_dict
from shooting.study.paths import records_folder, state_folder
from shooting.study.records import provenance
from shooting.study.records.checkpoints import FileCheckpoint
from shooting.study.records.files import (
    ADVICE,
    Document,
    numbers,
    publish,
    read_arrays,
    read_document,
    write,
)
from shooting.study.records.identity import NUMERICS, record_id
from shooting.study.storage import BusyError, CorruptFileError, is_locked, lock, set_aside

logger = logging.getLogger(__name__)

Key = TypeVar("Key")
Found = TypeVar("Found")

UNMEASURED = -2  # "failed step" of a run that trained, but whose final numbers are not finite


class NotRunError(LookupError):
    """Records that a figure or a claim needs are missing; the message says how to make them."""


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


# --- reading -------------------------------------------------------------------------------


def folders() -> tuple[Path, Path]:
    """Where records are looked for: the committed ones, then the local ones."""
    return records_folder(), state_folder() / "records"


def since() -> datetime | None:
    """The moment in ``$FRESH``: nothing that was begun before it counts as trained.

    Raises:
        ValueError: If it is not a day or moment, or lies ahead.
    """
    wished = variable("FRESH")
    if not wished:
        return None
    try:
        moment = datetime.fromisoformat(wished)
    except ValueError:
        raise ValueError(
            f"expected FRESH to be a day or moment (UTC) such as 2026-11-26T18:00, got {wished!r}; "
            "make takes FRESH=1 for the present one"
        ) from None
    moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).replace(microsecond=0)
    if moment > (now := datetime.now(UTC)):  # nothing would ever count, however often it is trained
        raise ValueError(
            f"expected FRESH to be a moment in the past, got {wished!r}, which lies ahead; it is "
            f"UTC, and now is {now:%Y-%m-%dT%H:%M}"
        )
    return moment


def load(experiment: str | Experiment, config: Any) -> Record | None:
    """The record of a config, if there is one; one begun since ``$FRESH`` comes first.

    Args:
        experiment: The experiment or its name.
        config: Its config.

    Returns:
        The record, checked; None if nothing was recorded, or another process is just writing it.

    Raises:
        CorruptFileError: If the files are not what was written.
    """
    name = experiment if isinstance(experiment, str) else experiment.name
    paths = [folder / name / f"{record_id(name, config)}.json" for folder in folders()]
    found = filter(None, (_read_if_there(path, config) for path in paths))  # as many as needed
    first = next(found, None)
    if first is None or _counts(first):
        return first
    return next(filter(_counts, found), first)


def _read_if_there(path: Path, config: Any) -> Record | None:
    """None without a record; corrupt is what does not fit while no other process replaces it."""
    try:
        while True:
            before = path.stat()
            try:
                return read(path, config)
            except CorruptFileError:
                after = path.stat()
                if (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns):
                    raise
    except FileNotFoundError:
        return None


def _counts(record: Record) -> bool:
    moment = since()
    return moment is None or datetime.fromisoformat(record.provenance["started"]) >= moment


def load_all(experiment: str | Experiment, profile: str) -> list[Record]:
    """The records that exist of a profile's grid, in its order."""
    known = EXPERIMENTS[experiment] if isinstance(experiment, str) else experiment
    found = [load(known, config) for config in known.grid(profile)]
    return [record for record in found if record is not None]


def require_all(found: Mapping[Key, Found | None], experiment: str) -> dict[Key, Found]:
    """What was looked for, if all of it is recorded.

    Args:
        found: Records, or what was made of them, by any key; None where there is none.
        experiment: Name of the experiment, for the command in the error.

    Raises:
        NotRunError: If any is missing.
    """
    known = {key: value for key, value in found.items() if value is not None}
    if missing := len(found) - len(known):
        raise NotRunError(f"{missing} records missing; make runs EXPERIMENT={experiment}")
    return known


def gather(experiment: str | Experiment, profile: str) -> list[Record]:
    """The records of the paper's grid, for a notebook.

    Args:
        experiment: The experiment or its name.
        profile: ``quick`` reads what is recorded; ``paper`` computes what is missing (whatever
            was not begun since the moment in the environment variable ``FRESH``, if that is
            set). Other processes may help: what one of them trains right now comes last. What
            needs data that are not on this machine stays as it is.

    Returns:
        The records that exist, in the grid's order.
    """
    known = EXPERIMENTS[experiment] if isinstance(experiment, str) else experiment
    if check_profile(profile) == "paper":
        for config in [c for c in known.grid("paper") if not _computed(known, c, wait=False)]:
            _computed(known, config, wait=True)
    return load_all(known, "paper")


def _computed(experiment: Experiment, config: Any, *, wait: bool) -> bool:
    """Compute a record if the data are on this machine; False if another process is at it."""
    try:
        compute(experiment, config, wait=wait)
    except BusyError:
        return False
    except MissingDataError as error:  # no warning: on a page it would count as an error
        logger.info("%s is not trained: %s", record_id(experiment.name, config), error)
    return True


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
    if path.stem != own or from_dict(type(config), document["config"]) != config:
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
    )


def _metrics(document: Document) -> dict[str, Any]:
    measured = {k: _floats(v) for k, v in document["metrics"].items()}
    return measured or Unmeasured(len(document["failed_at"]))


def _floats(values: Any) -> np.ndarray:
    return np.array(values, dtype=np.float64)  # null becomes NaN


# --- computing -----------------------------------------------------------------------------


def compute(
    experiment: Experiment,
    config: Any,
    *,
    fresh: bool = False,
    out: Path | None = None,
    wait: bool = True,
    seconds: float = 20.0,
) -> Record:
    """The record of a config, trained if need be; a training that was killed continues.

    Under ``$FRESH`` only records and checkpoints count that were begun since that moment.

    Args:
        experiment: The experiment.
        config: Its config.
        fresh: Train from scratch even if there is a record or a checkpoint.
        out: Folder for the record; by default the local records of the state folder.
        wait: Wait while another process trains the same config, or raise.
        seconds: Time between checkpoints; 0 saves after every epoch.

    Returns:
        The record. A corrupt one is set aside and trained again.

    Raises:
        BusyError: If another process is at it and `wait` is false.
    """
    target = (out or folders()[1]) / experiment.name / f"{record_id(experiment.name, config)}.json"
    with lock(lock_path(experiment, config), wait=wait):
        found = None if fresh else _sound(experiment, config, target)
        if found is None:
            checkpoint = _checkpoint(experiment, config, seconds)
            if fresh:
                checkpoint.discard()
            write(target, *_train(experiment, config, checkpoint))
            checkpoint.discard()
        elif out is not None and found != target:
            publish(found, target)
        else:
            target = found
        return read(target, config)


def recompute(experiment: Experiment, config: Any, folder: Path) -> Record:
    """Train from scratch into a folder, without a look at records and checkpoints.

    Args:
        experiment: The experiment.
        config: Its config.
        folder: Where record and checkpoint go.

    Returns:
        The record.
    """
    path = folder / f"{record_id(experiment.name, config)}.json"
    write(path, *_train(experiment, config, FileCheckpoint(path.with_suffix(".safetensors"))))
    return read(path, config)


def lock_path(experiment: Experiment, config: Any) -> Path:
    """The lock of a training, held while it runs."""
    name = f"{record_id(experiment.name, config)}.lock"
    return state_folder() / "checkpoints" / experiment.name / name


def is_running(experiment: Experiment, config: Any) -> bool:
    """Whether some process on this machine trains a config right now."""
    return is_locked(lock_path(experiment, config))


def _checkpoint(experiment: Experiment, config: Any, seconds: float) -> FileCheckpoint:
    path = lock_path(experiment, config).with_suffix(".safetensors")
    owner = f"{path.stem} {provenance.source_hash()}"
    return FileCheckpoint(path, owner=owner, seconds=seconds, since=since())


def _sound(experiment: Experiment, config: Any, target: Path) -> Path | None:
    """The first place with an intact record that counts; corrupt ones are set aside."""
    for path in [target, *(f / experiment.name / target.name for f in folders())]:
        try:
            if (record := _read_if_there(path, config)) is not None and _counts(record):
                return path
        except CorruptFileError as error:
            set_aside(path, str(error))
            set_aside(path.with_suffix(".npz"), str(error))
    return None


def _train(
    experiment: Experiment, config: Any, checkpoint: FileCheckpoint
) -> tuple[Document, dict[str, np.ndarray]]:
    about = provenance.environment()
    try:
        with float32():
            content, arrays, route = _content(experiment.train(config, checkpoint))
    except NonFiniteError as error:  # every run failed: nothing to measure, but a result
        content, arrays, route = _nothing(error.steps), {}, None
    steps = content["failed_at"]
    about |= {
        "route": route,
        "wall_seconds": round(checkpoint.elapsed, 2),
        "resumed": checkpoint.resumed,
        "peak_memory_mb": provenance.peak_memory(),
        "started": checkpoint.begun.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "status": "done" if all(s == -1 for s in steps) else f"failed: {_count(steps)} runs",
    }
    name, entries = experiment.name, as_dict(config)
    document = {"experiment": name, "id": record_id(name, config), "numerics": NUMERICS}
    return {**document, "config": entries, **content, "provenance": about}, arrays


def _count(steps: Sequence[int]) -> str:
    return f"{sum(s != -1 for s in steps)} of {len(steps)}"


def _content(outcome: Outcome) -> tuple[Document, dict[str, np.ndarray], str]:
    fit = outcome.fit
    failed = fit.failed.reshape(-1).cpu().numpy()
    metrics = {k: np.array(v, dtype=np.float64) for k, v in outcome.metrics.items()}
    for values in metrics.values():
        failed = np.where((failed == -1) & ~np.isfinite(values), UNMEASURED, failed)
    history = fit.history.reshape(len(fit.history), -1).cpu().numpy()
    early = fit.early.reshape(len(fit.early), -1).cpu().numpy()
    content = {
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
    return content, {**outcome.arrays, "history": history}, outcome.route


def _nothing(steps: Sequence[int]) -> Document:
    history = {"epochs": 0, "first": [], "last": []}
    return {
        "metrics": {},
        "facts": {},
        "failed_at": list(steps),
        "history": history,
        "early": [],
    }


# --- housekeeping --------------------------------------------------------------------------


def stale(experiment: str | Experiment | None = None, folder: Path | None = None) -> list[Path]:
    """Committed records that no grid asks for: made with other configs or other numerics.

    Args:
        experiment: One experiment; all by default.
        folder: Where to look; the committed records by default.

    Returns:
        Their JSON files.
    """
    place = folder or records_folder()
    if experiment is None:
        return [path for known in EXPERIMENTS.values() for path in stale(known, folder)]
    known = EXPERIMENTS[experiment] if isinstance(experiment, str) else experiment
    wanted = {record_id(known.name, c) for profile in PROFILES for c in known.grid(profile)}
    return [p for p in sorted((place / known.name).glob("*.json")) if p.stem not in wanted]


STATES = ("done", "failed", "running", "started", "missing", "corrupt")


def state_of(experiment: Experiment, config: Any) -> str:
    """One of `STATES`: ``failed`` if some run met NaN, ``started`` if a checkpoint is of use.

    Under ``$FRESH`` only what was begun since then is done or started.
    """
    try:
        record = load(experiment, config)
    except CorruptFileError:
        return "corrupt"
    if record is not None and _counts(record):
        return "failed" if record.failed.any() else "done"
    if is_running(experiment, config):
        return "running"
    return "started" if _checkpoint(experiment, config, 0.0).usable() else "missing"
