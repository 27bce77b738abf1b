"""Claims about choices of the regression: theta3's penalty, the lift, the number of parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shooting.study.claims import loading
from shooting.study.claims.loading import Runs, judge
from shooting.study.claims.regression import FACTORS, GOOD
from shooting.study.claims.rule import NOT, Part, Verdict, compare, threshold
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
    parts = [
        compare(
            f"MSE, {f}: weight {h:g} below {low:g}",
            by[f, heavy[h]].metrics["mse"],
            by[f, light[low]].metrics["mse"],
        )
        for f in GOOD
        for h in heavy
        for low in light
    ]
    return judge(parts, by)


def lift_can_be_zero() -> Verdict:
    """K21: v(0) = 0 would do: without a lift the functions are still fitted."""
    by = _load(["lift zero, v(0) = 0"])
    parts = [
        threshold(f"MSE below {GOOD[f]:.2g}, {f}", v.metrics["mse"], GOOD[f])
        for (f, _), v in by.items()
    ]
    return judge(parts, by)


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
    parts = [_with_fewer(*(by[f, a, m] for m in pair)) for f in GOOD for a in FACTORS]
    return judge(parts, by)


def _with_fewer(ours: Runs, rival: Runs) -> Part:
    few, many = (make_model(replace(r.config, seeds=(0,))).count for r in (ours, rival))
    part = compare(
        f"loss at most {SIMILAR:g} times that of dynamic direct, {few} / {many} "
        f"parameters, {ours.config.function}, α = {ours.config.inflation}",
        ours.metrics["loss"],
        [SIMILAR * x for x in rival.metrics["loss"]],
    )
    return part if few <= FEWER * many else replace(part, status=NOT)
