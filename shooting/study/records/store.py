"""Finding records and computing them; `shooting.study.records` has the public names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from shooting.environment import NoHomeError, variable
from shooting.errors import MissingDataError, NonFiniteError
from shooting.study.experiments import EXPERIMENTS, Experiment, check_profile
from shooting.study.experiments.base import float32
from shooting.study.experiments.settings import as_dict
from shooting.study.paths import records_folder, state_folder
from shooting.study.records import provenance
from shooting.study.records.checkpoints import FileCheckpoint
from shooting.study.records.files import Document, publish, write
from shooting.study.records.identity import NUMERICS, record_id
from shooting.study.records.record import Record, content_of, content_of_failure, read
from shooting.study.storage import (
    UNWRITABLE,
    BusyError,
    CorruptFileError,
    clear_litter,
    is_locked,
    lock,
    require_room,
    set_aside,
)

logger = logging.getLogger(__name__)

Key = TypeVar("Key")
Found = TypeVar("Found")


class NotRunError(LookupError):
    """Records that a figure or a claim needs are missing; the message says how to make them."""


def folders() -> tuple[Path, ...]:
    """Where records are looked for: the committed ones, then, if there is a home, the local."""
    try:
        return records_folder(), local_records()
    except NoHomeError:
        return (records_folder(),)


def local_records() -> Path:
    """Where records go that are computed on this machine."""
    return state_folder() / "records"


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


def load(experiment: str | Experiment, config: Any, *, out: Path | None = None) -> Record | None:
    """The record of a config, if there is one; one begun since ``$FRESH`` comes first.

    Args:
        experiment: The experiment or its name.
        config: Its config.
        out: The only folder to look in; by default the committed and the local records.

    Returns:
        The record, checked; None if nothing was recorded, or another process is just writing it.

    Raises:
        CorruptFileError: If the files are not what was written, and no other place has the record.
    """
    name = experiment if isinstance(experiment, str) else experiment.name
    places = (out,) if out else folders()
    paths = [folder / name / f"{record_id(name, config)}.json" for folder in places]
    found = _sound_ones(paths, config)  # read as many as needed
    first = next(found, None)
    if first is None or counts(first):
        return first
    return next(filter(counts, found), first)


def _sound_ones(paths: Iterable[Path], config: Any) -> Iterator[Record]:
    """The records that are there; a corrupt one raises where no other place has a sound one."""
    corrupt, found = None, False
    for path in paths:
        try:
            record = _read_if_there(path, config)
        except CorruptFileError as error:
            corrupt = corrupt or error
            continue
        if record is not None:
            found = True
            yield record
    if corrupt is not None and not found:
        raise corrupt


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


def counts(record: Record) -> bool:
    """Whether a record was begun since ``$FRESH``."""
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
    name = f"{record_id(experiment.name, config)}.json"
    target = (out or local_records()) / experiment.name / name
    with lock(lock_path(experiment, config), wait=wait):
        _clear(experiment, config, out)
        found = None if fresh else _sound(experiment, config, target)
        if found is None:
            checkpoint = checkpoint_of(experiment, config, seconds)
            if fresh:
                checkpoint.discard()
            require_room(checkpoint.path.parent)
            require_room(target.parent)
            write(target, *_train(experiment, config, checkpoint))
            checkpoint.discard()
        elif out is not None and found != target:
            publish(found, target)
        else:
            target = found
        return read(target, config)


def recompute(
    experiment: Experiment,
    config: Any,
    folder: Path,
    *,
    keep: Callable[[Path], FileCheckpoint] = FileCheckpoint,
) -> Record:
    """Train from scratch into a folder, without a look at records and checkpoints.

    Args:
        experiment: The experiment.
        config: Its config.
        folder: Where record and checkpoint go.
        keep: Makes the checkpoint that the training is kept in, of its file.

    Returns:
        The record.
    """
    path = folder / f"{record_id(experiment.name, config)}.json"
    write(path, *_train(experiment, config, keep(path.with_suffix(".safetensors"))))
    return read(path, config)


def lock_path(experiment: Experiment, config: Any) -> Path:
    """The lock of a training, held while it runs."""
    name = f"{record_id(experiment.name, config)}.lock"
    return state_folder() / "checkpoints" / experiment.name / name


def is_running(experiment: Experiment, config: Any) -> bool:
    """Whether some process on this machine trains a config right now."""
    return is_locked(lock_path(experiment, config))


def checkpoint_of(experiment: Experiment, config: Any, seconds: float = 20.0) -> FileCheckpoint:
    """The state of a training that was begun since ``$FRESH``, saved every so many seconds."""
    path = lock_path(experiment, config).with_suffix(".safetensors")
    owner = f"{path.stem} {provenance.source_hash()}"
    return FileCheckpoint(
        path, owner=owner, seconds=seconds, since=since(), environment=provenance.bits
    )


def _sound(experiment: Experiment, config: Any, target: Path) -> Path | None:
    """The first place with an intact record that counts; corrupt ones are set aside."""
    for path in [target, *(f / experiment.name / target.name for f in folders())]:
        try:
            if (record := _read_if_there(path, config)) is not None and counts(record):
                return path
        except CorruptFileError as error:
            _aside(path, str(error))
    return None


def _aside(path: Path, why: str) -> None:
    """Set both files of a record aside; where nothing can be written they stay, and it is said."""
    try:
        set_aside(path, why)
        set_aside(path.with_suffix(".npz"), why)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        logger.warning("%s stays, as its folder is read-only: %s", path, why)


def _clear(experiment: Experiment, config: Any, out: Path | None) -> None:
    """Remove what killed trainings of a config have half written; their lock is ours."""
    name = record_id(experiment.name, config)
    for folder in (lock_path(experiment, config).parent, local_records() / experiment.name):
        clear_litter(folder, name, age=0)
    if out is not None:  # where a machine with another state folder may write
        clear_litter(out / experiment.name, name)


def _train(
    experiment: Experiment, config: Any, checkpoint: FileCheckpoint
) -> tuple[Document, dict[str, np.ndarray]]:
    about = provenance.environment()
    try:
        with float32():
            content, arrays, route = content_of(experiment.train(config, checkpoint))
    except NonFiniteError as error:  # every run failed
        content, arrays, route = content_of_failure(error.steps)
    steps = content["failed_at"]
    about |= {
        "route": route,
        "wall_seconds": round(checkpoint.elapsed, 2),
        "resumed": checkpoint.resumed,
        "peak_memory_mb": provenance.peak_memory(),
        "started": checkpoint.begun.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "status": _status(sum(step != -1 for step in steps), len(steps)),
    }
    if provenance.mixed({"environments": checkpoint.environments}):
        about["environments"] = checkpoint.environments
    name, entries = experiment.name, as_dict(config)
    document = {"experiment": name, "id": record_id(name, config), "numerics": NUMERICS}
    return {**document, "config": entries, **content, "provenance": about}, arrays


def _status(failed: int, runs: int) -> str:
    return f"failed: {failed} of {runs} runs" if failed else "done"
