"""The paper's figures and parameter tables by name, drawn from records alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
from matplotlib.figure import Figure

from shooting.errors import require_choice
from shooting.study import records
from shooting.study.claims.regression import FACTORS
from shooting.study.experiments.models import MODELS
from shooting.study.experiments.regression import REGRESSION, RegressionConfig
from shooting.study.experiments.regression import make_model as regression_model
from shooting.study.experiments.spiral import SPIRAL, SpiralConfig
from shooting.study.experiments.spiral import make_model as spiral_model
from shooting.study.figures import regression, spiral
from shooting.study.records import Record


def fetch(name: str, configs: Sequence[object]) -> list[Record]:
    """The records of all configs.

    Args:
        name: The experiment.
        configs: What is needed.

    Returns:
        One record per config.

    Raises:
        NotRunError: If any is missing.
    """
    found = {config: records.load(name, config) for config in configs}
    return list(records.require_all(found, name).values())


def _complete(name: str, rows: Sequence[Sequence[object]]) -> list[Record]:
    """The records of the rows (inflation factors) that are complete; at least two must be."""
    found = {(k, c): records.load(name, c) for k, row in enumerate(rows) for c in row}
    gaps = {k for (k, _), record in found.items() if record is None}
    if len(rows) - len(gaps) < 2:
        return list(records.require_all(found, name).values())
    return [r for (k, _), r in found.items() if r is not None and k not in gaps]


def _models(function: str) -> list[Record]:
    def row(a: int) -> list[RegressionConfig]:
        return [RegressionConfig(function=function, model=m, inflation=a) for m in MODELS]

    return _complete(REGRESSION.name, [row(a) for a in FACTORS])


def _particles(function: str) -> list[Record]:
    counts = (2, 5, 15, 25)
    return fetch(
        REGRESSION.name, [RegressionConfig(function=function, particles=k) for k in counts]
    )


def _control(function: str) -> list[Record]:
    grid = [RegressionConfig(function=function, inflation=a) for a in (16, 64)]
    return fetch(REGRESSION.name, grid)


def _mappings() -> list[Record]:
    return fetch(
        REGRESSION.name, [RegressionConfig(function=f) for f in ("cubic", "quadratic-like")]
    )


def _spirals() -> list[Record]:
    rows = [[SpiralConfig.paper(model=m, inflation=a) for m in MODELS] for a in FACTORS]
    return _complete(SPIRAL.name, rows)


# For each figure the records it draws and how it draws them.
FIGURES: dict[str, tuple[Callable[[], list[Record]], Callable[[list[Record]], Figure]]] = {
    "fig2": (
        lambda: _models("quadratic-like"),
        lambda found: regression.by_inflation(found, "quadratic-like"),
    ),
    "fig3": (_spirals, spiral.by_inflation),
    "fig6": (lambda: _models("cubic"), lambda found: regression.by_inflation(found, "cubic")),
    "fig7": (lambda: _particles("cubic"), lambda r: regression.fits(r, columns="particles")),
    "fig8": (
        lambda: _particles("quadratic-like"),
        lambda found: regression.fits(found, columns="particles"),
    ),
    "fig9": (_mappings, regression.mapping_over_depth),
    "fig10": (lambda: _control("cubic"), regression.control_over_depth),
    "fig11": (lambda: _control("quadratic-like"), regression.control_over_depth),
}


def figure(name: str) -> tuple[Figure, list[Record]]:
    """Draw one of the paper's figures.

    Args:
        name: Key of `FIGURES`.

    Returns:
        The figure and the records behind it.

    Raises:
        ValueError: If the name is unknown.
        NotRunError: If records are missing.
    """
    require_choice(name, FIGURES, "a figure")
    gather, draw = FIGURES[name]
    found = gather()
    return draw(found), found


def table1() -> pd.DataFrame:
    """Table 1: parameters of the regression models, counted from the models."""
    rows = [("dynamic_particles", k) for k in (2, 5, 15, 25)]
    rows += [("dynamic_direct", 0), ("static_direct", 0)]
    factors = (4, 8, *FACTORS)

    def count(model: str, particles: int, inflation: int) -> int:
        return regression_model(
            RegressionConfig(model=model, particles=particles, inflation=inflation, seeds=(0,))
        ).count

    return _table({_label(m, k): [count(m, k, a) for a in factors] for m, k in rows}, factors)


def table2() -> pd.DataFrame:
    """Table 2: parameters of the spiral models, counted from the models."""
    rows = [("dynamic_particles", k) for k in (15, 25, 50)]
    rows += [("static_direct", 0), ("dynamic_direct", 0)]

    def count(model: str, particles: int, inflation: int) -> int:
        return spiral_model(
            SpiralConfig(model=model, particles=particles, inflation=inflation, seeds=(0,))
        ).count

    return _table({_label(m, k): [count(m, k, a) for a in FACTORS] for m, k in rows}, FACTORS)


TABLES = {"tab1": table1, "tab2": table2}


def _label(model: str, particles: int) -> str:
    return f"with particles, K = {particles}" if particles else MODELS[model]


def _table(rows: dict[str, list[int]], factors: Sequence[int]) -> pd.DataFrame:
    return pd.DataFrame(rows, index=[f"α = {a}" for a in factors]).T
