"""Numbers in words, for the sentences that say what was found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from shooting.study.claims.rule import Part

SIZE = "squared norm of the weights (complexity is its logarithm)"  # what ratios of 2^C compare
TINY = 1e-3


def number(value: float) -> str:
    """Three digits; more than 999 with thousands marked; a failed run in words."""
    if np.isnan(value):
        return "failed"
    if np.isinf(value):
        return "infinite"
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def share(value: float) -> str:
    """A ratio to two decimals, small ones to two digits, tiny ones as such."""
    if not np.isfinite(value):
        return number(value)
    if 0 < value < TINY:
        return f"less than {TINY:g}"
    return f"{value:.2g}" if value < 0.095 else f"{value:.2f}" if value < 10 else number(value)


def percent(value: float) -> str:
    """A share in per cent, without its sign, to one decimal where there is one."""
    return f"{100 * value:.1f}".removesuffix(".0") if np.isfinite(value) else number(abs(value))


def listed(items: Iterable[object]) -> str:
    """``a, b and c``."""
    words = [str(item) for item in items]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def shares(values: Sequence[float]) -> str:
    """From the least to the largest ratio: ``0.48 to 0.94``."""
    low, high = (share(float(end(values))) for end in (np.min, np.max))  # one NaN is not lost
    return low if low == high else f"{low} to {high}"


def with_interval(part: Part) -> str:
    """The side claimed lower as a share of the other, with its 95 % interval."""
    low, high = part.effect.interval or (np.nan, np.nan)
    ends = f" (95 % interval {share(inverse(high))} to {share(inverse(low))})"
    return share(lower_share(part)) + (ends if part.effect.interval else "")


def lower_share(part: Part) -> float:
    """The side claimed lower as a share of the other: the effect turned round."""
    return inverse(part.effect.value)


def inverse(value: float) -> float:
    """1 / value, infinite for 0."""
    return 1 / value if value else np.inf


def fitted(errors: Sequence[float], bound: float) -> int:
    """How many runs lie below a bound; failed ones do not."""
    return sum(x < bound for x in errors)
