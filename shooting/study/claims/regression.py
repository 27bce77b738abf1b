"""Claims about the 1-D regression (Section 4, Figs. 2 and 6-11, Table 1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from shooting.study.claims import loading
from shooting.study.claims.convex_trap import stuck
from shooting.study.claims.loading import Key, Runs, judge
from shooting.study.claims.rule import (
    Part,
    Verdict,
    compare,
    held,
    median,
    threshold,
)
from shooting.study.claims.words import (
    SIZE,
    fitted,
    listed,
    lower_share,
    number,
    percent,
    share,
    shares,
    with_interval,
)
from shooting.study.experiments.convexity import is_convex
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


def _contest(
    function: str, metrics: Sequence[str], champions: Sequence[str], others: Sequence[str]
) -> tuple[dict[tuple[str, int], Runs], dict[tuple[str, int, str, str], Part]]:
    """Each champion lower than each other model, at each inflation factor.

    Returns:
        The runs by model and factor; the comparisons by metric, factor, champion and rival.
    """
    configs = {
        (m, a): RegressionConfig(function=function, model=m, inflation=a)
        for a in FACTORS
        for m in (*champions, *others)
    }
    by = _load(configs)
    parts = {
        (metric, a, champion, m): compare(
            f"{metric}, α = {a}: {MODELS[champion]} below {MODELS[m]}",
            by[champion, a].metrics[metric],
            by[m, a].metrics[metric],
            logs=metric == "complexity",
        )
        for metric in metrics
        for champion in champions
        for a in FACTORS
        for m in others
    }
    return by, parts


DIRECT = ("static_direct", "dynamic_direct")
OTHERS = ("static_direct", "static_particles", "dynamic_direct")
DYNAMIC = "dynamic_particles"
AT = f"α = {listed(FACTORS)}"


def quadratic_best_loss() -> Verdict:
    """K1a: on the quadratic-like function the dynamic particle model has the lowest loss."""
    by, parts = _contest("quadratic-like", ["loss"], [DYNAMIC], OTHERS)
    of = {a: [p for (_, b, *_), p in parts.items() if b == a] for a in FACTORS}
    best = {a: max(map(lower_share, of[a])) for a in FACTORS}
    strong, weak = min(best, key=best.__getitem__), max(best, key=best.__getitem__)
    errors = by[DYNAMIC, weak].metrics["mse"]
    held_back = int(stuck("quadratic-like", errors).sum())
    found = (
        f"The dynamic model's median loss is {share(best[strong])} of the best rival's at "
        f"α = {strong} and {share(best[weak])} at α = {weak}, where {held_back} of {len(errors)} "
        f"runs are stuck at the level of the best convex function and {held(of[weak])}."
    )
    return judge(list(parts.values()), by, found=found)


def quadratic_lowest_complexity() -> Verdict:
    """K1b: ... at the lowest complexity of the models that fit: all but static with particles."""
    by, parts = _contest("quadratic-like", ["complexity"], [DYNAMIC], DIRECT)
    found = (
        f"The dynamic model's {SIZE} is {shares(_lower(parts.values()))} of a direct model's, "
        f"over {AT}."
    )
    return judge(list(parts.values()), by, found=found)


def _lower(parts: Iterable[Part]) -> list[float]:
    """The sides claimed lower as shares of the others."""
    return [lower_share(p) for p in parts]


def static_particles_fail() -> Verdict:
    """K2: the static particle model, trained as published, does not fit the quadratic-like one."""
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
    return judge(parts, by, found=_basin(list(by.values()), bound))


def _basin(runs: Sequence[Runs], bound: float) -> str:
    """How many runs fit, and how many of the others have learned a convex function."""
    good = [fitted(r.metrics["mse"], bound) for r in runs]
    most = max(len(r.metrics["mse"]) for r in runs)
    convex, others = map(sum, zip(*(_convex_misses(r, bound) for r in runs), strict=True))
    found = f"The static particle model fits in {listed(good)} of {most} runs at {AT}"
    if others:
        found += f"; {convex} of the {others} other runs have learned a convex function"
    if any(good) and 2 * convex > others:
        found += ", so the failure is a basin, not missing capacity"
    return found + "."


def _convex_misses(runs: Runs, bound: float) -> tuple[int, int]:
    """How many runs that do not fit are convex, and how many do not fit, where curves are kept."""
    pairs = [(r.arrays["fit"], r.metrics["mse"]) for r in runs.found if "fit" in r.arrays]
    misses = [~(np.asarray(errors) < bound) for _, errors in pairs]
    convex = [is_convex(c)[m].sum() for (c, _), m in zip(pairs, misses, strict=True)]
    return int(sum(convex)), int(sum(m.sum() for m in misses))


def _counts(by: Mapping[str, Runs], bound: float) -> str:
    """How many runs of each setting lie below a bound, in words: a median hides the others."""
    errors = {name: r.metrics["mse"] for name, r in by.items()}
    return listed(f"{fitted(e, bound)} of {len(e)} at {name}" for name, e in errors.items())


def cubic_static_slightly_better() -> Verdict:
    """K3: on the cubic the static particle model is slightly better than the dynamic one."""
    by, parts = _contest("cubic", ["loss"], ["static_particles"], [DYNAMIC])
    found = (
        f"On the cubic the static particle model's median loss is "
        f"{listed(map(share, _lower(parts.values())))} of the dynamic one's at {AT}."
    )
    return judge(list(parts.values()), by, found=found)


def cubic_particles_best_and_simplest() -> Verdict:
    """K3b: on the cubic the models with particles have the best fits at the lowest complexity."""
    champions = ("static_particles", DYNAMIC)
    by, parts = _contest("cubic", ["loss", "complexity"], champions, DIRECT)
    loss, complexity = (
        shares(_lower(p for (m, *_), p in parts.items() if m == metric))
        for metric in ("loss", "complexity")
    )
    found = (
        f"On the cubic the two particle models have {loss} of a direct model's median loss and "
        f"{complexity} of its {SIZE}, over {AT}."
    )
    return judge(list(parts.values()), by, found=found)


def _fit_by_particles(function: str) -> dict[int, Runs]:
    return _load({k: RegressionConfig(function=function, particles=k) for k in (2, 5, 15, 25)})


def two_particles_fit_cubic() -> Verdict:
    """K4a: two particles already fit the cubic."""
    by = _fit_by_particles("cubic")
    bound = GOOD["cubic"]
    part = threshold(f"MSE below {bound:.2g}, K = 2", by[2].metrics["mse"], bound)
    errors = by[2].metrics["mse"]
    found = (
        f"With two particles the cubic's median error is {number(median(errors))}, "
        f"{share(lower_share(part))} of the criterion; {fitted(errors, bound)} of {len(errors)} "
        "runs fit."
    )
    return judge([part], {2: by[2]}, found=found)


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
    counts = _counts({f"K = {k}": r for k, r in by.items()}, bound)
    found = f"The runs that fit the quadratic-like function are {counts}"
    enough = min((k for k, r in by.items() if fitted(r.metrics["mse"], bound)), default=15)
    if enough < 15:
        found += f", so {enough} particles can suffice"
    return judge(parts, by, found=found + ".")


def cubic_loss_falls_with_particles() -> Verdict:
    """K18: the cubic's test loss falls with the number of particles."""
    by = _fit_by_particles("cubic")
    pairs = [(2, 5), (5, 15), (15, 25)]
    parts = [
        compare(f"loss, K = {b} below K = {a}", by[b].metrics["loss"], by[a].metrics["loss"])
        for a, b in pairs
    ]
    losses, errors = (
        listed(number(median(r.metrics[name])) for r in by.values()) for name in ("loss", "mse")
    )
    falls = sum(p.medians[0] < p.medians[1] for p in parts)
    found = (
        f"The cubic's median loss falls in {falls} of {len(parts)} steps: it is {losses} with "
        f"K = {listed(by)}, and the error without the penalty {errors}."
    )
    return judge(parts, by, found=found)


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
    found = (
        f"Each doubling of α from {FACTORS[0]} to {FACTORS[-1]} multiplies the dynamic model's "
        f"median loss by {shares(_lower(parts))}."
    )
    return judge(parts, by, found=found)


