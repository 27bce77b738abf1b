"""How large a difference is: ratios of medians, with intervals from the rule's resamples.

A ratio is (median of the other side) / (median of the side claimed lower): 1 means no difference,
or exactly the bar, and what is larger than 1 lies on the claimed side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Effect:
    """A ratio, or a rate, and how sure it is.

    Attributes:
        value: The ratio of medians, 1 for no difference and more as claimed; or the rate.
        interval: 95 % interval; None where single runs are compared.
    """

    value: float
    interval: tuple[float, float] | None = None


def resampled(lower: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Medians of both sides, seeds drawn with replacement and independently.

    Args:
        lower: One number per run of the side claimed lower; failed runs as infinity.
        other: Likewise of the other side.

    Returns:
        `RESAMPLES` medians of each side.
    """
    rng = np.random.default_rng(0)  # fixed: the verdict is a function of the records alone
    first, second = (
        np.median(rng.choice(side, (RESAMPLES, len(side))), axis=1) for side in (lower, other)
    )
    return first, second


def middle(values: np.ndarray) -> tuple[float, float]:
    """Ends of the interval that holds the middle 95 % of some numbers, infinite ones included."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)


def ratio(lower: np.ndarray | float, other: np.ndarray | float) -> np.ndarray:
    """r = other / lower, of quantities that cannot be negative.

    Args:
        lower: Medians of the side claimed lower; infinite where most runs failed.
        other: Of the other side; minus infinity where failed runs lie below a bound.

    Returns:
        Ratios; 1 where both sides are 0 or both infinite, NaN where a finite one is negative.
    """
    below, above = (np.where(np.isneginf(s), 0.0, s) for s in (lower, other))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(below == above, 1.0, above / below)
    return np.where((below < 0) | (above < 0), np.nan, found)


def log_ratio(lower: np.ndarray | float, other: np.ndarray | float) -> np.ndarray:
    """r = 2^(other - lower), of quantities that are logarithms to base 2.

    Args:
        lower: Medians of the side claimed lower.
        other: Of the other side.

    Returns:
        Ratios; 1 where both sides are infinite.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        found: np.ndarray = np.where(lower == other, 1.0, np.exp2(np.subtract(other, lower)))
    return found
