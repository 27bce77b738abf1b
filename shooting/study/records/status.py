"""What has become of each config, and which records no grid asks for any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shooting.environment import NoHomeError
from shooting.study.experiments import EXPERIMENTS, PROFILES, Experiment
from shooting.study.paths import records_folder
from shooting.study.records.identity import record_id
from shooting.study.records.store import checkpoint_of, counts, is_running, load
from shooting.study.storage import CorruptFileError


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


def state_of(
    experiment: Experiment,
    config: Any,
    *,
    out: Path | None = None,
    told: list[str] | None = None,
) -> str:
    """One of `STATES`: ``failed`` if some run met NaN, ``started`` if a checkpoint is of use.

    Under ``$FRESH`` only what was begun since then is done or started.

    Args:
        experiment: The experiment.
        config: Its config.
        out: The only folder where records count; by default the committed and the local ones.
        told: Gets a sentence with the file's name for a corrupt record.
    """
    try:
        record = load(experiment, config, out=out)
    except CorruptFileError as error:
        if told is not None:
            told.append(str(error))
        return "corrupt"
    if record is not None and counts(record):
        return "failed" if record.failed.any() else "done"
    try:
        if is_running(experiment, config):
            return "running"
        return "started" if checkpoint_of(experiment, config).usable() else "missing"
    except NoHomeError:  # nor checkpoints then
        return "missing"
