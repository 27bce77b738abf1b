"""The rule by which a claim gets its verdict.

One comparison: the difference of medians with a 95 % bootstrap interval over seeds. No outlier is
removed; failed runs count as infinitely bad. Interval wholly on the claimed side: reproduced; sign
only: partly; else not reproduced. A claim of several comparisons is reproduced if each is, not
reproduced if none is even in sign, and partly otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

REPRODUCED, PARTLY, NOT, NOT_RUN = "reproduced", "partly", "not reproduced", "not run"
RESAMPLES = 10_000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Part:
    """One comparison: the first of two sides should have the smaller median; or a rate is judged.

    Attributes:
        what: What is compared, in words.
        medians: Medians of the side claimed lower, and of the other; or a rate, and that claimed.
        interval: Bootstrap interval of (other - claimed lower); of single runs the margin, twice;
            of a rate Wilson's interval for it.
        status: Verdict on this comparison alone.
        runs: How many on each side; 0 for a constant.
        is_rate: Whether a rate is compared.
    """

    what: str
    medians: tuple[float, float]
    interval: tuple[float, float]
    status: str
    runs: tuple[int, int] = (1, 0)
    is_rate: bool = False

    @property
    def is_undecided(self) -> bool:
        """Whether it is not reproduced, but its interval holds 0, or the rate claimed."""
        low, high = self.interval
        level = self.medians[1] if self.is_rate else 0.0
        return self.status == NOT and max(self.runs) > 1 and low <= level <= high


@dataclass(frozen=True)
class Verdict:
    """Verdict on a claim.

    Attributes:
        status: ``reproduced``, ``partly``, ``not reproduced`` or ``not run``.
        reason: One sentence.
        parts: The comparisons behind it.
        runs: Ids of the records used.
    """

    status: str
    reason: str
    parts: tuple[Part, ...] = ()
    runs: tuple[str, ...] = ()


def median_interval(lower: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of median(other) - median(lower), seeds resampled independently.

    Args:
        lower: One number per run; failed runs as infinity.
        other: Likewise.

    Returns:
        Lower and upper end.
    """
    rng = np.random.default_rng(0)  # fixed: the verdict is a function of the records alone
    draws = [np.median(rng.choice(side, (RESAMPLES, len(side))), axis=1) for side in (lower, other)]
    with np.errstate(invalid="ignore"):
        gap = np.where(draws[0] == draws[1], 0.0, draws[1] - draws[0])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(gap, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)


def compare(what: str, lower: Sequence[float], other: Sequence[float]) -> Part:
    """Judge one comparison.

    Args:
        what: What is compared, in words.
        lower: Runs of the side that the paper claims to be lower; NaN for failed runs.
        other: Runs of the other side.

    Returns:
        The comparison with its verdict.
    """
    a, b = map(_counted, (lower, other))
    medians = median(lower), median(other)
    interval = median_interval(a, b)
    status = REPRODUCED if interval[0] > 0 else PARTLY if medians[0] < medians[1] else NOT
    return Part(what, medians, interval, status, (len(a), len(b)))


def median(values: Sequence[float]) -> float:
    """Median over runs, failed ones (NaN) as infinitely bad."""
    return float(np.median(_counted(values)))


def _counted(values: Sequence[float]) -> np.ndarray:
    found: np.ndarray = np.where(np.isnan(np.asarray(values)), np.inf, np.asarray(values))
    return found


def combine(parts: Sequence[Part], runs: Sequence[str] = (), note: str = "") -> Verdict:
    """Verdict on a claim made of several comparisons.

    Args:
        parts: At least one comparison.
        runs: Ids of the records used.
        note: What a reader should know beside the counts.

    Returns:
        The verdict with a sentence that counts the parts.
    """
    count = {s: sum(p.status == s for p in parts) for s in (REPRODUCED, PARTLY, NOT)}
    whole = len(parts)
    status = REPRODUCED if count[REPRODUCED] == whole else NOT if count[NOT] == whole else PARTLY
    reason = (
        f"of {whole} comparisons {count[REPRODUCED]} hold, {count[PARTLY]} in part, "
        f"{count[NOT]} not"
    )
    reason += f"; {note}" if note else ""
    return Verdict(status, reason, tuple(parts), tuple(dict.fromkeys(runs)))


def threshold(what: str, values: Sequence[float], bound: float, *, below: bool = True) -> Part:
    """Judge whether a median lies on one side of a bound fixed in advance.

    Args:
        what: What is compared, in words.
        values: One number per run; NaN for failed runs, which count against the claim.
        bound: The bound.
        below: Whether the claim says below.

    Returns:
        The comparison of the runs with a constant.
    """
    constant = [bound] * len(values)
    if below:
        part = compare(what, values, constant)
    else:
        against = np.where(np.isnan(values), -np.inf, values)
        part = compare(what, constant, [float(v) for v in against])
    return replace(part, runs=(len(values), 0) if below else (0, len(values)))
