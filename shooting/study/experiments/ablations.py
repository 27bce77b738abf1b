"""What each choice of the regression contributes: one setting, one change at a time.

Setting: alpha = 16, K = 15, both functions. Seeds 0-9, then 10-49, since many runs get stuck.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shooting import UpDown
from shooting.adjoint import dense, fuse
from shooting.errors import require_choice
from shooting.fit import Checkpoint
from shooting.flow import Solver, Times
from shooting.parametrizations import Controlled, DynamicDirect
from shooting.solvers import TABLEAUS, check_step
from shooting.study.data.functions import FUNCTIONS
from shooting.study.experiments import regression
from shooting.study.experiments.base import Experiment, Outcome, check_profile
from shooting.study.experiments.baseline_models import carry_along
from shooting.study.experiments.regression import DEPTHS, MORE_SEEDS, RegressionConfig

# A run is stuck if it leaves more than half of what the best constant (quadratic-like) or the
# best straight line (cubic) leaves.
STUCK = {"quadratic-like": 0.0399 / 2, "cubic": 0.260 / 2}


@dataclass(frozen=True)
class AblationConfig(RegressionConfig):
    """A config of the regression, and how dynamic direct finds its block.

    Attributes:
        lookup: ``chained`` (a step uses the block it lies in) or ``released``: the stages of a
            step alternate between that block and the next, as in the published code.
    """

    lookup: str = "chained"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice(self.lookup, ("chained", "released"), "a lookup")


BASE = "as published"
ABLATIONS: dict[str, dict[str, Any]] = {
    BASE: {},
    "lift penalised": {"lift_penalty": 1.0},
    "lift fixed at random": {"lift": "fixed"},
    "lift zero, v(0) = 0": {"lift": "zero"},
    "θ₃ weight 0.1": {"theta3_weight": 0.1},
    "θ₃ weight 1": {"theta3_weight": 1.0},
    "θ₃ weight 50": {"theta3_weight": 50.0},
    "positions frozen for good": {"frozen_epochs": 500},
    "positions from data": {"positions": "data"},
    "positions from data, frozen": {"positions": "data", "frozen_epochs": 500},
    "momenta as the literal sum": {"momentum": "sum"},
    "classical Runge-Kutta": {"method": "classical"},
    "dynamic direct": {"model": "dynamic_direct"},
    "dynamic direct, released lookup": {"model": "dynamic_direct", "lookup": "released"},
}


def stuck(function: str, mse: Sequence[float] | np.ndarray) -> np.ndarray:
    """Which runs are stuck (failed ones are).

    Args:
        function: Name of the target.
        mse: Test error per run.

    Returns:
        Boolean, one per run.
    """
    return ~(np.asarray(mse, dtype=float) < STUCK[function])


class ReleasedDirect(DynamicDirect):
    """Dynamic direct with the block lookup of the published code.

    There the four stages of a step in block b, at t, t + h/3, t + 2h/3 and t + h, use the blocks
    b, b + 1, b, b + 1 (the last block follows itself): the lookup depends on the calls before,
    not on t alone, and the first block is never used by itself.
    """

    def stage_blocks(self, times: Times) -> list[int]:
        """The block that each stage of a solve uses, in order."""
        grid = self._grid(times, check_step(self.solver.step))
        stages, last = len(TABLEAUS[self.solver.method].b), self.blocks - 1
        return [min(b + i % 2, last) for b in grid.blocks for i in range(stages)]

    def _flow(self, z: Tensor, times: Times) -> Tensor:
        grid = self._grid(times, check_step(self.solver.step))
        blocks, call = self.stage_blocks(times), count()
        field = dense(self.field)
        fused = fuse(field, self.theta_blocks())
        return carry_along(
            field, z, grid, self.solver, lambda t: fused[..., blocks[next(call)], :, :]
        )

    def route(self) -> str:
        """Autograd records each operation."""
        return "autograd"


def make_model(config: AblationConfig) -> Controlled:
    """The model of a config, untrained."""
    if config.lookup == "chained" or config.model != "dynamic_direct":
        return regression.make_model(config)
    return ReleasedDirect(
        UpDown(1, config.inflation, theta3_weight=config.theta3_weight),
        seeds=config.seeds,
        lift=config.lift,
        solver=Solver(method=config.method, step=0.1),
    )


def train(config: AblationConfig, checkpoint: Checkpoint | None = None) -> Outcome:
    """Train one ensemble and measure it, the complexity also with the lift counted.

    Args:
        config: Settings.
        checkpoint: Where to resume from and save to.

    Returns:
        What the regression leaves, and ``complexity_with_lift``.
    """
    model = make_model(config)
    outcome = regression.train(config, checkpoint, model=model)
    with torch.no_grad():
        lifted = [float(c) for c in complexity_with_lift(model, DEPTHS)]
    return replace(outcome, metrics={**outcome.metrics, "complexity_with_lift": lifted})


def complexity_with_lift(model: Controlled, times: Times) -> Tensor:
    """The complexity with the lift's matrix Theta12 as one more matrix at every depth, per run.

    The published measure leaves the lift out, although a large lift lets theta be small.
    """
    weight = model.lift.weight
    theta = model.theta(times)
    terms = [m for k, m in theta.items() if not model.field.is_bias(k)]
    square = torch.stack([(m**2).sum((-1, -2)) for m in terms]).sum(0)
    square = square + (weight**2).sum((-1, -2)).unsqueeze(-1)
    t = torch.as_tensor(times, dtype=torch.float64).to(square)
    return ((t[1:] - t[:-1]) * torch.log2((square[..., 1:] + square[..., :-1]) / 2)).sum(-1)


def variants(function: str, seeds: tuple[int, ...]) -> Iterator[tuple[str, AblationConfig]]:
    """Every ablation of one function, by name."""
    for name, changes in ABLATIONS.items():
        yield name, AblationConfig(function=function, seeds=seeds, **changes)


def grid(profile: str) -> Sequence[AblationConfig]:
    """All ensembles of a profile.

    `quick`: the quadratic-like function, five seeds, the changes of lift and scale of momenta.
    `paper`: every change, both functions, seeds 0-9; then seeds 10-49.
    """
    if check_profile(profile) == "quick":
        few = (BASE, "lift zero, v(0) = 0", "momenta as the literal sum")
        known = dict(variants("quadratic-like", tuple(range(5))))
        direct = known["dynamic direct, released lookup"]
        return [*(known[name] for name in few), replace(direct, seeds=(0, 1), epochs=50)]
    return [
        config
        for seeds in (tuple(range(10)), MORE_SEEDS)
        for function in FUNCTIONS
        for _, config in variants(function, seeds)
    ]


ABLATION_RUNS = Experiment("ablations", AblationConfig, grid, train)
