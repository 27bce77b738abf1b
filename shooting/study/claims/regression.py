"""Claims about the 1-D regression (Section 4, Figs. 2 and 6-11, Table 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from shooting.study.claims import loading
from shooting.study.claims.loading import Key, Runs, judge
from shooting.study.claims.rule import Part, Verdict, compare, median, threshold
from shooting.study.experiments.models import MODELS
from shooting.study.experiments.regression import MORE_SEEDS, REGRESSION, RegressionConfig

FACTORS = (16, 32, 64, 128)  # those of Figs. 2 and 6
# A fit is good when it leaves a tenth of what the best constant (quadratic-like) or the best
# straight line (cubic) leaves: 0.0399 and 0.260 on [-1.5, 1.5].
GOOD = {"quadratic-like": 0.0399 / 10, "cubic": 0.260 / 10}


def runs_of(config: RegressionConfig) -> Runs | None:
    """The runs of a setting, seeds 10-49 included where they are recorded (see `loading`)."""
    return loading.runs_of(REGRESSION, config, more=MORE_SEEDS)


def _load(configs: Mapping[Key, RegressionConfig]) -> dict[Key, Runs]:
    return loading.load(REGRESSION, configs, more=MORE_SEEDS)


def _rivals(
    function: str, metrics: Sequence[str], champions: Sequence[str], others: Sequence[str]
) -> Verdict:
    """Each champion lower than each other model, at each inflation factor."""
    configs = {
        (m, a): RegressionConfig(function=function, model=m, inflation=a)
        for a in FACTORS
        for m in (*champions, *others)
    }
    by = _load(configs)
    parts = [
        compare(
            f"{metric}, α = {a}: {MODELS[champion]} below {MODELS[m]}",
            by[champion, a].metrics[metric],
            by[m, a].metrics[metric],
        )
        for metric in metrics
        for champion in champions
        for a in FACTORS
        for m in others
    ]
    return judge(parts, by)


DIRECT = ("static_direct", "dynamic_direct")
OTHERS = ("static_direct", "static_particles", "dynamic_direct")


def quadratic_best_loss() -> Verdict:
    """K1a: on the quadratic-like function the dynamic particle model has the lowest loss."""
    return _rivals("quadratic-like", ["loss"], ["dynamic_particles"], OTHERS)


def quadratic_lowest_complexity() -> Verdict:
    """K1b: ... at the lowest complexity of the models that fit: all but static with particles."""
    return _rivals("quadratic-like", ["complexity"], ["dynamic_particles"], DIRECT)


def static_particles_fail() -> Verdict:
    """K2: the static particle model cannot fit the quadratic-like function."""
    by = _load(
        {
            f"α = {a}": RegressionConfig(
                function="quadratic-like", model="static_particles", inflation=a
            )
            for a in FACTORS
        }
    )
    bound = GOOD["quadratic-like"]
    parts = [
        threshold(f"MSE above {bound:.2g}, {name}", r.metrics["mse"], bound, below=False)
        for name, r in by.items()
    ]
    return judge(parts, by, _fitted(by, bound))


def _fitted(by: Mapping[str, Runs], bound: float) -> str:
    """How many runs of each setting lie below a bound, in words: a median hides the others."""
    counts = []
    for name, r in by.items():
        errors = r.metrics["mse"]
        counts.append(f"{sum(x < bound for x in errors)} of {len(errors)} at {name}")
    return "runs that fit: " + ", ".join(counts)


def cubic_static_slightly_better() -> Verdict:
    """K3: on the cubic the static particle model is slightly better than the dynamic one."""
    return _rivals("cubic", ["loss"], ["static_particles"], ["dynamic_particles"])


def cubic_particles_best_and_simplest() -> Verdict:
    """K3b: on the cubic the models with particles have the best fits at the lowest complexity."""
    champions = ("static_particles", "dynamic_particles")
    return _rivals("cubic", ["loss", "complexity"], champions, DIRECT)


def _fit_by_particles(function: str) -> dict[int, Runs]:
    return _load({k: RegressionConfig(function=function, particles=k) for k in (2, 5, 15, 25)})


def two_particles_fit_cubic() -> Verdict:
    """K4a: two particles already fit the cubic."""
    by = _fit_by_particles("cubic")
    bound = GOOD["cubic"]
    part = threshold(f"MSE below {bound:.2g}, K = 2", by[2].metrics["mse"], bound)
    return judge([part], {2: by[2]})


def quadratic_needs_fifteen() -> Verdict:
    """K4b: the quadratic-like function needs 15 to 25 particles; 2 and 5 do not suffice."""
    by = _fit_by_particles("quadratic-like")
    bound = GOOD["quadratic-like"]
    parts: list[Part] = []
    for k, r in by.items():
        side = "below" if k >= 15 else "above"
        parts.append(
            threshold(f"MSE {side} {bound:.2g}, K = {k}", r.metrics["mse"], bound, below=k >= 15)
        )
    note = _fitted({f"K = {k}": r for k, r in by.items()}, bound)
    return judge(parts, by, note)


def cubic_loss_falls_with_particles() -> Verdict:
    """K18: the cubic's test loss falls with the number of particles."""
    by = _fit_by_particles("cubic")
    pairs = [(2, 5), (5, 15), (15, 25)]
    parts = [
        compare(f"loss, K = {b} below K = {a}", by[b].metrics["loss"], by[a].metrics["loss"])
        for a, b in pairs
    ]
    medians = ", ".join(f"{median(r.metrics['mse']):.2g}" for r in by.values())
    note = f"the loss includes R; median MSE alone {medians}"
    return judge(parts, by, note)


