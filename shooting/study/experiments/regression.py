"""1-D function regression: Figs. 2 and 6-11, Table 1 (Section 4, Appendix E)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from shooting import UpDown
from shooting.errors import require_choice, require_count
from shooting.fit import Checkpoint, FitConfig
from shooting.flow import Solver
from shooting.lift import LIFTS
from shooting.optim import Plateau
from shooting.parametrizations import (
    Controlled,
    DynamicParticles,
    Parametrization,
    ParticleInit,
    complexity,
)
from shooting.randomness import normal, uniform
from shooting.solvers import TABLEAUS
from shooting.study.data.functions import (
    FUNCTIONS,
    FURTHER,
    TARGETS,
    grid_points,
    permutations,
    samples,
)
from shooting.study.experiments.base import (
    Experiment,
    Measured,
    Outcome,
    check_profile,
    train_and_measure,
)
from shooting.study.experiments.models import MODELS, build_model, check_model
from shooting.study.experiments.settings import check_kinds

TIMES = (0.0, 1.0)
DEPTHS = tuple(k / 10 for k in range(11))
MORE_SEEDS = tuple(range(10, 50))
POSITIONS = ("uniform", "data")  # of particles at t = 0
SIMILARITY = 100.0  # weight of the squared error (Appendix E)


@dataclass(frozen=True)
class RegressionConfig:
    """Settings of one ensemble; the defaults are Appendix E's.

    Attributes:
        function: Key of `TARGETS`; the paper's are ``quadratic-like`` and ``cubic``.
        model: Key of `MODELS`.
        inflation: alpha.
        particles: K; ignored (and set to 0) by the direct models.
        seeds: One per run.
        epochs: Passes over the training data.
        batch: Batch size.
        learning_rate: Of Adam.
        theta3_weight: Penalty weight of theta3.
        lift: ``learned``, ``fixed`` or ``zero``.
        lift_penalty: Weight of |lift|^2 / 2 in the loss.
        momentum: ``mean`` (published scale, p(0) = learned / K) or ``sum`` (the paper's letter).
        positions: Particle positions at t = 0: ``uniform``, or ``data`` for training points.
        frozen_epochs: Epochs in which the positions x stay; equal to `epochs` keeps them frozen.
        method: Fixed-step method.
        train_points: Number of training points.
    """

    function: str = "quadratic-like"
    model: str = "dynamic_particles"
    inflation: int = 16
    particles: int = 15
    seeds: tuple[int, ...] = tuple(range(10))
    epochs: int = 500
    batch: int = 50
    learning_rate: float = 0.01
    theta3_weight: float = 10.0
    lift: str = "learned"
    lift_penalty: float = 0.0
    momentum: str = "mean"
    positions: str = "uniform"
    frozen_epochs: int = 50
    method: str = "rk4"
    train_points: int = 500

    def __post_init__(self) -> None:
        check_kinds(self)
        require_choice(self.function, (*FUNCTIONS, *FURTHER), "a function")
        require_choice(self.momentum, ("mean", "sum"), "a momentum scale")
        require_choice(self.positions, POSITIONS, "particle positions")
        require_choice(self.lift, LIFTS, "a lift")
        require_choice(self.method, TABLEAUS, "a method")
        check_model(self)
        require_count(self.batch, "the batch", most=self.train_points)


class RegressionTask:
    """Training data of every run, loss 100 MSE + R (T = 1), watched on 1000 fresh points."""

    def __init__(self, config: RegressionConfig) -> None:
        self.config = config
        self.target = TARGETS[config.function]
        self.train = samples(config.seeds, config.train_points, "train")
        self.watch = samples(config.seeds, 1000, "watch")

    def batches(self, epoch: int) -> Iterator[Tensor]:
        """Shuffled batches ``(runs, batch, 1)``; an incomplete last one is dropped."""
        order = permutations(self.config.seeds, self.train.shape[1], epoch)
        shuffled = self.train.gather(1, order.unsqueeze(-1))
        size = self.config.batch
        return (shuffled[:, k : k + size] for k in range(0, shuffled.shape[1] - size + 1, size))

    def error(self, model: Parametrization, x: Tensor) -> Tensor:
        """Mean squared error at t = 1, per run."""
        miss: Tensor = model(x, TIMES)[:, -1] - self.target(x)
        return (miss**2).mean((-1, -2))

    def loss(self, model: Controlled, batch: Tensor) -> Tensor:
        """100 MSE + R, and the lift's penalty where one is asked for; per run."""
        loss = SIMILARITY * self.error(model, batch) + model.penalty()
        if self.config.lift_penalty:
            loss = loss + 0.5 * self.config.lift_penalty * model.lift_square()
        return loss

    def monitor(self, model: Controlled) -> Tensor:
        """The loss on 1000 points that are never trained on."""
        return self.loss(model, self.watch)


def make_model(config: RegressionConfig, *, init: ParticleInit | None = None) -> Controlled:
    """The model of a config, untrained.

    Args:
        config: Settings.
        init: Distribution of the particles; Appendix E's by default.
    """
    init = init or ParticleInit(x=uniform(1.5), v=normal(0.5), p=normal(0.1))
    if config.positions == "data":
        first = iter(samples(config.seeds, config.train_points, "train"))
        init = replace(init, x=lambda _, shape: next(first)[: shape[0]])
    return build_model(
        config.model,
        UpDown(1, config.inflation, theta3_weight=config.theta3_weight),
        particles=config.particles,
        init=init,
        momentum_scale=1.0 if config.momentum == "sum" else None,
        seeds=config.seeds,
        lift=config.lift,
        solver=Solver(method=config.method, step=0.1),
    )


def fit_settings(config: RegressionConfig) -> FitConfig:
    """How Appendix E trains."""
    return FitConfig(
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        schedule=Plateau(factor=0.5, patience=10, every=10),
        freeze={"x": config.frozen_epochs} if config.particles else {},
    )


def train(
    config: RegressionConfig,
    checkpoint: Checkpoint | None = None,
    *,
    model: Controlled | None = None,
    task: RegressionTask | None = None,
    settings: FitConfig | None = None,
) -> Outcome:
    """Train one ensemble and measure it.

    Args:
        config: Settings.
        checkpoint: Where to resume from and save to.
        model: Untrained model to take instead of the config's own; trained in place.
        task: Data and loss to take instead of the config's own.
        settings: How to train, instead of `fit_settings`.

    Returns:
        Metrics per run (test error, penalty, published loss, complexities) and arrays to draw.
    """
    task = RegressionTask(config) if task is None else task
    model = make_model(config) if model is None else model
    return train_and_measure(
        config,
        model,
        task,
        settings or fit_settings(config),
        lambda: measure(task, model),
        checkpoint=checkpoint,
        label=f"{config.function} {config.model} α={config.inflation} K={config.particles}",
    )


def measure(task: RegressionTask, model: Controlled) -> Measured:
    """Test metrics per run on 1000 equispaced points, and what the figures draw."""
    error, penalty = task.error(model, grid_points(1000)), model.penalty()
    curves = complexity(model, DEPTHS)
    values = {
        "mse": error,
        "penalty": penalty,
        "loss": SIMILARITY * error + penalty,
        "complexity": curves["squared"],
        "complexity_norm": curves["norm"],
        "lift_square": model.lift_square(),
    }
    control = model.theta(DEPTHS)
    values |= {f"variation/{k}": variation(v) for k, v in control.items()}
    drawn = {
        "fit": model(grid_points(101), TIMES)[:, -1, :, 0],
        "depth": model(grid_points(31), DEPTHS)[:1, ..., 0],
        **{f"theta/{k}": thin(v[:1].flatten(-2)) for k, v in control.items()},
    }
    if isinstance(model, DynamicParticles):
        drawn["particles"] = model.x[..., 0]
    return values, drawn


def variation(theta: Tensor) -> Tensor:
    """How much a control varies over depth: rms distance from its mean, over its rms, per run."""
    mean = theta.mean(-3, keepdim=True)
    return ((theta - mean) ** 2).mean((-3, -2, -1)).sqrt() / (theta**2).mean((-3, -2, -1)).sqrt()


def thin(entries: Tensor, most: int = 128) -> Tensor:
    """Every n-th entry of the last axis, at most `most` of them: all that a figure shows."""
    return entries[..., :: -(-entries.shape[-1] // most)]


def grid(profile: str) -> Sequence[RegressionConfig]:
    """All ensembles of a profile.

    `quick`: both functions, four models, alpha = 16, K = 15, 5 seeds. `paper`: both functions,
    alpha in {4, ..., 128}, K in {2, 5, 15, 25} for the particle models, seeds 0-9, which draw the
    paper's figures; then seeds 10-49, which help to decide, of the main comparison (K = 15) and of
    the other numbers of particles (dynamic, alpha = 16).
    """
    if check_profile(profile) == "quick":
        return [
            RegressionConfig(function=f, model=m, seeds=tuple(range(5)))
            for f in FUNCTIONS
            for m in MODELS
        ]
    drawn = [
        RegressionConfig(function=f, model=m, inflation=a, particles=k)
        for a in (16, 32, 64, 128, 8, 4)
        for f in FUNCTIONS
        for m in MODELS
        for k in ((15, 2, 5, 25) if m.endswith("particles") else (0,))
    ]
    main = [c for c in drawn if c.particles in (0, 15) and c.inflation >= 16]
    fewer_or_more = [
        c
        for c in drawn
        if c.model == "dynamic_particles" and c.inflation == 16 and c.particles != 15
    ]
    return [*drawn, *(replace(c, seeds=MORE_SEEDS) for c in (*main, *fewer_or_more))]


REGRESSION = Experiment("regression", RegressionConfig, grid, train)
