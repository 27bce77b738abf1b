"""The rule by which a claim gets its verdict.

One comparison: the difference of medians with a 95 % bootstrap interval over seeds. No outlier is
removed; failed runs count as infinitely bad. Interval wholly on the claimed side: reproduced; sign
only: partly; else not reproduced. A claim of several comparisons is reproduced if each is, not
reproduced if none is even in sign, and partly otherwise.

Beside the verdict stands how large the difference is (`effects`), which decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from shooting.study.claims.effects import Effect, log_ratio, middle, ratio, resampled

Values = Sequence[float] | np.ndarray
REPRODUCED, PARTLY, NOT, NOT_RUN = "reproduced", "partly", "not reproduced", "not run"
HOLDS = {REPRODUCED: "holds", PARTLY: "holds partly", NOT: "does not hold"}


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
        size: The effect, unless it is the plain ratio of the medians.
    """

    what: str
    medians: tuple[float, float]
    interval: tuple[float, float]
    status: str
    runs: tuple[int, int] = (1, 0)
    is_rate: bool = False
    size: Effect | None = None

    @property
    def effect(self) -> Effect:
        """How large it is: a rate with Wilson's interval, or the ratio of the medians.

        The ratio is other / claimed lower, without an interval where single runs are compared.
        """
        if self.is_rate:
            return Effect(self.medians[0], self.interval)
        return self.size or Effect(float(ratio(*self.medians)))

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
        reason: The counts; or why it is not run.
        parts: The comparisons behind it.
        runs: Ids of the records used.
        found: What was found, in one sentence with its numbers; empty if it is not run.
    """

    status: str
    reason: str
    parts: tuple[Part, ...] = ()
    runs: tuple[str, ...] = ()
    found: str = ""

    @property
    def counted(self) -> str:
        """The verdict behind its counts: ``10 of 12 comparisons hold: partly``."""
        return behind_counts(self.status, self.parts)

    @property
    def line(self) -> str:
        """What was found, or why it is not run, and then the verdict behind its counts."""
        return f"{self.found or self.reason} ({self.counted})"


def behind_counts(status: str, parts: Sequence[Part]) -> str:
    """``10 of 12 comparisons hold: partly``, or ``one comparison: reproduced``."""
    if not parts:
        return status
    return f"{held(parts) if len(parts) > 1 else 'one comparison'}: {status}"


def held(parts: Sequence[Part]) -> str:
    """``10 of 12 comparisons hold``, or what became of a single one."""
    if len(parts) == 1:
        return f"the comparison {HOLDS[parts[0].status]}"
    return f"{tally(parts)} hold{'s'[: _count(parts) == 1]}"


def tally(parts: Sequence[Part]) -> str:
    """``10 of 12 comparisons``."""
    return f"{_count(parts)} of {len(parts)} comparison{'s'[: len(parts) != 1]}"


def _count(parts: Sequence[Part]) -> int:
    return sum(p.status == REPRODUCED for p in parts)


def median_interval(lower: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of median(other) - median(lower), seeds resampled independently.

    Args:
        lower: One number per run; failed runs as infinity.
        other: Likewise.

    Returns:
        Lower and upper end.
    """
    return middle(_gap(*resampled(lower, other)))


def _gap(lower: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Differences of medians; 0 where both are infinite."""
    with np.errstate(invalid="ignore"):
        found: np.ndarray = np.where(lower == other, 0.0, other - lower)
    return found


def compare(what: str, lower: Values, other: Values, *, logs: bool = False) -> Part:
    """Judge one comparison.

    Args:
        what: What is compared, in words.
        lower: Runs of the side that the paper claims to be lower; NaN for failed runs.
        other: Runs of the other side.
        logs: Whether the numbers are logarithms to base 2, as complexities are.

    Returns:
        The comparison with its verdict and its effect.
    """
    a, b = map(_counted, (lower, other))
    medians = median(lower), median(other)
    draws = resampled(a, b)
    interval = middle(_gap(*draws))
    status = REPRODUCED if interval[0] > 0 else PARTLY if medians[0] < medians[1] else NOT
    quotient = log_ratio if logs else ratio
    effect = Effect(float(quotient(*medians)), middle(quotient(*draws)))
    return Part(what, medians, interval, status, (len(a), len(b)), size=effect)


def alike(what: str, a: Values, b: Values) -> Part:
    """Whether the bootstrap interval of the difference of two medians holds zero.

    Two sides whose median run failed are not alike: nothing is known of them.
    """
    draws = resampled(_counted(a), _counted(b))
    low, high = middle(_gap(*draws))
    medians = median(a), median(b)
    status = REPRODUCED if low <= 0 <= high and np.isfinite(medians).any() else NOT
    effect = Effect(float(ratio(*medians)), middle(ratio(*draws)))
    return Part(what, medians, (low, high), status, (len(a), len(b)), size=effect)


def outcome(mine: Values, other: Values) -> str:
    """Win, tie or loss of the first, where more is better: by the interval of the medians."""
    return lies(median_interval(np.asarray(other), np.asarray(mine)), "win", "loss", "tie")


def lies(interval: tuple[float, float], above: str, below: str, around: str) -> str:
    """A word for where an interval lies: above zero, below it, or around it."""
    low, high = interval
    return above if low > 0 else below if high < 0 else around


def median(values: Values) -> float:
    """Median over runs, failed ones (NaN) as infinitely bad."""
    return float(np.median(_counted(values)))


def _counted(values: Values) -> np.ndarray:
    found: np.ndarray = np.where(np.isnan(np.asarray(values)), np.inf, np.asarray(values))
    return found


def combine(parts: Sequence[Part], runs: Sequence[str] = (), *, found: str = "") -> Verdict:
    """Verdict on a claim made of several comparisons.

    Args:
        parts: At least one comparison.
        runs: Ids of the records used.
        found: What was found, in one sentence; by default the range of the effects.

    Returns:
        The verdict with a sentence that counts the parts.
    """
    hold, none = (all(p.status == s for p in parts) for s in (REPRODUCED, NOT))
    status = REPRODUCED if hold else NOT if none else PARTLY
    half = sum(p.status == PARTLY for p in parts)
    reason = held(parts) + (f", {half} partly" if half else "")
    said = _with_failures(found or _range(parts), parts)
    return Verdict(status, reason, tuple(parts), tuple(dict.fromkeys(runs)), said)


def _with_failures(found: str, parts: Sequence[Part]) -> str:
    """A sentence, and how often sides failed; that alone where all comparisons are of failures."""
    failed = [_failed(p) for p in parts]
    counts = {"both sides": failed.count(2), "one side": failed.count(1)}
    said = [
        f"In {count} of {len(parts)} comparisons most runs of {which} failed."
        for which, count in counts.items()
        if count
    ]
    return " ".join(said if counts["both sides"] == len(parts) else [found, *said])


def _failed(part: Part) -> int:
    """How many of the two sides have a median run that failed."""
    return sum(not np.isfinite(m) for m in part.medians)


def _range(parts: Sequence[Part]) -> str:
    """The effects, without those of two failed sides, of which nothing is known."""
    effects = [p.effect.value for p in parts if _failed(p) < 2] or [math.nan]
    what = "rates" if parts[0].is_rate else "effects (1 at the criterion, more as claimed)"
    return f"The {what} are {min(effects):.2f} to {max(effects):.2f}."


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
