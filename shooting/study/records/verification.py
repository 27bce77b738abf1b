"""Are the committed records what this code computes? They are checked, trained again, compared.

What must hold inside a record is checked first, in all records and without training
(`shooting.study.records.identities`); which differences from a new training are allowed stands in
`shooting.study.records.comparison`.
"""

from __future__ import annotations

import math
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shooting.errors import MissingDataError
from shooting.fit import EARLY_STEPS
from shooting.study import records
from shooting.study.experiments import EXPERIMENTS, PROFILES, Experiment
from shooting.study.paths import records_folder
from shooting.study.records import Record, comparison, data_checksums, identities
from shooting.study.records.checkpoints import FileCheckpoint, StateDict
from shooting.study.records.identity import record_id
from shooting.study.storage import CorruptFileError

MINUTES = 4.5  # of five: what is being trained at the end needs a while to stop
SLOWER = 1.5  # a training here may take this many times as long as when it was recorded
OUTCOMES = ("equal", "agrees", "differs", "skipped")


@dataclass(frozen=True)
class Verdict:
    """What came of one record.

    Attributes:
        record: The committed record.
        outcome: One of `OUTCOMES`: ``equal`` bit for bit, ``agrees`` by the rules for other
            machines, ``differs``, or ``skipped``.
        details: The rule that was applied, and both numbers of every mismatch.
    """

    record: Record
    outcome: str
    details: tuple[str, ...]


class _OutOfTime(Exception):
    """Stops a training that is late, once its first steps are known."""

    def __init__(self, early: np.ndarray) -> None:
        super().__init__("the time is up, the first steps are done")
        self.early = early


class _Deadline(FileCheckpoint):
    """A checkpoint that stops a training which is not done in time.

    Args:
        path: The file.
        end: Moment of the monotonic clock from which it is late.
    """

    def __init__(self, path: Path, end: float) -> None:
        super().__init__(path)
        self.end = end

    def due(self) -> bool:
        return time.monotonic() >= self.end or super().due()

    def save(self, state: StateDict) -> None:
        if time.monotonic() < self.end:
            super().save(state)
        elif int(state["step"]) >= EARLY_STEPS:
            early = state["early"]
            raise _OutOfTime(early.reshape(len(early), -1).cpu().numpy().astype(np.float64))


def committed(
    experiments: Sequence[Experiment], folder: Path | None = None
) -> tuple[list[Record], list[CorruptFileError]]:
    """All records of a folder that a grid asks for.

    Args:
        experiments: Whose records.
        folder: By default the committed records.

    Returns:
        The records that are what was written, and what is wrong with each of the others.
    """
    place, found, corrupt = folder or records_folder(), [], []
    for e in experiments:
        for config in dict.fromkeys(c for profile in PROFILES for c in e.grid(profile)):
            path = place / e.name / f"{record_id(e.name, config)}.json"
            try:
                if path.exists():
                    found.append(records.read(path, config))
            except CorruptFileError as error:
                corrupt.append(error)
    return found, corrupt


def contradictions(known: Sequence[Record]) -> list[Verdict]:
    """The records that contradict themselves, found without training."""
    found = ((record, identities.problems(record)) for record in known)
    return [_judge(record, wrong) for record, wrong in found if wrong]


def sample(known: Sequence[Record], *, seed: int, minutes: float = MINUTES) -> list[Record]:
    """Records in random order, as many as their recorded times allow.

    Args:
        known: Where to draw from.
        seed: Of the draw.
        minutes: Time to fill; infinity takes everything.

    Returns:
        The draw; if no record is cheap enough, the first drawn alone.
    """
    order = random.Random(seed).sample(list(known), len(known))
    chosen, left = [], 60 * minutes
    for record in order:
        if cost(record) <= left:
            chosen.append(record)
            left -= cost(record)
    return chosen or order[:1]


def cost(record: Record) -> float:
    """Seconds that the record's training may take here: its own time, and half as much again."""
    return SLOWER * float(record.provenance["wall_seconds"])


def verify(chosen: Sequence[Record], *, minutes: float = MINUTES) -> Iterator[Verdict]:
    """Train records from scratch in a folder of their own and compare.

    A record that the time left does not allow to train in full is compared over its first 50
    steps only, also if that shows during its training. It is skipped where even an epoch, after
    which a training can be stopped first, takes longer.

    Args:
        chosen: Records to check.
        minutes: Time for all of them.

    Yields:
        One verdict per record.
    """
    end = time.monotonic() + 60 * minutes
    for record in chosen:
        left = end - time.monotonic()
        if left <= 0:
            yield Verdict(record, "skipped", ("no time was left",))
        elif (epoch := cost(record) / getattr(record.config, "epochs", 1)) > left:
            why = f"an epoch may take {epoch:.0f} s, and {left:.0f} s are left; try --sample 1"
            yield Verdict(record, "skipped", (why,))
        else:
            yield check(record, seconds=left if cost(record) <= left else 0.0)


def check(record: Record, *, seconds: float = math.inf) -> Verdict:
    """Train one record from scratch and compare.

    Args:
        record: The record.
        seconds: Time for its training. After it no more than the first 50 steps are trained, and
            compared alone.

    Returns:
        The verdict; ``skipped`` if the data are not on this machine, or if the time is up and the
        record has no first steps, since all its runs stopped; ``differs`` without training if the
        record contradicts itself, or the data are not those of the record.
    """
    experiment, end = EXPERIMENTS[record.experiment], time.monotonic() + seconds
    if wrong := identities.problems(record):
        return _judge(record, wrong)
    if others := data_checksums.differences(record.config, data_checksums.committed()):
        return _judge(record, others)
    try:
        with tempfile.TemporaryDirectory() as folder:
            again = records.recompute(
                experiment, record.config, Path(folder), keep=lambda path: _Deadline(path, end)
            )
    except MissingDataError as error:
        return Verdict(record, "skipped", (str(error),))
    except _OutOfTime as late:
        if not len(record.early):
            return Verdict(record, "skipped", ("all its runs stopped, and the time is up",))
        return _judge(record, comparison.compare_early(record, late.early))
    same = not any(comparison.exactly(record, again))
    return _judge(record, comparison.compare(record, again), same=same)


def _judge(record: Record, problems: list[str], same: bool = False) -> Verdict:
    outcome = "differs" if problems else "equal" if same else "agrees"
    return Verdict(record, outcome, tuple(problems))
