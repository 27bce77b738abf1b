"""The spiral: Fig. 3, Table 2 (Section 4, Appendix E)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from shooting import UpDown
from shooting.errors import require_choice, require_count
from shooting.fit import Checkpoint, FitConfig
from shooting.flow import Solver
from shooting.optim import Plateau
from shooting.parametrizations import Controlled, ParticleInit, complexity
from shooting.randomness import normal, uniform
from shooting.study.data.spiral import (
    SAMPLES,
    SNIPPET,
    SPACING,
    snippet_times,
    snippets,
    trajectory,
)
from shooting.study.experiments.base import (
    Experiment,
    Measured,
    Outcome,
    check_profile,
    train_and_measure,
)
from shooting.study.experiments.models import MODELS, build_model, check_model, part_of
from shooting.study.experiments.regression import POSITIONS, variation
from shooting.study.experiments.settings import check_kinds

TIMES = snippet_times()
DEPTH = TIMES[-1]  # T, 0.201
PROTOCOLS = ("paper", "released")
ERRORS = ("mse", "l2")
SIMILARITY = 100.0  # weight of the data error
PENALTY = 0.01  # weight of the penalty
FENCE = 100.0  # a pasted prediction out here has lost the spiral; its error must stay finite
NEAR = 0.5  # a prediction follows the spiral for as long as it is nearer than this
KEPT = 3  # runs whose predicted trajectory is kept for the figure


@dataclass(frozen=True)
class SpiralConfig:
    """Settings of one ensemble; the defaults are the protocol `paper`: Appendix E's text.

    Attributes:
        protocol: ``paper`` or ``released``; names the settings below, see `released`.
        model: Key of `MODELS`.
        inflation: alpha.
        particles: K; ignored (and set to 0) by the direct models.
        seeds: One per run.
        epochs: Optimiser steps; each sees one batch of fresh snippets.
        batch: Snippets per batch.
        error: ``mse`` (mean square) or ``l2`` (mean distance, not squared).
        learning_rate: Of Adam.
        plateau_factor: Factor of the plateau schedule.
        plateau_every: Epochs between its looks at the loss.
        positions: Particle positions x at t = 0: ``uniform``, or ``data``: on the spiral.
        hidden_scale: Standard deviation of the particles' v at t = 0.
        momentum_scale: Standard deviation of the learned momenta at t = 0.
        penalty_over_depth: Whether the penalty is T R rather than R at t = 0.
        theta3_weight: Penalty weight of theta3.
        frozen_epochs: Epochs in which the positions x stay.
    """

    protocol: str = "paper"
    model: str = "dynamic_particles"
    inflation: int = 16
    particles: int = 15
    seeds: tuple[int, ...] = tuple(range(10))
    epochs: int = 1500
    batch: int = 100
    error: str = "mse"
    learning_rate: float = 0.01
    plateau_factor: float = 0.5
    plateau_every: int = 10
    positions: str = "uniform"
    hidden_scale: float = 0.5
    momentum_scale: float = 0.1
    penalty_over_depth: bool = True
    theta3_weight: float = 10.0
    frozen_epochs: int = 50

    def __post_init__(self) -> None:
        check_kinds(self)
        require_choice(self.protocol, PROTOCOLS, "a protocol")
        require_choice(self.error, ERRORS, "an error")
        require_choice(self.positions, POSITIONS, "particle positions")
        require_count(self.batch, "the batch")
        check_model(self)

    @classmethod
    def paper(cls, **changes: Any) -> SpiralConfig:
        """The paper's text: Appendix E, and where it says "the same", the regression's values."""
        return cls(**changes)

    @classmethod
    def released(cls, **changes: Any) -> SpiralConfig:
        """What the authors' released code does, wherever that differs from the text."""
        code = cls(
            protocol="released",
            error="l2",
            learning_rate=0.05,
            plateau_factor=0.1,
            plateau_every=100,
            positions="data",
            hidden_scale=1.0,
            momentum_scale=0.5,
            penalty_over_depth=False,
        )
        return replace(code, **changes)