def particles_trade_complexity() -> Verdict:
    """K17: more particles reconstruct better at higher complexity (quadratic-like function)."""
    by = _fit_by_particles("quadratic-like")
    parts = [
        compare("MSE, K = 25 below K = 2", by[25].metrics["mse"], by[2].metrics["mse"]),
        compare(
            "complexity, K = 2 below K = 25",
            by[2].metrics["complexity"],
            by[25].metrics["complexity"],
            logs=True,
        ),
    ]
    error, complexity = map(with_interval, parts)
    found = (
        f"The median error with 25 particles is {error} of that with 2; the {SIZE} with 2 is "
        f"{complexity} of that with 25."
    )
    return judge(parts, by, found=found)


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
    changes = [
        f"{label} changes by {percent(min(of))} to {percent(max(of))} %"
        for label in ("θ₂", "b₂")
        for of in [[p.medians[1] for p in parts if p.what.startswith(label)]]
    ]
    found = f"Over depth {listed(changes)} of its rms size; the criterion is 10 %."
    return judge(parts, by, found=found)


def theta3_changes_moderately() -> Verdict:
    """K12b: theta3(t), penalised more, changes more moderately than theta2(t) and b2(t)."""
    by = _controls()
    parts = {
        (f, label, a): compare(
            f"change of θ₃ below {label}'s, {f}, α = {a}",
            r.metrics["variation/theta3"],
            r.metrics[f"variation/{name}"],
        )
        for (f, a), r in by.items()
        for name, label in (("theta2", "θ₂"), ("b2", "b₂"))
    }
    of = {
        key: shares(_lower(p for (f, label, _), p in parts.items() if (f, label) == key))
        for key in ((f, label) for f in GOOD for label in ("θ₂", "b₂"))
    }
    curved, cubic = ([of[f, label] for label in ("θ₂", "b₂")] for f in GOOD)
    found = (
        f"On the quadratic-like function θ₃ changes {curved[0]} times as much as θ₂ over depth and "
        f"{curved[1]} times as much as b₂; on the cubic {listed(cubic)} times."
    )
    return judge(list(parts.values()), by, found=found)
