"""Concentric circles: how often the inflation factor lets the data be separated (Section 4)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from shooting import UpDown
from shooting.errors import require_choice, require_count
from shooting.fit import Checkpoint, FitConfig, fit
from shooting.flow import Solver
from shooting.lift import LIFTS
from shooting.optim import Cosine
from shooting.parametrizations import DynamicParticles, ParticleInit, complexity
from shooting.randomness import generator, normal, uniform
from shooting.study.data.circles import COUNTS, circles
from shooting.study.data.functions import permutations
from shooting.study.experiments.base import (
    Experiment,
    Outcome,
    as_arrays,
    as_metrics,
    check_profile,
    require_evaluation,
)
from shooting.study.experiments.settings import check_kinds

TIMES = (0.0, 1.0)
DEPTHS = tuple(k / 10 for k in range(11))
PROTOCOLS = ("paper", "released")
FACTORS = (5, 10, 20)
WEIGHTS = (10.0, 5.0, 2.0, 1.0, 0.7, 0.6, 0.5, 0.3, 0.1)  # of the classification loss
GENERALISES = 0.99  # test accuracy above which the released notebook counts a success
DRAWN = (40, 80)  # points of each class whose flow is drawn
EDGE = 2.0  # half-width of the drawn window


@dataclass(frozen=True)
class CirclesConfig:
    """Settings of one ensemble; the defaults are the protocol `paper`.

    Attributes:
        protocol: ``paper`` or ``released``; names the settings below, see `released`.
        inflation: alpha.
        particles: K.
        seeds: One per run.
        epochs: Passes over the 3000 training points.
        batch: Batch size.
        classification: Weight of the classification loss.
        penalty: Weight of R (T = 1); 0 leaves it out.
        theta3_weight: Penalty weight of theta3.
        other_weight: Penalty weight of the other four controls.
        lift: ``learned``, ``fixed`` or ``zero``.
        learning_rate: Of Adam, annealed to 0 along a cosine.
        classifier_decay: Weight decay of the linear classifier.
    """

    protocol: str = "paper"
    inflation: int = 5
    particles: int = 20
    seeds: tuple[int, ...] = tuple(range(50))
    epochs: int = 20
    batch: int = 128
    classification: float = 1.0
    penalty: float = 1.0
    theta3_weight: float = 10.0
    other_weight: float = 1.0
    lift: str = "learned"
    learning_rate: float = 0.005
    classifier_decay: float = 1e-4

    def __post_init__(self) -> None:
        check_kinds(self)
        require_choice(self.protocol, PROTOCOLS, "a protocol")
        require_choice(self.lift, LIFTS, "a lift")
        require_count(self.batch, "the batch", least=2, most=sum(COUNTS))
        if min(self.classification, self.penalty) < 0:
            raise ValueError(
                f"expected weights of at least 0, got {self.classification} for the classification "
                f"and {self.penalty} for the penalty; try 1 and 1"
            )

    @classmethod
    def paper(cls, **changes: Any) -> CirclesConfig:
        """The paper's text: R in the loss, learned lift, theta3 weighted by 10.

        Where the text is silent (initial values, optimiser, classifier) the released code speaks.
        """
        return cls(**changes)

    @classmethod
    def released(cls, **changes: Any) -> CirclesConfig:
        """The authors' released code: no R in the loss, v(0) = 0, the weights 1.5 and 0.1."""
        code = cls(
            protocol="released", penalty=0.0, theta3_weight=0.1, other_weight=1.5, lift="zero"
        )
        return replace(code, **changes)


