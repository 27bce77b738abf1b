"""Long range from snippets: which model follows an orbit for longest when it has seen pieces of it?

Six systems (`shooting.study.data.systems`), seven models: the paper's four, a neural ODE, the same
augmented with two zeros, and ridge regression on polynomials of degree 3. Each has about 1,100
numbers, except the ridge. Ten seeds, and a further ten in records of their own; each trains on its
own twenty snippets of five samples, in which a snippet's length is the depth 1, and is then pasted
along the true orbit, from its start to the horizon.

*Tuning*, the same for all: five learning rates (five penalties for the ridge), one short run each
with four other seeds on Lotka-Volterra, judged by the median error on validation snippets. The best
is used on all systems.

*Criteria*, set before the runs. The size of an orbit is the root of its mean squared distance from
its centre. A prediction follows for as long as its distance from the truth at the same time is
below half the size. What was predicted is in ``book/long_range_predictions.yaml``, committed before
the first record.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from shooting import UpDown
from shooting.activations import activation
from shooting.errors import require_choice, require_count
from shooting.fit import Checkpoint, FitConfig, FitResult
from shooting.flow import Solver
from shooting.lift import LIFTS
from shooting.optim import Cosine
from shooting.parametrizations import DynamicDirect, Parametrization, ParticleInit
from shooting.paste import paste
from shooting.study.data.systems import SAMPLES, SYSTEMS, cut, orbit, snippets, system
from shooting.study.experiments.base import (
    Experiment,
    Measured,
    Outcome,
    as_arrays,
    as_metrics,
    check_profile,
    train_and_measure,
)
from shooting.study.experiments.baseline_models import NeuralODE
from shooting.study.experiments.models import MODELS, build_model
from shooting.study.experiments.polynomial import ridge

RIDGE = "ridge"
NAMES: dict[str, str] = {
    **MODELS,
    "node": "neural ODE",
    "augmented_node": "augmented neural ODE",
    RIDGE: "ridge on cubic polynomials",
}
SIMILARITY = 100.0  # weight of the data error, as on the paper's spiral
NEAR = 0.5  # of the orbit's size: a prediction follows for as long as it is nearer than this
FENCE = 10.0  # sizes: a prediction this far away, or blown up, has lost the orbit
AUGMENT = 2
EPOCHS, SHORT = 1000, 250  # of a training, and of a trial of the tuning
TRIALS = (100, 101, 102, 103)  # seeds of the tuning
FURTHER = tuple(range(10, 20))  # seeds of the second records, run after the first were judged
RATES = (0.003, 0.01, 0.03, 0.1, 0.3)
RIDGES = (1e-10, 1e-8, 1e-6, 1e-4, 1e-2)

# What the tuning has chosen; a test compares it with the records.
CHOSEN: dict[str, float] = {
    "static_direct": 0.1,
    "static_particles": 0.1,
    "dynamic_particles": 0.1,
    "dynamic_direct": 0.03,
    "node": 0.01,
    "augmented_node": 0.03,
    RIDGE: 1e-8,
}

# Inflation factor alpha, hidden width, or degree; and blocks of dynamic direct: about 1,100 numbers
SIZES: dict[int, dict[str, int]] = {
    2: {"dynamic_particles": 16, "static_direct": 15, "dynamic_direct": 6, "node": 30,
        "augmented_node": 29},
    3: {"dynamic_particles": 10, "static_direct": 9, "dynamic_direct": 5, "node": 29,
        "augmented_node": 28},
    4: {"dynamic_particles": 7, "static_direct": 7, "dynamic_direct": 3, "node": 28,
        "augmented_node": 27},
}  # fmt: skip
BLOCKS = {2: 5, 3: 3, 4: 4}


@dataclass(frozen=True)
class LongRangeConfig:
    """Settings of one ensemble.

    Attributes:
        system: Key of `SYSTEMS`.
        model: Key of `NAMES`.
        size: Inflation factor alpha, hidden width (neural ODEs), or degree (ridge).
        particles: K; set to 0 where there are none.
        blocks: Of dynamic direct; set to 0 elsewhere.
        seeds: One per run.
        epochs: Steps of Adam on all snippets; set to 0 for the ridge.
        learning_rate: Of Adam, along a cosine to 0; set to 0 for the ridge.
        count: Snippets per run.
        samples: Samples per snippet.
        noise: Standard deviation of noise, in scaled coordinates.
        lift: ``learned``, ``fixed`` or ``zero``.
        penalty: Weight of R; 0 for the neural ODEs; of the squared coefficients for the ridge.
    """

    system: str = "lotka_volterra"
    model: str = "dynamic_particles"
    size: int = 16
    particles: int = 15
    blocks: int = 5
    seeds: tuple[int, ...] = tuple(range(10))
    epochs: int = EPOCHS
    learning_rate: float = 0.01
    count: int = 20
    samples: int = 5
    noise: float = 0.0
    lift: str = "learned"
    penalty: float = 0.01

    def __post_init__(self) -> None:
        require_choice(self.system, SYSTEMS, "a system")
        require_choice(self.model, NAMES, "a model")
        require_choice(self.lift, LIFTS, "a lift")
        require_count(self.count, "the number of snippets")
        require_count(self.samples, "the samples of a snippet", least=2)
        if (SAMPLES - 1) % (self.samples - 1):
            raise ValueError(
                f"expected snippets whose intervals divide {SAMPLES - 1}, got {self.samples} "
                "samples; try 5"
            )
        # else one run would have many identities
        if not self.model.endswith("particles"):
            object.__setattr__(self, "particles", 0)
        if self.model != "dynamic_direct":
            object.__setattr__(self, "blocks", 0)
        if self.model == RIDGE:
            object.__setattr__(self, "epochs", 0)
            object.__setattr__(self, "learning_rate", 0.0)

    @property
    def times(self) -> tuple[float, ...]:
        """Depths of a snippet's samples, from 0 to 1."""
        return tuple(k / (self.samples - 1) for k in range(self.samples))


