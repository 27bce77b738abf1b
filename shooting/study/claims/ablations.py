"""Claims about choices of the regression: theta3's penalty, the lift, the number of parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from shooting.study import records
from shooting.study.claims.regression import COMMAND as REGRESSION_COMMAND
from shooting.study.claims.regression import FACTORS, GOOD, runs_of
from shooting.study.claims.rule import NOT, Part, Verdict, combine, compare, not_run, threshold
from shooting.study.experiments.ablations import ABLATION_RUNS, ABLATIONS, BASE, AblationConfig
from shooting.study.experiments.regression import MORE_SEEDS, RegressionConfig, make_model

COMMAND = "make runs EXPERIMENT=ablations"
SIMILAR = 1.1  # a loss is similar if it is at most a tenth higher
FEWER = 0.5  # significantly fewer parameters: at most half


@dataclass(frozen=True)
class Variant:
    """All recorded runs of one ablation.

    Attributes:
        function: The target.
        name: Key of `ABLATIONS`.
        metrics: By name, one number per run; NaN where it failed.
        ids: Of the records.
    """

    function: str
    name: str
    metrics: dict[str, list[float]]
    ids: tuple[str, ...]


def variant(function: str, name: str) -> Variant | None:
    """Gather seeds 0-9, and 10-49 where they are recorded; None unless 0-9 are."""
    config = AblationConfig(function=function, **ABLATIONS[name])
    found = [records.load(ABLATION_RUNS, c) for c in (config, replace(config, seeds=MORE_SEEDS))]
    known = [r for r in found if r is not None]
    if found[0] is None:
        return None
    return Variant(function, name, records.pooled(known), tuple(r.id for r in known))


def _load(names: Sequence[str]) -> tuple[dict[tuple[str, str], Any], Verdict | None]:
    found = {(f, n): variant(f, n) for f in GOOD for n in names}
    missing = sum(v is None for v in found.values())
    return found, not_run(missing, COMMAND) if missing else None


def heavier_theta3_converges_better() -> Verdict:
    """K20: a higher penalty on theta3 converges better: weights 10 and 50 against 0.1 and 1."""
    heavy = {10: BASE, 50: "θ₃ weight 50"}
    light = {0.1: "θ₃ weight 0.1", 1: "θ₃ weight 1"}
    by, gap = _load([*heavy.values(), *light.values()])
    if gap:
        return gap
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
    return combine(parts, [i for v in by.values() for i in v.ids])


def lift_can_be_zero() -> Verdict:
    """K21: v(0) = 0 would do: without a lift the functions are still fitted."""
    by, gap = _load(["lift zero, v(0) = 0"])
    if gap:
        return gap
    parts = [
        threshold(f"MSE below {GOOD[f]:.2g}, {f}", v.metrics["mse"], GOOD[f])
        for (f, _), v in by.items()
    ]
    return combine(parts, [i for v in by.values() for i in v.ids])


def fewer_parameters() -> Verdict:
    """K25: particles realise time dependence with at most half the parameters, loss similar.

    The parameters are counted, not measured: a pair with more than half fails whatever its loss.
    """
    parts: list[Part] = []
    ids: list[str] = []
    missing = 0
    for function in GOOD:
        for a in FACTORS:
            ours = RegressionConfig(function=function, inflation=a)
            rival = replace(ours, model="dynamic_direct")
            mine, other = runs_of(ours), runs_of(rival)
            if mine is None or other is None:
                missing += (mine is None) + (other is None)
                continue
            few, many = (make_model(replace(c, seeds=(0,))).count for c in (ours, rival))
            part = compare(
                f"loss at most {SIMILAR:g} times that of dynamic direct, {few} / {many} "
                f"parameters, {function}, α = {a}",
                mine.metrics["loss"],
                [SIMILAR * x for x in other.metrics["loss"]],
            )
            parts.append(part if few <= FEWER * many else replace(part, status=NOT))
            ids += [*mine.ids, *other.ids]
    return not_run(missing, REGRESSION_COMMAND) if missing else combine(parts, ids)