class EnsembleHead(nn.Module):
    """BatchNorm and a linear classifier without bias; every run has its own.

    In training each run is normalised by its own batch, and its running statistics follow; in
    evaluation by the running statistics. As `torch.nn.BatchNorm1d` and `Linear(bias=False)`.

    Args:
        dim: Dimension of the input.
        seeds: One seed per run.
        momentum: Of the running statistics.
        eps: Added to the variance.
    """

    mean: Tensor
    variance: Tensor

    def __init__(
        self, dim: int, seeds: Sequence[int], *, momentum: float = 0.1, eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        runs, bound = len(seeds), 1 / math.sqrt(dim)
        drawn = torch.stack([uniform(bound)(generator(s, "head"), (dim,)) for s in seeds])
        self.scale = nn.Parameter(torch.ones(runs, dim))
        self.shift = nn.Parameter(torch.zeros(runs, dim))
        self.weight = nn.Parameter(drawn.to(torch.get_default_dtype()))
        self.register_buffer("mean", torch.zeros(runs, dim))
        self.register_buffer("variance", torch.ones(runs, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(runs, n)`` of positions ``(runs, n, dim)``."""
        mean, variance = self._statistics(x) if self.training else (self.mean, self.variance)
        slope = self.scale / (variance + self.eps).sqrt()
        y = (x - mean.unsqueeze(1)) * slope.unsqueeze(1) + self.shift.unsqueeze(1)
        return (y * self.weight.unsqueeze(1)).sum(-1)

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, variance = x.mean(1), x.var(1, unbiased=False)
        unbiased = variance.detach() * (x.shape[1] / (x.shape[1] - 1))
        self.mean.lerp_(mean.detach(), self.momentum)
        self.variance.lerp_(unbiased, self.momentum)
        return mean, variance


class Classifier(nn.Module):
    """A flow of particles followed by the head; its call gives logits.

    Args:
        flow: The shooting model, with one seed per run.
        seeds: The same seeds.
    """

    def __init__(self, flow: DynamicParticles, seeds: Sequence[int]) -> None:
        super().__init__()
        self.flow, self.seeds = flow, tuple(seeds)
        self.head = EnsembleHead(flow.field.slots[flow.data_slot], seeds)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(runs, n)`` of points ``(runs, n, 2)`` or ``(n, 2)``."""
        logits: Tensor = self.head(self.flow(x, TIMES)[:, -1])
        return logits


class CirclesTask:
    """Training points of every run; loss: classification weight * cross-entropy + R."""

    def __init__(self, config: CirclesConfig) -> None:
        self.config = config
        self.points, self.labels = circles(config.seeds, "train")

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Shuffled batches, the incomplete last one included, as published."""
        order = permutations(self.config.seeds, self.points.shape[1], epoch)
        for part in order.split(self.config.batch, dim=1):
            if part.shape[1] > 1:  # one point has no variance
                where = part.unsqueeze(-1).expand(-1, -1, 2)
                yield self.points.gather(1, where), self.labels.gather(1, part)

    def loss(self, model: Classifier, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The loss per run; weight decay is the gradient of its square, as in Adam."""
        x, y = batch
        logits = model(x)
        entropy = functional.binary_cross_entropy_with_logits(logits, y, reduction="none").mean(1)
        decay = 0.5 * self.config.classifier_decay * (model.head.weight**2).sum(1)
        loss: Tensor = self.config.classification * entropy + decay
        if self.config.penalty:
            loss = loss + self.config.penalty * model.flow.penalty()
        return loss

    def monitor(self, model: Classifier) -> Tensor:
        """The loss on all training points, as trained (the cosine schedule never looks)."""
        return self.loss(model, (self.points, self.labels))


def make_model(config: CirclesConfig) -> Classifier:
    """The model of a config, untrained."""
    field = UpDown(
        2, config.inflation, theta3_weight=config.theta3_weight, weight=config.other_weight
    )
    flow = DynamicParticles(
        field,
        config.particles,
        init=ParticleInit(x=normal(0.5), v=normal(0.5), p=normal(0.5)),
        seeds=config.seeds,
        lift=config.lift,
        solver=Solver(method="rk4", step=0.1),
    )
    return Classifier(flow, config.seeds)


def train(config: CirclesConfig, checkpoint: Checkpoint | None = None) -> Outcome:
    """Train one ensemble and measure it.

    Args:
        config: Settings.
        checkpoint: Where to resume from and save to.

    Returns:
        Metrics per run (accuracies, both successes, cross-entropy, R, complexity, length of the
        paths) and, for the first run, the flow and the decision in the plane.
    """
    task, model = CirclesTask(config), make_model(config)
    model.train()
    result = fit(
        model,
        task,
        FitConfig(config.epochs, config.learning_rate, schedule=Cosine(config.epochs)),
        checkpoint=checkpoint,
        label=f"circles {config.protocol} α={config.inflation} λ={config.classification:g}",
    )
    model.eval()
    metrics, arrays = measure(task, model)
    facts = {"parameters": float(model.flow.count + 3 * 2)}
    return Outcome(metrics, arrays, result, facts, route=model.flow.route(), config=config)


@torch.no_grad()
def measure(
    task: CirclesTask, model: Classifier
) -> tuple[dict[str, list[float]], dict[str, np.ndarray]]:
    """Accuracy on training and test points, cost of the flow, and what the figure draws."""
    right, entropy = assess(model, task.points, task.labels)
    tested, _ = assess(model, *circles(task.config.seeds, "test"))
    path = model.flow(task.points, DEPTHS)
    values = {
        "train_accuracy": right,
        "test_accuracy": tested,
        "fits": (right == 1).double(),
        "generalises": (tested > GENERALISES).double(),
        "cross_entropy": entropy,
        "penalty": model.flow.penalty(),
        "complexity": complexity(model.flow, DEPTHS)["squared"],
        "complexity_norm": complexity(model.flow, DEPTHS)["norm"],
        "path_length": (path[:, 1:] - path[:, :-1]).norm(dim=-1).sum(1).mean(-1),
    }
    inner, outer = DRAWN
    shown = torch.cat([path[:1, :, :inner], path[:1, :, COUNTS[0] : COUNTS[0] + outer]], dim=2)
    arrays = {"flow": shown, "decision": model(window())[:1]}
    return as_metrics(values), as_arrays(arrays)


def assess(model: Classifier, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Share of points on the right side and mean cross-entropy, per run; in evaluation mode.

    Raises:
        ValueError: If the model is in training mode, where points are judged by their batch.
    """
    require_evaluation(model)
    logits = model(points)
    right = ((logits > 0) == (labels > 0.5)).double().mean(1)
    entropy = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1)
    return right, entropy


def window(count: int = 41) -> Tensor:
    """Grid points of the square [-2, 2]^2, rows from below, ``(count * count, 2)``."""
    axis = torch.linspace(-EDGE, EDGE, count)
    second, first = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([first.flatten(), second.flatten()], dim=-1)


def wilson(successes: int, runs: int) -> tuple[float, float]:
    """Wilson's 95 % interval for a success rate.

    Args:
        successes: Number of successes.
        runs: Number of runs, at least 1.

    Returns:
        Lower and upper end, in [0, 1].

    Raises:
        ValueError: If the successes are not between 0 and the runs.
    """
    from scipy.stats import binomtest  # an extra, as elsewhere in the study

    if not 0 <= successes <= runs or runs < 1:
        raise ValueError(f"expected 0 to {runs} successes in at least 1 run, got {successes}")
    found = binomtest(successes, runs).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def grid(profile: str) -> Sequence[CirclesConfig]:
    """All ensembles of a profile.

    `quick`: alpha in {5, 20} at three classification weights, 5 runs. `paper`: alpha in
    {5, 10, 20}, 50 runs, the protocol `paper` at every weight of `WEIGHTS`, and `released`.
    """
    if check_profile(profile) == "quick":
        return [
            CirclesConfig.paper(inflation=a, classification=w, seeds=tuple(range(5)))
            for a in (5, 20)
            for w in (10.0, 1.0, 0.1)
        ]
    swept = [CirclesConfig.paper(inflation=a, classification=w) for w in WEIGHTS for a in FACTORS]
    return [*swept, *(CirclesConfig.released(inflation=a) for a in FACTORS)]


CIRCLES = Experiment("circles", CirclesConfig, grid, train)