def loss_falls_with_inflation() -> Verdict:
    """K27: the larger alpha, the lower the loss that training the dynamic model finds."""
    configs = {(f, a): RegressionConfig(function=f, inflation=a) for f in GOOD for a in FACTORS}
    by = _load(configs)
    parts = [
        compare(
            f"loss, {f}: α = {b} below α = {a}", by[f, b].metrics["loss"], by[f, a].metrics["loss"]
        )
        for f in GOOD
        for a, b in pairwise(FACTORS)
    ]
    return judge(parts, by)


def particles_trade_complexity() -> Verdict:
    """K17: more particles reconstruct better at higher complexity (quadratic-like function)."""
    by = _fit_by_particles("quadratic-like")
    parts = [
        compare("MSE, K = 25 below K = 2", by[25].metrics["mse"], by[2].metrics["mse"]),
        compare(
            "complexity, K = 2 below K = 25",
            by[2].metrics["complexity"],
            by[25].metrics["complexity"],
        ),
    ]
    return judge(parts, by)


def _controls() -> dict[tuple[str, int], Runs]:
    pairs = [(f, a) for f in GOOD for a in (16, 64)]
    return _load({(f, a): RegressionConfig(function=f, inflation=a) for f, a in pairs})


def weights_change_strongly() -> Verdict:
    """K12a: theta2(t) and b2(t) of the dynamic particle model show strong changes over depth."""
    by = _controls()
    parts = [
        threshold(
            f"{label} varies by over 10 %, {f}, α = {a}",
            r.metrics[f"variation/{name}"],
            0.1,
            below=False,
        )
        for (f, a), r in by.items()
        for name, label in (("theta2", "θ₂"), ("b2", "b₂"))
    ]
    return judge(parts, by)


def theta3_changes_moderately() -> Verdict:
    """K12b: theta3(t), penalised more, changes more moderately than theta2(t) and b2(t)."""
    by = _controls()
    parts = [
        compare(
            f"change of θ₃ below {label}'s, {f}, α = {a}",
            r.metrics["variation/theta3"],
            r.metrics[f"variation/{name}"],
        )
        for (f, a), r in by.items()
        for name, label in (("theta2", "θ₂"), ("b2", "b₂"))
    ]
    return judge(parts, by)
