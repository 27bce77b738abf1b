"""Claims about the spiral (Section 4, Fig. 3), each under both protocols."""

from __future__ import annotations

from collections.abc import Sequence

from shooting.study.claims.loading import Runs, judge, load
from shooting.study.claims.rule import Verdict, compare, threshold
from shooting.study.claims.words import listed, lower_share, shares
from shooting.study.experiments.models import MODELS
from shooting.study.experiments.spiral import SPIRAL, SpiralConfig

FACTORS = (16, 32, 64, 128)
SIMILAR = 1.1  # a loss is similar if it is at most a tenth higher
STILL = 0.704  # mean square of the spiral's entries: what a prediction that stays at 0 leaves
STATIC = ("static_direct", "static_particles")
RIVALS = (*STATIC, "dynamic_direct")
NAMES = {
    "short_loss": "median short-range loss",
    "long_loss": "median long-range loss",
    "complexity": "complexity",
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
    return judge(parts, by)


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
