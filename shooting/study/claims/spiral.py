"""Claims about the spiral (Section 4, Fig. 3), each under both protocols."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shooting.study import records
from shooting.study.claims.loading import Runs, judge, load
from shooting.study.claims.rule import Verdict, compare, median, threshold
from shooting.study.experiments.models import MODELS
from shooting.study.experiments.orbit import Course, lay_along, true_orbit
from shooting.study.experiments.spiral import SPIRAL, SpiralConfig

FACTORS = (16, 32, 64, 128)
SIMILAR = 1.1  # a loss is similar if it is at most a tenth higher
STILL = 0.704  # mean square of the spiral's entries: what a prediction that stays at 0 leaves
OFF_ORBIT = 0.457  # the same prediction's mean square off the orbit (see `orbit`)
STATIC = ("static_direct", "static_particles")
RIVALS = (*STATIC, "dynamic_direct")


def _config(protocol: str, model: str, inflation: int) -> SpiralConfig:
    make = SpiralConfig.paper if protocol == "paper" else SpiralConfig.released
    return make(model=model, inflation=inflation)


def _load(protocol: str, models: Sequence[str]) -> dict[tuple[str, int], Runs]:
    return load(SPIRAL, {(m, a): _config(protocol, m, a) for a in FACTORS for m in models})


def _champion(protocol: str, metric: str, rivals: Sequence[str], slack: float = 1.0) -> Verdict:
    """Dynamic with particles lower than `slack` times each rival, at each inflation factor."""
    by = _load(protocol, ("dynamic_particles", *rivals))
    parts = [
        compare(
            f"{metric}, α = {a}: dynamic with particles below {slack:g} × {MODELS[m]}",
            by["dynamic_particles", a].metrics[metric],
            [slack * x for x in by[m, a].metrics[metric]],
        )
        for a in FACTORS
        for m in rivals
    ]
    return judge(parts, by)


def _predicts(protocol: str) -> Verdict:
    """The pasted prediction leaves less than a tenth of what standing still at 0 leaves."""
    by = _load(protocol, ("dynamic_particles",))
    bound = STILL / 10
    parts = [
        threshold(f"MSE below {bound:.2g}, α = {a}", r.metrics["long_mse"], bound)
        for (_, a), r in by.items()
    ]
    return judge(parts, by, note=f"medians {_range([p.medians[0] for p in parts])}")


def courses(config: SpiralConfig) -> list[Course]:
    """The pasted predictions that a record keeps as curves, laid along the true spiral.

    Args:
        config: A recorded setting.

    Returns:
        One course for each of the first three runs; none if every run failed.
    """
    record = records.load(SPIRAL, config)
    kept = record.arrays.get("long", ()) if record is not None else ()
    return [lay_along(np.asarray(path, dtype=float), true_orbit()) for path in kept]


def _stays(protocol: str) -> Verdict:
    """With its phase set free, a prediction leaves less than a tenth of what rest at 0 leaves."""
    by = _load(protocol, ("dynamic_particles",))
    bound = OFF_ORBIT / 10
    found = {a: courses(r.config) for (_, a), r in by.items()}
    parts = [
        threshold(
            f"mean square off the orbit below {bound:.2g}, α = {a}",
            [c.square for c in each] or [np.nan],
            bound,
        )
        for a, each in found.items()
    ]
    return judge(parts, by, note=_courses_in_words([c for each in found.values() for c in each]))


def _courses_in_words(found: Sequence[Course]) -> str:
    if not found:
        return "no prediction was kept"
    phase = [float(np.abs(c.turns).mean()) for c in found]
    return (
        f"{len(found)} predictions were kept as curves, three for each α: off the orbit "
        f"{_range([c.square for c in found])}, mean phase error {_range(phase)} periods "
        f"(median {median(phase):.2g})"
    )


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.2g} to {max(values):.2g}"


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


def pasting_stays_paper() -> Verdict:
    """K6c: a pasted prediction stays on the orbit."""
    return _stays("paper")


def pasting_stays_released() -> Verdict:
    """K6c under the protocol `released`."""
    return _stays("released")
