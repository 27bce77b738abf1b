"""Records read as files, and the rule of verdicts applied to them: nothing of the package.

The rule, in words: a comparison is the difference of two medians with a 95 % bootstrap interval,
each side resampled by itself; no outlier is removed, failed runs count as infinitely bad. It holds
if the interval is wholly on the claimed side, in part if only the sign is right. A claim is
reproduced if each comparison holds, not reproduced if none is even in sign, else partly.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

HOLDS, PART, NOT, NOT_RUN = "reproduced", "partly", "not reproduced", "not run"
DRAWS = 10_000
KEPT = ("experiment", "config", "metrics", "facts", "failed_at")
TAIL = 0.025  # of an interval of 95 %, on either side


class Missing(LookupError):
    """No record has such settings."""


@dataclass(frozen=True)
class Compared:
    """One comparison: its word, and the word it might have with another seed of the bootstrap."""

    word: str
    other: str


@dataclass(frozen=True)
class Recounted:
    """A claim: its word, and the words of its comparisons."""

    word: str
    compared: tuple[Compared, ...] = ()

    @classmethod
    def of(cls, compared: tuple[Compared, ...]) -> Recounted:
        words = {c.word for c in compared}
        if words == {HOLDS}:
            return cls(HOLDS, compared)
        return cls(NOT if words == {NOT} else PART, compared)

    def counts(self) -> tuple[int, int, int]:
        """Comparisons that hold, that hold in part, and that do not."""
        words = [c.word for c in self.compared]
        return words.count(HOLDS), words.count(PART), words.count(NOT)

    def readings(self) -> set[tuple[str, tuple[int, int, int]]]:
        """Word and counts, under every seed of the bootstrap."""
        if self.word == NOT_RUN:
            return {(NOT_RUN, (0, 0, 0))}
        choices = product(*({c.word, c.other} for c in self.compared))
        ways = (Recounted.of(tuple(Compared(w, w) for w in words)) for words in choices)
        return {(way.word, way.counts()) for way in ways}


class Shelf:
    """All records, as they stand in their files; a test may alter what `records` holds.

    A record is what its JSON file says (histories and origin left out), and ``arrays_at``, the
    path of its arrays.
    """

    def __init__(self, records: Sequence[dict[str, Any]]) -> None:
        self.records = list(records)

    @classmethod
    def of(cls, folder: Path) -> Shelf:
        found = []
        for path in sorted(folder.glob("*/*.json")):
            record = json.loads(path.read_text(encoding="utf-8"))
            found.append({**{k: record[k] for k in KEPT}, "arrays_at": path.with_suffix(".npz")})
        return cls(found)

    def copy(self) -> Shelf:
        """A shelf whose records may get other metrics, configs or failures."""
        parts = ("config", "metrics", "facts")
        return Shelf([{**r, **{k: dict(r[k]) for k in parts}} for r in self.records])

    def find(self, experiment: str, **wanted: object) -> list[dict[str, Any]]:
        """Records that agree in all but their seeds; several pools of seeds are one ensemble."""
        found = [r for r in self.records if r["experiment"] == experiment
                 and all(r["config"].get(k) == v for k, v in wanted.items())]  # fmt: skip
        if not found:
            raise Missing(f"expected a record of {experiment} with {wanted}, found none")
        rest = {json.dumps({k: v for k, v in r["config"].items() if k != "seeds"}) for r in found}
        seeds = [seed for r in found for seed in r["config"]["seeds"]]
        assert len(rest) == 1, f"expected one setting, got {len(rest)}; name more of {sorted(rest)}"
        assert len(set(seeds)) == len(seeds), f"expected distinct seeds, got {sorted(seeds)}"
        return sorted(found, key=lambda r: min(r["config"]["seeds"]))

    def runs(self, experiment: str, metric: str, **wanted: object) -> np.ndarray:
        """A metric of all runs; NaN where a run failed."""
        found = self.find(experiment, **wanted)
        return np.concatenate([of_runs(record, metric) for record in found])


def of_runs(record: Mapping[str, Any], metric: str) -> np.ndarray:
    """Values of one record; a run that failed has none."""
    failed = np.array(record["failed_at"]) != -1
    values = record["metrics"].get(metric, [None] * len(failed))
    return np.where(failed, np.nan, np.array(values, float))


# --- one comparison --------------------------------------------------------------------------


def is_below(low: np.ndarray, high: np.ndarray | float, rng: np.random.Generator) -> Compared:
    """Whether the first side has the smaller median; a failed run is above everything."""
    low, high = (failed_as(np.inf, side) for side in (low, high))
    if _above(np.median(low), np.median(high)) <= 0:
        return Compared(NOT, NOT)
    left = np.mean(_above(_medians(low, rng), _medians(high, rng)) <= 0)
    word, other = (HOLDS, PART) if left < TAIL else (PART, HOLDS)
    return Compared(word, other if _decided_by_seed(left) else word)


def is_above(high: np.ndarray, low: float, rng: np.random.Generator) -> Compared:
    """Whether the median is above a bound; a failed run does not help the claim."""
    return is_below(-failed_as(-np.inf, high), -low, rng)


def failed_as(level: float, values: np.ndarray | float) -> np.ndarray:
    values = np.atleast_1d(values)
    return np.where(np.isnan(values), level, values)


def _above(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """How far the second side is above the first; 0 where both have failed."""
    both = np.isinf(low) & (low == high)
    return np.where(both, 0.0, np.where(both, 0.0, high) - np.where(both, 0.0, low))


def _medians(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if len(values) == 1:
        return values
    drawn = rng.choice(np.sort(values), size=(DRAWS, len(values)))
    drawn.sort(axis=1)
    n = len(values)
    return (drawn[:, (n - 1) // 2] + drawn[:, n // 2]) / 2


def _decided_by_seed(left: float) -> bool:
    """Whether 10,000 other draws might move an end of the interval across zero.

    The end is at zero where 2.5 % of the draws are. Of so many draws that share has a standard
    deviation of 0.16 %, and two seeds differ by the square root of 2 times as much. Four times that
    is 0.9 %: one pair of seeds in ten thousand differs by more.
    """
    return abs(left - TAIL) < 4 * (2 * TAIL * (1 - TAIL) / DRAWS) ** 0.5


def single(margin: float, allowance: float = 0.0) -> Compared:
    """A single run: by how much it keeps its bar, and by how much it may miss it in part."""
    word = HOLDS if margin > 0 else PART if margin > -allowance else NOT
    return Compared(word, word)


def wilson(successes: int, runs: int) -> tuple[float, float]:
    """Wilson's interval of 95 % for a rate."""
    z, rate = 1.959964, successes / runs
    middle = rate + z**2 / (2 * runs)
    half = z * (rate * (1 - rate) / runs + z**2 / (4 * runs**2)) ** 0.5
    return (middle - half) / (1 + z**2 / runs), (middle + half) / (1 + z**2 / runs)


# --- a claim ---------------------------------------------------------------------------------

Recount = Callable[[Shelf, np.random.Generator], list[Compared]]


def recounted(recount: Recount, shelf: Shelf, seed: int = 7) -> Recounted:
    try:
        compared = tuple(recount(shelf, np.random.default_rng(seed)))
    except Missing:
        return Recounted(NOT_RUN)
    return Recounted.of(compared)
