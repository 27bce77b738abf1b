"""Claims about the concentric circles (Section 4, the figure beside the text)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from shooting.study.claims.loading import Runs, judge, load
from shooting.study.claims.rule import NOT, PARTLY, REPRODUCED, Part, Verdict, compare, median
from shooting.study.claims.words import SIZE, listed, lower_share, number, percent, share
from shooting.study.experiments.circles import CIRCLES, FACTORS, WEIGHTS, CirclesConfig, wilson

PLAIN, LOUDEST = 1.0, max(WEIGHTS)  # the loss as it is, and raised as far as we raise it
DOWN = tuple(w for w in WEIGHTS if w < PLAIN)  # where the penalty outweighs the loss
AT = f"α = {listed(FACTORS)}"
PUBLISHED = {5: 0.04, 10: 0.08, 20: 0.267}  # success rates, ascending with alpha


def _load(weights: Sequence[float]) -> dict[tuple[int, float], Runs]:
    keys = [(a, w) for a in FACTORS for w in weights]
    return load(
        CIRCLES, {(a, w): CirclesConfig.paper(inflation=a, classification=w) for a, w in keys}
    )


def _fits(runs: Runs) -> np.ndarray:
    """1 for each run that fits all training points; a failed run does not."""
    return np.nan_to_num(np.asarray(runs.metrics["fits"], dtype=float))


def success_grows_with_inflation() -> Verdict:
    """K7a: the larger alpha, the more of the down-weighted problems a run solves."""
    by = _load(DOWN)
    unsolved = {a: [float(n) for n in _unsolved(by, a)] for a in FACTORS}
    parts = [
        compare(f"weights below 1 not fitted, α = {b} below α = {a}", unsolved[b], unsolved[a])
        for a, b in pairwise(FACTORS)
    ]
    found = (
        f"The median run fails at {listed(number(median(unsolved[a])) for a in FACTORS)} of the "
        f"{len(DOWN)} weights below {PLAIN:g} at {AT}."
    )
    return judge(parts, by, found=found)


def _unsolved(by: Mapping[tuple[int, float], Runs], inflation: int) -> np.ndarray:
    """Per run, the number of weights below 1 at which it does not fit."""
    count: np.ndarray = np.sum([1 - _fits(by[inflation, w]) for w in DOWN], axis=0)
    return count


def always_fits_when_loud() -> Verdict:
    """K7b: unless the classification is down-weighted, every run fits, whatever alpha."""
    by = _load((PLAIN, LOUDEST))
    parts = []
    for (a, w), r in by.items():
        good, runs = int(_fits(r).sum()), len(_fits(r))
        status = REPRODUCED if good == runs else PARTLY if good >= 0.9 * runs else NOT
        rates = good / runs, 1.0
        what = f"runs that fit, α = {a}, λ = {w:g}"
        parts.append(Part(what, rates, wilson(good, runs), status, (runs, 0), is_rate=True))
    plain, loudest = (
        f"{listed(int(_fits(by[a, w]).sum()) for a in FACTORS)} of {len(_fits(by[FACTORS[0], w]))}"
        for w in (PLAIN, LOUDEST)
    )
    found = (
        f"With the classification loss at weight {PLAIN:g}, neither raised nor lowered, {plain} "
        f"runs fit at {AT}; at weight {LOUDEST:g} {loudest} do."
    )
    return judge(parts, by, found=found)


def published_rates() -> Verdict:
    """K7c: at some weight tried the success rates are the published 4, 8 and 26.7 per cent.

    The weight that is shown holds most of the rates, and among several the one nearest to them.
    """
    by = _load(WEIGHTS)
    parts_of = {w: [_rate(by[a, w], a) for a in FACTORS] for w in WEIGHTS}
    weight = min(parts_of, key=lambda w: _miss(parts_of[w]))
    ours, theirs = (listed(percent(p.medians[side]) for p in parts_of[weight]) for side in (0, 1))
    found = (
        f"At weight {weight:g}, the nearest of {len(WEIGHTS)} tried, {ours} % of the runs fit at "
        f"{AT}; the published rates are {theirs} %."
    )
    return judge(parts_of[weight], by, found=found)


def _miss(parts: Sequence[Part]) -> tuple[int, float]:
    """How many rates are missed, then by how much altogether."""
    distances = (abs(ours - published) for ours, published in (p.medians for p in parts))
    return sum(p.status != REPRODUCED for p in parts), sum(distances)


def _rate(found: Runs, inflation: int) -> Part:
    good, runs = int(_fits(found).sum()), len(_fits(found))
    low, high = wilson(good, runs)
    status = REPRODUCED if low <= PUBLISHED[inflation] <= high else NOT
    what = f"success rate at λ = {found.config.classification:g}, α = {inflation}"
    rates = good / runs, PUBLISHED[inflation]
    return Part(what, rates, (low, high), status, (runs, 0), is_rate=True)


def simpler_flows() -> Verdict:
    """K7d: a larger alpha separates the classes with less complex flows."""
    by = _load((LOUDEST,))
    parts = [
        compare(
            f"complexity, α = {b} below α = {a}",
            by[b, LOUDEST].metrics["complexity"],
            by[a, LOUDEST].metrics["complexity"],
            logs=True,
        )
        for a, b in pairwise(FACTORS)
    ]
    steps = [
        f"by {share(lower_share(p))} from α = {a} to {b}"
        for p, (a, b) in zip(parts, pairwise(FACTORS), strict=True)
    ]
    found = f"A larger α multiplies the {SIZE} {listed(steps)}."
    return judge(parts, by, found=found)