def setting(name: str, model: str, **changes: Any) -> LongRangeConfig:
    """The config of a system and a model, at about 1,100 numbers and with the tuned rate."""
    dim = system(name).dim
    size = 3 if model == RIDGE else SIZES[dim].get(model, SIZES[dim]["dynamic_particles"])
    own: dict[str, Any] = {"size": size, "blocks": BLOCKS[dim]}
    if model in ("node", "augmented_node"):
        own["penalty"] = 0.0
    if model in CHOSEN:
        own["penalty" if model == RIDGE else "learning_rate"] = CHOSEN[model]
    return LongRangeConfig(name, model, **own | changes)


def trials(model: str) -> list[LongRangeConfig]:
    """The five trials of the tuning of a model."""
    what, values = ("penalty", RIDGES) if model == RIDGE else ("learning_rate", RATES)
    common = {"seeds": TRIALS, "epochs": SHORT}
    return [setting("lotka_volterra", model, **common, **{what: v}) for v in values]


class LongRangeTask:
    """All snippets in every epoch; loss 100 error + the weighted penalty."""

    def __init__(self, config: LongRangeConfig) -> None:
        self.config = config
        self.train = self.drawn(config.count, "train", noise=config.noise)

    def drawn(self, count: int, purpose: str, *, noise: float = 0.0) -> Tensor:
        """Snippets ``(runs, samples, count, d)``."""
        config = self.config
        return snippets(
            config.system, config.seeds, count, purpose, samples=config.samples, noise=noise
        )

    def batches(self, epoch: int) -> Iterator[Tensor]:
        """The only batch."""
        yield self.train

    def error(self, model: nn.Module, truth: Tensor) -> Tensor:
        """Mean squared error on snippets, each predicted from its first sample; per run."""
        miss = model(truth[..., 0, :, :], self.config.times) - truth
        return (miss**2).flatten(1).mean(-1)

    def loss(self, model: Parametrization, batch: Tensor) -> Tensor:
        """100 error + the weighted penalty, per run."""
        loss = SIMILARITY * self.error(model, batch)
        return loss + self.config.penalty * model.penalty() if self.config.penalty else loss

    def monitor(self, model: Parametrization) -> Tensor:
        """The loss; no schedule asks for it."""
        return self.loss(model, self.train)


