"""Published numbers with their places, what the authors' code gives, and what we get.

Published numbers are typed once, here or where a claim is judged by them, with the place where they
stand; ours are read from records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from shooting.study import records
from shooting.study.claims.circles import PUBLISHED as CIRCLE_RATES
from shooting.study.claims.rule import median
from shooting.study.data.trivial_predictors import PUBLISHED as BALL_ERRORS
from shooting.study.experiments import regression, spiral
from shooting.study.experiments.bouncing_balls import BOUNCING_BALLS, BallsConfig
from shooting.study.experiments.circles import CIRCLES, WEIGHTS, CirclesConfig
from shooting.study.experiments.models import MODELS
from shooting.study.experiments.regression import REGRESSION, RegressionConfig
from shooting.study.experiments.rotating_mnist import ROTATING_MNIST, RotatingConfig
from shooting.study.experiments.spiral import SpiralConfig
from shooting.study.theory.counting import (
    TABLE_1,
    TABLE_1_INFLATION,
    TABLE_2,
    TABLE_2_INFLATION,
    Counts,
)

CODE = "authors' notebook"
QUOTED = "Corbett and Kangin 2022, Table 1"
QUOTED_BALLS = "Corbett and Kangin's repository"


@dataclass(frozen=True)
class Published:
    """One published number.

    Attributes:
        what: What is measured.
        paper: The number as published, or what is said instead.
        place: Where.
        released: What the authors' own re-run of their released code gives; empty if unknown.
        released_place: Where that stands.
        ours: Reads ours from the records; a sentence if they are missing.
        note: Why the two may differ though nothing is wrong.
    """

    what: str
    paper: str
    place: str
    ours: Callable[[], str]
    released: str = ""
    released_place: str = ""
    note: str = ""


# --- ours ----------------------------------------------------------------------------------


def missing(experiment: str) -> str:
    """What stands in place of a number that has not been computed."""
    return f"not run yet: make runs EXPERIMENT={experiment}"


def counts() -> str:
    """Entries of Tables 1 and 2 that our models reproduce exactly, counted from the models."""
    one = _matches(TABLE_1, TABLE_1_INFLATION, regression.make_model, RegressionConfig)
    two = _matches(TABLE_2, TABLE_2_INFLATION, spiral.make_model, SpiralConfig)
    return f"{sum(one) + sum(two)} of {len(one) + len(two)} equal"


def _matches(
    printed: Counts, factors: tuple[int, ...], make: Callable[..., Any], config: Callable[..., Any]
) -> list[bool]:
    def model(row: str) -> tuple[str, int]:
        name, _, particles = row.partition(", K = ")
        return ("dynamic_particles", int(particles)) if particles else (name.replace(" ", "_"), 0)

    return [
        make(config(model=m, particles=k, inflation=a, seeds=(0,))).count == number
        for row, numbers in printed.items()
        for m, k in [model(row)]
        for a, number in zip(factors, numbers, strict=True)
    ]


def rotating(model: str) -> str:
    """Error at the left-out angle, and its spread over digits, of each run at full length."""
    configs = (RotatingConfig(model=model), RotatingConfig.released(model=model))
    known = [r for c in configs if (r := records.load(ROTATING_MNIST, c)) is not None]
    if not known:
        return missing("rotating_mnist")
    return "; ".join(
        f"{r.metrics['mse'][0]:.4f} ± {r.metrics['mse_std'][0]:.4f} (one run, {r.config.protocol})"
        for r in known
    )


def balls(model: str) -> str:
    """Error over the ten predicted frames, of the run at full length."""
    found = records.load(BOUNCING_BALLS, BallsConfig.paper(model=model))
    if found is None:
        return missing("bouncing_balls")
    return f"{float(found.metrics['mse'][0]):.4f} (one run)"


def circles_swept(inflation: int) -> str:
    """Range of the success rate over the weights of the loss that are recorded."""
    configs = [CirclesConfig.paper(inflation=inflation, classification=w) for w in WEIGHTS]
    found = [r for c in configs if (r := records.load(CIRCLES, c)) is not None]
    if not found:
        return missing("circles")
    rates = [100 * float(np.nan_to_num(r.metrics["fits"]).mean()) for r in found]
    span = " to ".join(dict.fromkeys(f"{rate:.0f}" for rate in (min(rates), max(rates)))) + " %"
    return f"{span}, by the weight of the loss ({len(found)} of {len(WEIGHTS)} weights recorded)"


def circles_released(inflation: int) -> str:
    """Share of runs above the released notebook's bar, under its protocol."""
    found = records.load(CIRCLES, CirclesConfig.released(inflation=inflation))
    if found is None:
        return missing("circles")
    good = np.nan_to_num(found.metrics["generalises"])
    return f"{100 * good.mean():.0f} % of {len(good)} runs"


