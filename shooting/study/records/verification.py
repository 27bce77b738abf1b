"""Are the committed records what this code computes? Rules fixed before anything was compared.

Trainings are chaotic: two processors that round differently agree for some tens of steps and then
drift apart, so that only a record from the same kind of machine can be compared bit for bit.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shooting.errors import MissingDataError, NonFiniteError
from shooting.fit import EARLY_STEPS
from shooting.study import records
from shooting.study.experiments import EXPERIMENTS, PROFILES, Experiment
from shooting.study.experiments.base import TRIVIAL, float32
from shooting.study.paths import records_folder
from shooting.study.records import Record, data_checksums
from shooting.study.records.checkpoints import StateDict
from shooting.study.records.identity import record_id
from shooting.study.storage import CorruptFileError

MACHINE = ("route", "platform", "processor", "device", "threads", "python", "torch", "numpy")
EARLY_TOLERANCE = 1e-4  # relative, over the first 50 steps
TRIVIAL_TOLERANCE = 1e-9  # relative: a ridge on 500 images, in float64, summed in another order
WIDENING = 0.1  # of the ensemble's span, at both ends
MINUTES = 5.0
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


class _EnoughSteps(Exception):
    """Stops a training once its first steps are known."""

    def __init__(self, early: np.ndarray) -> None:
        super().__init__("the first steps are done")
        self.early = early


class _FirstSteps:
    """A checkpoint that keeps nothing and stops the training after the first 50 steps."""

    def load(self) -> StateDict | None:
        return None

    def due(self) -> bool:
        return True

    def save(self, state: StateDict) -> None:
        if int(state["step"]) >= EARLY_STEPS:
            early = state["early"]
            raise _EnoughSteps(early.reshape(len(early), -1).cpu().numpy().astype(np.float64))


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
    """Seconds that the record's training took."""
    return float(record.provenance["wall_seconds"])