def make_model(config: LongRangeConfig) -> Parametrization:
    """The model of a config, untrained; the ridge has none before its fit."""
    dim, solver = system(config.system).dim, Solver(method="rk4", step=config.times[1])
    if config.model in ("node", "augmented_node"):
        zeros = AUGMENT if config.model == "augmented_node" else 0
        node = NeuralODE(dim, config.size, augment=zeros, seeds=config.seeds, solver=solver)
        node.sigma = activation("tanh")  # as smooth as the other models
        return node
    field = UpDown(dim, config.size, sigma="tanh")
    if config.model == "dynamic_direct":
        return DynamicDirect(
            field, blocks=config.blocks, seeds=config.seeds, lift=config.lift, solver=solver
        )
    return build_model(
        config.model,
        field,
        particles=config.particles,
        init=ParticleInit(),
        momentum_scale=None,
        seeds=config.seeds,
        lift=config.lift,
        solver=solver,
    )


def train(config: LongRangeConfig, checkpoint: Checkpoint | None = None) -> Outcome:
    """Train one ensemble and follow the true orbit.

    Args:
        config: Settings.
        checkpoint: Where to resume from and save to.

    Returns:
        Metrics per run (see `measure`) and the path of the run with the median followed time.
    """
    task = LongRangeTask(config)
    if config.model == RIDGE:
        return _closed_form(config, task)
    model = make_model(config)
    settings = FitConfig(
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        schedule=Cosine(config.epochs),
    )
    return train_and_measure(
        config,
        model,
        task,
        settings,
        lambda: measure(task, model),
        checkpoint=checkpoint,
        label=f"long range {config.system} {config.model}",
    )


@torch.no_grad()
def _closed_form(config: LongRangeConfig, task: LongRangeTask) -> Outcome:
    """The ridge: its history is the one error that it leaves."""
    model = ridge(task.train, config.times, degree=config.size, penalty=config.penalty)
    values, drawn = measure(task, model)
    left = SIMILARITY * task.error(model, task.train).unsqueeze(0)
    return Outcome(
        as_metrics(values),
        as_arrays(drawn),
        FitResult(left, left, torch.full((len(config.seeds),), -1)),
        facts={"parameters": model.count},
        route="closed form",
        config=config,
    )


