"""Claims about the spiral (Section 4, Fig. 3), each under both protocols."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shooting.study import records
from shooting.study.claims.loading import Runs, judge, load
from shooting.study.claims.regression import FACTORS
from shooting.study.claims.rule import Verdict, compare, median, threshold
from shooting.study.claims.words import SIZE, listed, lower_share, shares
from shooting.study.experiments.models import MODELS
from shooting.study.experiments.orbit import Course, lay_along, true_orbit
from shooting.study.experiments.spiral import SPIRAL, SpiralConfig

SIMILAR = 1.1  # a loss is similar if it is at most a tenth higher
STILL = 0.704  # mean square of the spiral's entries: what a prediction that stays at 0 leaves
OFF_ORBIT = 0.457  # the same prediction's mean square off the orbit: a level to compare with
STATIC = ("static_direct", "static_particles")
RIVALS = (*STATIC, "dynamic_direct")
NAMES = {
    "short_loss": "median short-range loss",
    "long_loss": "median long-range loss",
    "complexity": SIZE,
}


def _config(protocol: str, model: str, inflation: int) -> SpiralConfig:
    make = SpiralConfig.paper if protocol == "paper" else SpiralConfig.released
    return make(model=model, inflation=inflation)


def _load(protocol: str, models: Sequence[str]) -> dict[tuple[str, int], Runs]:
    return load(SPIRAL, {(m, a): _config(protocol, m, a) for a in FACTORS for m in models})


def _champion(protocol: str, metric: str, rivals: Sequence[str], slack: float = 1.0) -> Verdict:
    """Dynamic with particles lower than `slack` times each rival, at each inflation factor."""
    by = _load(protocol, ("dynamic_particles", *rivals))
    parts = {
        (m, a): compare(
            f"{metric}, α = {a}: dynamic with particles below {slack:g} × {MODELS[m]}",
            by["dynamic_particles", a].metrics[metric],
            [slack * x for x in by[m, a].metrics[metric]],
            logs=metric == "complexity",
        )
        for a in FACTORS
        for m in rivals
    }
    of = [
        f"{shares([slack * lower_share(parts[m, a]) for a in FACTORS])} of that of {MODELS[m]}"
        for m in rivals
    ]
    similar = f" (up to {slack:g} counts as similar)" if slack > 1 else ""
    found = (
        f"The dynamic model's {NAMES[metric]} is {listed(of)} over α = {listed(FACTORS)}{similar}."
    )
    return judge(list(parts.values()), by, found=found)


def _predicts(protocol: str) -> Verdict:
    """The pasted prediction leaves less than a tenth of what standing still at 0 leaves."""
    by = _load(protocol, ("dynamic_particles",))
    bound = STILL / 10
    parts = [
        threshold(f"MSE below {bound:.2g}, α = {a}", r.metrics["long_mse"], bound)
        for (_, a), r in by.items()
    ]
    kept = [c for r in by.values() for c in courses(r.config)]
    misses = [part.medians[0] / bound for part in parts]
    found = f"The median squared error is {shares(misses)} times the criterion"
    return judge(parts, by, found=f"{found}; {_shape_and_phase(kept)}.")


def courses(config: SpiralConfig) -> list[Course]:
    """The pasted predictions that a record keeps as curves, laid along the true spiral.

    Args:
        config: A recorded setting.

    Returns:
        One course for each of the first three runs that did not fail.
    """
    record = records.load(SPIRAL, config)
    kept = record.arrays.get("long", ()) if record is not None else ()
    finite = [np.asarray(path, dtype=float) for path in kept if np.isfinite(path).all()]
    return [lay_along(path, true_orbit()) for path in finite]


def _shape_and_phase(kept: Sequence[Course]) -> str:
    """What of the squared error is shape and what phase, in the predictions kept as curves."""
    if not kept:
        return "no prediction was kept as a curve"
    squares = [c.square for c in kept]
    turns = [float(np.abs(c.turns).mean()) for c in kept]
    return (
        f"in the {len(kept)} predictions kept as curves {min(squares):.1g} to {max(squares):.2g} "
        f"is left where the phase is free, and the phase is off by {median(turns):.2g} periods in "
        f"the middle run, {max(turns):.2g} in the worst"
    )


def short_loss_paper() -> Verdict:
    """K5a: short-range loss similar to or lower than that of models of like size."""
    return _champion("paper", "short_loss", STATIC, SIMILAR)


def short_loss_released() -> Verdict:
    """K5a under the protocol `released`."""
    return _champion("released", "short_loss", STATIC, SIMILAR)


def complexity_paper() -> Verdict:
    """K5b: the lowest complexity of all four models."""
    return _champion("paper", "complexity", RIVALS)


def complexity_released() -> Verdict:
    """K5b under the protocol `released`."""
    return _champion("released", "complexity", RIVALS)


def long_loss_paper() -> Verdict:
    """K6a: also over the long range the loss is similar or lower."""
    return _champion("paper", "long_loss", STATIC, SIMILAR)


def long_loss_released() -> Verdict:
    """K6a under the protocol `released`."""
    return _champion("released", "long_loss", STATIC, SIMILAR)


def pasting_predicts_paper() -> Verdict:
    """K6b: pasting short solutions predicts the long trajectory."""
    return _predicts("paper")


def pasting_predicts_released() -> Verdict:
    """K6b under the protocol `released`."""
    return _predicts("released")