def regression_range(function: str, metric: str) -> str:
    """Lowest and highest median over models and inflation factors, K = 15."""
    configs = [
        RegressionConfig(function=function, model=m, inflation=a)
        for m in MODELS
        for a in (16, 32, 64, 128)
    ]
    found = [r for c in configs if (r := records.load(REGRESSION, c)) is not None]
    if not found:
        return missing("regression")
    middle = [median(r.metrics[metric]) for r in found]
    return f"medians from {min(middle):.2g} to {max(middle):.2g} ({len(found)} of {len(configs)})"


# --- published -----------------------------------------------------------------------------

ASCENDING = "which rate belongs to which α is not printed in the text; ascending is our reading"
DIGITS = "other digits than the authors'"
BALLS = "drawn by our simulation, not the authors' files"
ORDER = "Section 4, figure beside the text"
PUBLISHED = (
    Published("parameters, all entries", "56 integers", "Tables 1 and 2", counts),
    *(
        Published(
            f"circles, α = {a}, runs that fit",
            f"{100 * rate:.3g} %",
            ORDER,
            partial(circles_swept, a),
            note="50 runs cannot give 26.7 %" if a == 20 else ASCENDING,
        )
        for a, rate in CIRCLE_RATES.items()
    ),
    Published(
        "circles, α = 5, over 99 % of test points right",
        "",
        "",
        partial(circles_released, 5),
        released="10 % of 10 runs",
        released_place=CODE,
    ),
    Published(
        "circles, α = 20, over 99 % of test points right",
        "",
        "",
        partial(circles_released, 20),
        released="90 % of 10 runs",
        released_place=CODE,
    ),
    Published(
        "rotating threes, dynamic with particles",
        "0.0122 ± 0.0064",
        f"Figure 4, as quoted in {QUOTED}",
        partial(rotating, "dynamic_particles"),
        released="0.0112, mean of 5 runs",
        released_place=CODE,
        note=DIGITS,
    ),
    Published(
        "rotating threes, static direct",
        "comparable",
        "Section 4",
        partial(rotating, "static_direct"),
        released="0.0126, mean of 5 runs",
        released_place=CODE,
        note=DIGITS,
    ),
    Published(
        "rotating threes, static with particles",
        "comparable",
        "Section 4",
        partial(rotating, "static_particles"),
        note=DIGITS,
    ),
    Published(
        "bouncing balls, static direct",
        f"{BALL_ERRORS['static direct'].mean:.4f}",
        "Section 4",
        partial(balls, "static_direct"),
        note=BALLS,
    ),
    Published(
        "bouncing balls, static with particles",
        f"{BALL_ERRORS['static with particles'].mean:.4f}",
        "Section 4",
        partial(balls, "static_particles"),
        note=BALLS,
    ),
    Published(
        "bouncing balls, dynamic with particles",
        f"{BALL_ERRORS['dynamic with particles'].mean:.4f}",
        f"Figure 5, as quoted in {QUOTED_BALLS}",
        partial(balls, "dynamic_particles"),
        note=BALLS,
        released="0.0166, latent dimension 40 instead of 50",
        released_place=CODE,
    ),
    Published(
        "cubic, test loss",
        "0.2 to 0.8",
        "Figure 6, labels of the axis",
        partial(regression_range, "cubic", "loss"),
        note="single runs there, medians here",
    ),
    Published(
        "cubic, complexity",
        "−1.5 to 0",
        "Figure 6, labels of the axis",
        partial(regression_range, "cubic", "complexity"),
        note="single runs there, medians here",
    ),
)
