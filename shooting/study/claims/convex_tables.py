"""Tables of the chapter on the convex trap, from whatever is recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from shooting.study import records
from shooting.study.claims import convex_hypotheses as predicted
from shooting.study.claims.convex_trap import Tally, stuck, tally_of
from shooting.study.claims.convex_words import counted
from shooting.study.claims.regression import runs_of
from shooting.study.claims.rule import median
from shooting.study.experiments.circles import wilson
from shooting.study.experiments.convex_trap import CONVEX_TRAP, afterwards
from shooting.study.experiments.regression import RegressionConfig
from shooting.study.records import Record

WAITING = predicted.NOT_RUN
Key = tuple[str, int, int]  # model, particles, inflation factor


def by_model(found: Mapping[Key, Tally]) -> pd.DataFrame:
    """Stuck runs of all, and how many of them are convex, per model and inflation factor.

    Args:
        found: Counts of the regression's records.
    """
    models = sorted({k[:2] for k in found}, key=lambda k: (k[1] == 0, k))
    factors = sorted({k[2] for k in found})
    names = [m.replace("_", " ").replace("particles", f"K = {k}") for m, k in models]
    columns = {f"α = {a}": [_cell(found.get((*m, a))) for m in models] for a in factors}
    return pd.DataFrame({"model": names, **columns})


def _cell(tally: Tally | None) -> str:
    if tally is None:
        return WAITING
    return f"{tally.stuck}/{tally.runs}" + f" ({tally.stuck_convex})" * (tally.stuck > 0)


def on_the_spiral(pairs: Iterable[tuple[str, Record | None, Record | None]]) -> pd.DataFrame:
    """Median loss on short snippets as published and cured, with 95 % intervals."""
    columns = ["spiral", "median short loss, as published", "lift frozen at first"]
    rows = [[name, *("{:.3f} [{:.3f}, {:.3f}]".format(*predicted.median_short(r)) if r is not None
                     else WAITING for r in pair)] for name, *pair in pairs]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def added() -> pd.DataFrame:
    """Settings that the first results suggested, beside those that they are compared with."""
    known: dict[str, Any] = {
        "static particles": runs_of(RegressionConfig(model="static_particles")),
        "α = 128": runs_of(RegressionConfig(inflation=128)),
        **{name: records.load(CONVEX_TRAP, config) for name, config in afterwards().items()},
    }
    columns = ["setting", "stuck", "95 % interval", "median loss"]
    return pd.DataFrame([_row(n, known[n]) for n in sorted(known, reverse=True)], columns=columns)


def _row(name: str, found: Any) -> list[str]:
    if found is None:
        return [name, *[WAITING] * 3]
    held = stuck(found.config.function, found.metrics["mse"])
    low, high = wilson(int(held.sum()), len(held))
    middle = f"{median(found.metrics['loss']):.3f}"
    share = f"{100 * low:.0f} to {100 * high:.0f} %"
    return [name, f"{held.sum()} of {len(held)}", share, middle]


def targets(found: Iterable[predicted.Level]) -> pd.DataFrame:
    """Predicted level of each new target beside what its runs do."""
    heads = ["target", "level", "trap expected", "stuck, at 100 MSE"]
    heads += ["of these convex; within 15 %", "verdict"]
    return pd.DataFrame([_target(v) for v in found], columns=heads)


def _target(v: predicted.Level) -> list[str]:
    line = [v.target, f"{v.level:.2f}", "yes" if v.trap else "no"]
    if v.record is None:
        return [*line, *[WAITING] * 3]
    tally, mse = tally_of(v.record), np.asarray(v.record.metrics["mse"])
    held = stuck(v.target, mse)
    middle = f" at {100 * np.median(mse[held]):.2f}" if held.any() else ""
    near = f"{tally.stuck_convex}; {tally.near}"
    return [*line, counted(tally) + middle, near, "holds" if v.holds else "fails"]