def verify(chosen: Sequence[Record], *, minutes: float = MINUTES) -> Iterator[Verdict]:
    """Train records from scratch in a folder of their own and compare.

    A record that the time left does not allow to train in full is compared over its first 50
    steps only.

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
        else:
            yield check(record, whole=cost(record) <= left)


def check(record: Record, *, whole: bool = True) -> Verdict:
    """Train one record from scratch and compare.

    Args:
        record: The record.
        whole: Train to the end, or only the first 50 steps.

    Returns:
        The verdict; ``skipped`` if the data are not on this machine, or if only the first steps may
        be trained and the record has none, since all its runs stopped; ``differs`` without training
        if the data are not those of the record.
    """
    experiment = EXPERIMENTS[record.experiment]
    if others := data_checksums.differences(record.config, data_checksums.committed()):
        return _judge(record, others)
    if not whole and not len(record.early):
        return Verdict(record, "skipped", ("all its runs stopped: no losses, no time to train it",))
    try:
        if not whole:
            return _judge(record, _compare_early(record, _first_steps(experiment, record)))
        with tempfile.TemporaryDirectory() as folder:
            again = records.recompute(experiment, record.config, Path(folder))
    except MissingDataError as error:
        return Verdict(record, "skipped", (str(error),))
    except NonFiniteError as error:  # among the first steps; a whole training records it
        return _judge(record, [f"recorded {len(record.failed)} runs with losses, now: {error}"])
    same = not any(_compare_exactly(record, again))
    return _judge(record, compare(record, again), same=same)


def _judge(record: Record, problems: list[str], same: bool = False) -> Verdict:
    outcome = "differs" if problems else "equal" if same else "agrees"
    return Verdict(record, outcome, tuple(problems))


def _first_steps(experiment: Experiment, record: Record) -> np.ndarray:
    try:
        with float32():
            outcome = experiment.train(record.config, _FirstSteps())
    except _EnoughSteps as enough:
        return enough.early
    early = outcome.fit.early
    return early.reshape(len(early), -1).cpu().numpy().astype(np.float64)


def _same_machine(old: Record, new: Record) -> bool:
    return all(old.provenance[k] == new.provenance[k] for k in MACHINE)


def compare(old: Record, new: Record) -> list[str]:
    """Every difference that the rules forbid, with both numbers and the rule.

    The data have been compared before (`check`). Same route, machine class and versions: everything
    equal. Otherwise: counts equal, the losses
    of the first 50 steps within 1e-4 relative, each final loss within the old ensemble's range,
    widened by a tenth of its span at both ends.

    Args:
        old: The committed record.
        new: The one just trained.

    Returns:
        One sentence per difference.
    """
    if _same_machine(old, new):
        return list(_compare_exactly(old, new))
    return [
        *_compare_counts(old, new),
        *_compare_early(old, new.early),
        *_compare_final(old, new),
    ]


def _compare_exactly(old: Record, new: Record) -> Iterator[str]:
    parts: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("metric", old.metrics, new.metrics),
        ("array", old.arrays, new.arrays),
        ("fact", old.facts, new.facts),
        ("losses", {"early": old.early}, {"early": new.early}),
        ("steps", {"failed_at": old.failed_at}, {"failed_at": new.failed_at}),
    ]
    for kind, was, now in parts:
        for name in sorted({*was, *now}):
            if name not in was or name not in now:
                yield f"{kind} {name} is in one of the two only; rule: same names"
            elif name.startswith(TRIVIAL):  # of linear algebra, whose threads no record knows
                if not np.isclose(was[name], now[name], rtol=TRIVIAL_TOLERANCE, atol=0.0):
                    yield f"{kind} {name}: recorded {was[name]!r}, now {now[name]!r}; rule: close"
            elif text := _difference(np.asarray(was[name]), np.asarray(now[name])):
                yield f"{kind} {name}: {text}; rule: equal (same route, machine, versions)"


def _difference(was: np.ndarray, now: np.ndarray) -> str:
    if was.shape != now.shape:
        return f"shape recorded {was.shape}, now {now.shape}"
    apart = ~((was == now) | (np.isnan(was) & np.isnan(now)))
    if not apart.any():
        return ""
    first = tuple(int(i) for i in np.argwhere(apart)[0])
    return f"recorded {float(was[first])!r}, now {float(now[first])!r} at index {first}"


def _compare_counts(old: Record, new: Record) -> Iterator[str]:
    for name in sorted({*old.facts, *new.facts}):
        was, now = old.facts.get(name), new.facts.get(name)
        if was is None or now is None:
            yield f"{name} is in one of the two only; rule: same names"
        elif name.startswith(TRIVIAL):
            if not np.isclose(was, now, rtol=TRIVIAL_TOLERANCE, atol=0.0):
                yield f"{name}: recorded {was}, now {now}; rule: close"
        elif was != now and float(was).is_integer():
            yield f"{name}: recorded {was}, now {now}; rule: counts are equal"


def _compare_early(old: Record, early: np.ndarray) -> list[str]:
    steps = min(len(old.early), EARLY_STEPS)
    was, now = old.early[:steps], early[:steps]
    if was.shape != now.shape:
        return [f"first steps: recorded {was.shape}, now {now.shape}; rule: same shape"]
    close = np.isclose(now, was, rtol=EARLY_TOLERANCE, atol=0.0, equal_nan=True)
    return [
        f"loss of step {i}, run {j}: recorded {was[i, j]!s}, now {now[i, j]!s}; rule: within "
        f"{EARLY_TOLERANCE:g} relative over the first {EARLY_STEPS} steps"
        for i, j in np.argwhere(~close)[:3]
    ]


def _compare_final(old: Record, new: Record) -> Iterator[str]:
    pairs = {"last training loss": (old.arrays.get("history"), new.arrays.get("history"))}
    finals = {k: (w[-1], n[-1]) for k, (w, n) in pairs.items() if w is not None and n is not None}
    if "loss" in old.metrics and "loss" in new.metrics:
        finals["final loss"] = old.metrics["loss"], new.metrics["loss"]
    for name, (was, now) in finals.items():
        low, high = widened(was[~old.failed])
        for run in np.flatnonzero(~old.failed):
            if not low <= now[run] <= high:
                yield (
                    f"{name} of run {run}: recorded {was[run]!s}, now {now[run]!s}; rule: within "
                    f"[{low:.6g}, {high:.6g}], the ensemble's range widened by {WIDENING:.0%}"
                )


def widened(values: np.ndarray) -> tuple[float, float]:
    """Range of an ensemble, widened at both ends by a tenth of its span (of |value| if single)."""
    if not len(values):
        return -np.inf, np.inf
    low, high = float(np.min(values)), float(np.max(values))
    margin = WIDENING * ((high - low) or abs(high))
    return low - margin, high + margin
