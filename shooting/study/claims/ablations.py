"""Claims about choices of the regression: theta3's penalty, the lift, the number of parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from shooting.study.claims import loading
from shooting.study.claims.loading import Runs, judge
from shooting.study.claims.regression import FACTORS, GOOD
from shooting.study.claims.rule import NOT, Part, Verdict, compare, median, threshold
from shooting.study.claims.words import fitted, listed, lower_share, number, share, shares
from shooting.study.experiments.ablations import ABLATION_RUNS, ABLATIONS, BASE, AblationConfig
from shooting.study.experiments.regression import (
    MORE_SEEDS,
    REGRESSION,
    RegressionConfig,
    make_model,
)

SIMILAR = 1.1  # a loss is similar if it is at most a tenth higher
FEWER = 0.5  # significantly fewer parameters: at most half


def _config(function: str, name: str) -> AblationConfig:
    return AblationConfig(function=function, **ABLATIONS[name])


def variant(function: str, name: str) -> Runs | None:
    """All recorded runs of one ablation: seeds 0-9, and 10-49 where they are recorded.

    Args:
        function: The target.
        name: Key of `ABLATIONS`.

    Returns:
        The runs; None unless seeds 0-9 are recorded.
    """
    return loading.runs_of(ABLATION_RUNS, _config(function, name), more=MORE_SEEDS)


def _load(names: Sequence[str]) -> dict[tuple[str, str], Runs]:
    configs = {(f, n): _config(f, n) for f in GOOD for n in names}
    return loading.load(ABLATION_RUNS, configs, more=MORE_SEEDS)


def heavier_theta3_converges_better() -> Verdict:
    """K20: a higher penalty on theta3 converges better: weights 10 and 50 against 0.1 and 1."""
    heavy = {10: BASE, 50: "θ₃ weight 50"}
    light = {0.1: "θ₃ weight 0.1", 1: "θ₃ weight 1"}
    by = _load([*heavy.values(), *light.values()])
    parts = {
        (f, h, low): compare(
            f"MSE, {f}: weight {h:g} below {low:g}",
            by[f, heavy[h]].metrics["mse"],
            by[f, light[low]].metrics["mse"],
        )
        for f in GOOD
        for h in heavy
        for low in light
    }
    of = {f: shares([lower_share(p) for (g, *_), p in parts.items() if g == f]) for f in GOOD}
    found = (
        f"With θ₃ weighted {_or(heavy)} the median error is "
        f"{listed(f'{of[f]} on the {_target(f)}' for f in GOOD)}, as a share of that with "
        f"{_or(light)}."
    )
    return judge(list(parts.values()), by, found=found)


def _or(values: Iterable[float]) -> str:
    return " or ".join(f"{v:g}" for v in values)


def _target(function: str) -> str:
    return "cubic" if function == "cubic" else f"{function} function"


def lift_can_be_zero() -> Verdict:
    """K21: v(0) = 0 would do: without a lift the functions are still fitted."""
    by = _load(["lift zero, v(0) = 0"])
    parts = [
        threshold(f"MSE below {GOOD[f]:.2g}, {f}", v.metrics["mse"], GOOD[f])
        for (f, _), v in by.items()
    ]
    each = [
        f"{number(median(errors))} on the {_target(f)}, {share(lower_share(p))} times the "
        f"criterion, and {fitted(errors, GOOD[f])} of {len(errors)} runs fit"
        for p, ((f, _), v) in zip(parts, by.items(), strict=True)
        for errors in [v.metrics["mse"]]
    ]
    found = f"With v(0) = 0 the median error is {'; it is '.join(each)}."
    return judge(parts, by, found=found)


def fewer_parameters() -> Verdict:
    """K25: particles realise time dependence with at most half the parameters, loss similar.

    The parameters are counted, not measured: a pair with more than half fails whatever its loss.
    """
    pair = ("dynamic_particles", "dynamic_direct")
    configs = {
        (f, a, m): RegressionConfig(function=f, inflation=a, model=m)
        for f in GOOD
        for a in FACTORS
        for m in pair
    }
    by = loading.load(REGRESSION, configs, more=MORE_SEEDS)
    parts = {(f, a): _with_fewer(*(by[f, a, m] for m in pair)) for f in GOOD for a in FACTORS}
    of = {f: [SIMILAR * lower_share(parts[f, a]) for a in FACTORS] for f in GOOD}
    sizes = [_count(by[key, a, pair[0]]) / _count(by[key, a, pair[1]]) for key, a in parts]
    found = (
        f"With {shares(sizes)} of dynamic direct's parameters the dynamic particle model has "
        f"{listed(f'{shares(of[f])} of its median loss on the {_target(f)}' for f in GOOD)}."
    )
    return judge(list(parts.values()), by, found=found)


def _count(runs: Runs) -> int:
    """How many numbers a model of these runs learns."""
    return int(make_model(replace(runs.config, seeds=(0,))).count)


def _with_fewer(ours: Runs, rival: Runs) -> Part:
    few, many = map(_count, (ours, rival))
    part = compare(
        f"loss at most {SIMILAR:g} times that of dynamic direct, {few} / {many} "
        f"parameters, {ours.config.function}, α = {ours.config.inflation}",
        ours.metrics["loss"],
        [SIMILAR * x for x in rival.metrics["loss"]],
    )
    return part if few <= FEWER * many else replace(part, status=NOT)
