"""Counts behind the section on the convex trap: which runs are stuck, and which are convex."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shooting.study import records
from shooting.study.experiments.circles import wilson
from shooting.study.experiments.convex_trap import (
    CONVEX_TRAP,
    ELSEWHERE,
    INTERVENTIONS,
    STUCK,
    cured,
    published,
)
from shooting.study.experiments.convexity import best_convex, is_convex, named
from shooting.study.records import Record

WITHIN = 0.15  # of the best convex function's error, for stuck runs


@functools.cache
def level(function: str) -> float:
    """Mean squared error that the best convex function leaves of a target."""
    return best_convex(named(function)).mse


def stuck(function: str, mse: Sequence[float] | np.ndarray) -> np.ndarray:
    """Which runs leave more than half of what the best convex function does; failed ones do.

    Args:
        function: Name of the target.
        mse: Test error per run.

    Returns:
        Boolean, one per run.
    """
    return ~(np.asarray(mse, dtype=float) <= STUCK * level(function))


@dataclass(frozen=True)
class Tally:
    """Stuck or not against convex or not.

    Attributes:
        runs: How many.
        stuck: How many are stuck.
        stuck_convex: Stuck ones that are convex.
        near: Stuck ones whose error lies within `WITHIN` of the best convex function's.
        free_convex: Free ones that are convex.
    """

    runs: int
    stuck: int
    stuck_convex: int
    near: int
    free_convex: int

    @property
    def share(self) -> float:
        """Share of stuck runs."""
        return self.stuck / self.runs

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval for the share."""
        return wilson(self.stuck, self.runs)

    def __add__(self, other: Tally) -> Tally:
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Tally(*(a + b for a, b in pairs))


def tally(function: str, mse: np.ndarray, curves: np.ndarray) -> Tally:
    """Count the runs of an ensemble.

    Args:
        function: Name of the target.
        mse: Test error per run, ``(runs,)``.
        curves: Learned functions on an equispaced grid, ``(runs, n)``.

    Returns:
        The counts.
    """
    held, convex = stuck(function, mse), is_convex(curves)
    near = held & (np.abs(np.asarray(mse) / level(function) - 1) <= WITHIN)
    counts = (held, held & convex, near, ~held & convex)
    return Tally(len(held), *(int(c.sum()) for c in counts))


def tally_of(record: Record) -> Tally:
    """Count the runs of a record of the regression or of the convex trap."""
    return tally(record.config.function, record.metrics["mse"], record.arrays["fit"])


def tallies(found: Iterable[Record], key: Callable[[Any], Any]) -> dict[Any, Tally]:
    """Counts of many records, added up by a key of their config, in order of appearance."""
    sums: dict[Any, Tally] = {}
    for record in found:
        place, one = key(record.config), tally_of(record)
        sums[place] = sums[place] + one if place in sums else one
    return sums


def interventions() -> dict[str, Record]:
    """One change at a time on the main setting, by name, where it is recorded."""
    found = {n: records.load(CONVEX_TRAP, published(c)) for n, c in INTERVENTIONS.items()}
    return {name: record for name, record in found.items() if record is not None}


def elsewhere() -> dict[str, tuple[Record, Record]]:
    """Published and cured records of the other settings, by name, where both exist."""
    pairs = {
        name: [records.load(CONVEX_TRAP, make(changes)) for make in (published, cured)]
        for name, changes in ELSEWHERE.items()
    }
    return {name: (a, b) for name, (a, b) in pairs.items() if a is not None and b is not None}