def data_error(predicted: Tensor, truth: Tensor, kind: str) -> Tensor:
    """Mean over times and snippets, per run: squared entries (``mse``) or distances (``l2``)."""
    miss = predicted - truth
    each: Tensor = miss**2 if kind == "mse" else torch.linalg.vector_norm(miss, dim=-1)
    return each.flatten(1).mean(-1)


def running_cost(model: Any) -> Tensor:
    """Mean of R over depth, per run; where momenta jump, R has a level on each segment."""
    kicks = getattr(model, "kick_times", ())
    cost: Tensor = model.penalty(TIMES) if kicks else model.penalty()
    return cost


def followed(path: Tensor) -> Tensor:
    """Time until which predicted trajectories ``(runs, samples, 2)`` stay near the true one."""
    distance = (path - trajectory()[: path.shape[1]]).norm(dim=-1)
    return (distance <= NEAR).cumprod(-1).sum(-1).sub(1) * SPACING


class SpiralTask:
    """Fresh snippets every epoch; loss 100 error + 0.01 T R, watched on 100 fixed snippets."""

    def __init__(self, config: SpiralConfig) -> None:
        self.config = config
        self.watch = snippets(config.seeds, 100, "watch")
        self.penalty_weight = PENALTY * (DEPTH if config.penalty_over_depth else 1.0)

    def batches(self, epoch: int) -> Iterator[Tensor]:
        """The epoch's single batch ``(runs, 5, batch, 2)``."""
        yield snippets(self.config.seeds, self.config.batch, "train", epoch)

    def error(self, model: Controlled, truth: Tensor) -> Tensor:
        """Error on snippets, each predicted from its first sample; per run."""
        return data_error(model(truth[:, 0], TIMES), truth, self.config.error)

    def loss(self, model: Controlled, batch: Tensor) -> Tensor:
        """100 error + the weighted penalty, per run."""
        error = self.error(model, batch)
        return SIMILARITY * error + self.penalty_weight * running_cost(model)

    def monitor(self, model: Controlled) -> Tensor:
        """The loss on 100 snippets that stay."""
        return self.loss(model, self.watch)


def make_model(config: SpiralConfig) -> Controlled:
    """The model of a config, untrained."""
    init = ParticleInit(
        x=uniform(1.5), v=normal(config.hidden_scale), p=normal(config.momentum_scale)
    )
    if config.positions == "data" and config.particles:
        first = iter(snippets(config.seeds, config.particles, "particles")[:, 0])
        init = replace(init, x=lambda _, shape: next(first))
    return build_model(
        config.model,
        UpDown(2, config.inflation, theta3_weight=config.theta3_weight),
        particles=config.particles,
        init=init,
        momentum_scale=None,
        seeds=config.seeds,
        lift="learned",
        # the paper's 0.05 up to half a percent, so that every sample is a step's end
        solver=Solver(method="rk4", step=SPACING),
    )


@torch.no_grad()
def pasted(model: Controlled, samples: int = SAMPLES, *, intervals: int = SNIPPET - 1) -> Tensor:
    """The long trajectory from x(0), each short solution starting where the last one ends.

    Args:
        model: A trained model of any kind.
        samples: Samples to predict, the given start included.
        intervals: How much of a short solution is used before the next one starts; at most 4.

    Returns:
        Positions ``(runs, samples, 2)``, held within [-100, 100].
    """
    path = [trajectory()[:1].expand(model.runs, 1, 2)]
    for _ in range(1, samples, intervals):
        piece = model(path[-1][:, -1:], TIMES)[:, 1 : intervals + 1, 0]
        path.append(piece.nan_to_num(FENCE, FENCE, -FENCE).clamp(-FENCE, FENCE))
    return torch.cat(path, dim=1)[:, :samples]


