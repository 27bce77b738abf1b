"""Other models at equal parameters: NODE, augmented NODE, Galerkin theta(t), residual network.

Data, loss, schedule and metrics are those of the 1-D regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shooting import UpDown
from shooting.errors import require_choice
from shooting.fit import Checkpoint, FitConfig
from shooting.flow import Solver
from shooting.optim import Plateau
from shooting.parametrizations import Controlled, Parametrization, complexity
from shooting.study.data.functions import FUNCTIONS, grid_points
from shooting.study.experiments.base import (
    Experiment,
    Measured,
    Outcome,
    check_profile,
    train_and_measure,
)
from shooting.study.experiments.baseline_models import Galerkin, NeuralODE, residual_network
from shooting.study.experiments.regression import (
    DEPTHS,
    SIMILARITY,
    TIMES,
    RegressionConfig,
    RegressionTask,
)
from shooting.study.experiments.settings import check_kinds

BASELINES: dict[str, str] = {
    "node": "NODE",
    "augmented_node": "augmented NODE",
    "galerkin": "Galerkin θ(t)",
    "resnet": "weight-decayed ResNet",
}
# hidden width of the perceptrons, inflation factor of the others: about 100 to 6000 parameters
SIZES = {
    "node": (30, 8, 72, 16, 44),
    "augmented_node": (24, 6, 68, 12, 40),
    "galerkin": (16, 3, 32, 8, 20),
    "resnet": (8, 2, 22, 4, 14),
}


@dataclass(frozen=True)
class BaselineConfig:
    """Settings of one ensemble.

    Attributes:
        function: ``quadratic-like`` or ``cubic``.
        model: Key of `BASELINES`.
        size: Hidden width (NODEs), or inflation factor alpha (Galerkin, ResNet).
        seeds: One per run.
        epochs: Passes over the training data.
        batch: Batch size.
        learning_rate: Of Adam.
        theta3_weight: Penalty weight of theta3 (Galerkin, ResNet).
        augment: Zeros appended to x (augmented NODE).
        modes: Legendre polynomials (Galerkin).
        layers: Layers (ResNet).
        train_points: Number of training points.
    """

    function: str = "quadratic-like"
    model: str = "augmented_node"
    size: int = 24
    seeds: tuple[int, ...] = tuple(range(10))
    epochs: int = 500
    batch: int = 50
    learning_rate: float = 0.01
    theta3_weight: float = 10.0
    augment: int = 4
    modes: int = 5
    layers: int = 10
    train_points: int = 500

    def __post_init__(self) -> None:
        check_kinds(self)
        require_choice(self.model, BASELINES, "a model")
        self.regression()  # checks what both have in common

    def regression(self) -> RegressionConfig:
        """Data and loss, as a config of the regression (its model plays no part)."""
        return RegressionConfig(
            function=self.function,
            model="static_direct",
            seeds=self.seeds,
            epochs=self.epochs,
            batch=self.batch,
            learning_rate=self.learning_rate,
            train_points=self.train_points,
        )


def make_model(config: BaselineConfig) -> Parametrization:
    """The model of a config, untrained."""
    solver = Solver(method="rk4", step=0.1)
    if config.model in ("node", "augmented_node"):
        zeros = config.augment if config.model == "augmented_node" else 0
        return NeuralODE(1, config.size, augment=zeros, seeds=config.seeds, solver=solver)
    field = UpDown(1, config.size, theta3_weight=config.theta3_weight)
    if config.model == "galerkin":
        return Galerkin(field, blocks=config.modes, seeds=config.seeds, solver=solver)
    return residual_network(field, layers=config.layers, seeds=config.seeds)


def train(config: BaselineConfig, checkpoint: Checkpoint | None = None) -> Outcome:
    """Train one ensemble and measure it.

    Args:
        config: Settings.
        checkpoint: Where to resume from and save to.

    Returns:
        Metrics per run, named as in the regression, and the learned functions.
    """
    task, model = RegressionTask(config.regression()), make_model(config)
    settings = FitConfig(
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        schedule=Plateau(factor=0.5, patience=10, every=10),
    )
    return train_and_measure(
        config,
        model,
        task,
        settings,
        lambda: measure(task, model),
        checkpoint=checkpoint,
        label=f"{config.function} {config.model} {config.size}",
    )


def measure(task: RegressionTask, model: Parametrization) -> Measured:
    """Test metrics per run on 1000 equispaced points, and the learned functions."""
    error, penalty = task.error(model, grid_points(1000)), model.penalty()
    values = {
        "mse": error,
        "penalty": penalty,
        "loss": SIMILARITY * error + penalty,
        "complexity": complexity_of(model),
    }
    learned = model(grid_points(101), TIMES)[:, -1, :, 0]
    return values, {"fit": learned}


def complexity_of(model: Parametrization) -> Tensor:
    """Integral over depth of log2 of the squared Frobenius norm of all matrices, per run.

    For Galerkin and ResNet the paper's measure, theta1 to theta3 at the same 11 depths. A NODE's
    matrices do not depend on depth, so its integral is log2 of their squared norm: the same
    formula, but for a field that composes its matrices instead of adding their terms. The two
    scales of complexity are therefore not commensurable, and the figure says so.
    """
    if isinstance(model, NeuralODE):
        squares = [(w**2).sum((-1, -2)) for k, w in model.named_parameters() if k.startswith("W")]
        return torch.stack(squares).sum(0).log2()
    assert isinstance(model, Controlled)
    return complexity(model, DEPTHS)["squared"]


def monotone_bound(values: np.ndarray) -> float:
    """Least mean squared error of an increasing function.

    A flow on the line cannot cross itself: whatever its size, a plain NODE stays above this.

    Args:
        values: The target at increasing points, ``(n,)``.

    Returns:
        The error of the best increasing approximation at these points.
    """
    from scipy.optimize import isotonic_regression  # an extra, as elsewhere in the study

    return float(np.mean((values - isotonic_regression(values).x) ** 2))


def grid(profile: str) -> Sequence[BaselineConfig]:
    """All ensembles of a profile.

    `quick`: the quadratic-like function, each model once, near 500 parameters (fewer epochs).
    `paper`: both functions, five sizes of each model, seeds 0-9.
    """
    if check_profile(profile) == "quick":
        sizes = {"node": 20, "augmented_node": 16, "galerkin": 8, "resnet": 5}
        return [
            BaselineConfig(model=m, size=s, seeds=tuple(range(3)), epochs=100)
            for m, s in sizes.items()
        ]
    return [
        BaselineConfig(function=f, model=m, size=SIZES[m][k])
        for k in range(5)
        for f in FUNCTIONS
        for m in BASELINES
    ]


BASELINE_RUNS = Experiment("baselines", BaselineConfig, grid, train)