def measure(task: LongRangeTask, model: nn.Module) -> Measured:
    """Final numbers per run, and the path of the run with the median followed time.

    ``snippet`` and ``validation`` are root mean squared errors on all snippets of the true orbit,
    and on a hundred about it; of the long path ``followed`` is a time, ``long`` the root mean
    squared distance and ``orbit`` the distance of the two sets, both in sizes, ``phase`` the
    difference in turns at the end, ``reached`` the part that was not blown up.
    """
    config = task.config
    truth = orbit(config.system)
    windows = cut(truth, config.samples)
    times, horizon = config.times, (SAMPLES - 1) / (config.samples - 1)
    long = paste(model, truth[:1], horizon, times=times)
    path = long.positions[..., 0, :]
    values = {
        "snippet": task.error(model, windows).sqrt(),
        "validation": task.error(model, task.drawn(100, "validation")).sqrt(),
        "followed": followed(config.system, path),
        "long": (distance(path, truth) ** 2).mean(-1).sqrt(),
        "orbit": orbit_distance(path, truth),
        "reached": long.reached[..., 0] / SAMPLES,
    }
    # a snippet may blow up as well; metrics have to be finite, else the run counts as failed
    values = {k: v.nan_to_num(FENCE).clamp(max=math.inf if k == "followed" else FENCE)
              for k, v in values.items()}  # fmt: skip
    if system(config.system).turns:
        values["phase"] = (turns(path) - turns(truth)).abs()
    middle = values["followed"].argsort()[(len(config.seeds) - 1) // 2]
    return values, {"path": path[middle].unsqueeze(0)}


def distance(path: Tensor, truth: Tensor) -> Tensor:
    """Distance at the same time, in sizes of the orbit, at most `FENCE`; ``(runs, samples)``."""
    gap = (path - truth).norm(dim=-1) / math.sqrt(truth.shape[-1])  # deviations are 1
    return gap.nan_to_num(FENCE, FENCE).clamp(max=FENCE)


def followed(name: str, path: Tensor) -> Tensor:
    """Time until which paths ``(runs, samples, d)`` stay near the orbit, in the system's unit."""
    near = distance(path, orbit(name)) <= NEAR
    return (near.cumprod(-1).sum(-1) - 1) * system(name).spacing


def orbit_distance(path: Tensor, truth: Tensor) -> Tensor:
    """Symmetric distance of two curves: mean of both mean distances to the other; per run."""
    far = FENCE * math.sqrt(truth.shape[-1])
    gap = torch.cdist(path.nan_to_num(1e3), truth.expand(len(path), *truth.shape)).clamp(max=far)
    both = (gap.min(-1).values.mean(-1) + gap.min(-2).values.mean(-1)) / 2
    return both / math.sqrt(truth.shape[-1])


def turns(path: Tensor) -> Tensor:
    """By how many turns the first two coordinates go around the centre; a stopped path rests."""
    angle = torch.atan2(path[..., 1], path[..., 0])
    step = (angle[..., 1:] - angle[..., :-1]).nan_to_num(0.0)
    step = torch.remainder(step + math.pi, 2 * math.pi) - math.pi
    return step.sum(-1) / (2 * math.pi)


VARIED: dict[str, dict[str, Any]] = {
    "noise 0.05": {"noise": 0.05},
    "three samples": {"samples": 3},
    "nine samples": {"samples": 9},
}
SWITCHES: dict[str, dict[str, Any]] = {
    "lift fixed": {"lift": "fixed"},
    "lift zero": {"lift": "zero"},
    "no penalty": {"penalty": 0.0},
    "K = 5": {"particles": 5},
    "K = 45": {"particles": 45},
}


def switched(changes: dict[str, Any]) -> LongRangeConfig:
    """Dynamic particles on Lotka-Volterra with one change."""
    return replace(setting("lotka_volterra", "dynamic_particles"), **changes)


def grid(profile: str) -> Sequence[LongRangeConfig]:
    """All ensembles of a profile.

    `quick`: Lotka-Volterra, three models, three seeds, fewer epochs. `paper`: the tuning, all
    systems and models, Lotka-Volterra with other snippets, and one switch at a time; the last three
    twice, for twenty seeds.
    """
    if check_profile(profile) == "quick":
        return [
            setting("lotka_volterra", m, seeds=(0, 1, 2), epochs=300)
            for m in ("dynamic_particles", "node", RIDGE)
        ]
    tuning = [c for m in NAMES for c in trials(m)]
    found = [
        *(setting(s, m) for s in SYSTEMS for m in NAMES),
        *(switched(c) for c in SWITCHES.values()),
        *(setting("lotka_volterra", m, **c) for c in VARIED.values() for m in NAMES),
    ]
    return list(dict.fromkeys([*tuning, *found, *(replace(c, seeds=FURTHER) for c in found)]))


LONG_RANGE = Experiment("long_range", LongRangeConfig, grid, train)