def train(
    config: SpiralConfig,
    checkpoint: Checkpoint | None = None,
    *,
    frozen: Sequence[str] = ("x",),
    model: Controlled | None = None,
    more: Callable[[SpiralTask, Controlled], Mapping[str, Tensor]] | None = None,
) -> Outcome:
    """Train one ensemble and measure it.

    Args:
        config: Settings.
        checkpoint: Where to resume from and save to.
        frozen: Parts of particle models that stay for the first epochs.
        model: Another untrained model than that of the config.
        more: Further numbers per run of the trained model.

    Returns:
        Metrics per run (short and long errors in both readings, penalty, published losses,
        complexities) and the predicted trajectories of the first runs.
    """
    task, model = SpiralTask(config), model or make_model(config)

    def measured() -> Measured:
        values, drawn = measure(config, task, model)
        return {**values, **(more(task, model) if more else {})}, drawn

    settings = FitConfig(
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        schedule=Plateau(factor=config.plateau_factor, patience=10, every=config.plateau_every),
        freeze={part_of(n): config.frozen_epochs for n in frozen if config.particles},
    )
    return train_and_measure(
        config,
        model,
        task,
        settings,
        measured,
        checkpoint=checkpoint,
        label=f"spiral {config.protocol} {config.model} α={config.inflation} K={config.particles}",
    )


def measure(config: SpiralConfig, task: SpiralTask, model: Controlled) -> Measured:
    """Errors on 1000 short snippets and on the whole spiral, and what the figure draws."""
    short = snippets(config.seeds, 1000, "test")
    fits = {"short": (model(short[:, 0], TIMES), short)}
    path = pasted(model)
    fits["long"] = (path.unsqueeze(-2), trajectory().unsqueeze(-2))
    values = {
        f"{name}_{kind}": data_error(*fit, kind) for name, fit in fits.items() for kind in ERRORS
    }
    values["penalty"] = running_cost(model)
    values["followed"] = followed(path)
    weighted = task.penalty_weight * values["penalty"]
    for name in fits:
        values[f"{name}_data"] = SIMILARITY * values[f"{name}_{config.error}"]
        values[f"{name}_loss"] = values[f"{name}_data"] + weighted
    values |= complexities(model)
    control = model.theta(TIMES)
    values |= {f"variation/{k}": variation(v) for k, v in control.items()}
    return values, {"long": path[:KEPT]}


def complexities(model: Controlled) -> dict[str, Tensor]:
    """Both readings of the complexity, over one snippet and over all pasted ones, per run.

    199 intervals are 49 pieces of four and one of three. Dynamic direct spreads its five blocks
    over that last, shorter piece as well, which moves the sum by less than a thousandth.
    """
    whole, rest = divmod(SAMPLES - 1, SNIPPET - 1)
    one, part = complexity(model, TIMES), complexity(model, TIMES[: rest + 1])
    return {
        "complexity": one["squared"],
        "complexity_norm": one["norm"],
        "complexity_long": whole * one["squared"] + part["squared"],
        "complexity_long_norm": whole * one["norm"] + part["norm"],
    }


def grid(profile: str) -> Sequence[SpiralConfig]:
    """All ensembles of a profile.

    `quick`: four models, alpha = 16, K = 15, 3 seeds, protocol `paper`. `paper`: both protocols,
    alpha in {16, 32, 64, 128}, K in {15, 25, 50} for the particle models, 10 seeds.
    """
    if check_profile(profile) == "quick":
        return [SpiralConfig.paper(model=m, seeds=(0, 1, 2)) for m in MODELS]
    return [
        make(model=m, inflation=a, particles=k)
        for make in (SpiralConfig.paper, SpiralConfig.released)
        for a in (16, 32, 64, 128)
        for m in MODELS
        for k in ((15, 25, 50) if m.endswith("particles") else (0,))
    ]


SPIRAL = Experiment("spiral", SpiralConfig, grid, train)
