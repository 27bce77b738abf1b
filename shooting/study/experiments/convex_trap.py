"""Why runs of the regression get stuck: at the best convex function. What frees them?

Setting: quadratic-like function, dynamic with particles, alpha = 16, K = 15, seeds 0-49, 500 epochs
as published; one change at a time. Written down before any of these runs, with the recorded runs of
the regression and a smaller second look (thirty seeds, 250 epochs) known:

*Criteria.* A run is stuck if its test MSE exceeds `STUCK` times that of the best convex function
(`shooting.study.experiments.convexity`). Among the recorded runs of the regression these are the
same as by half of the best constant's or line's error, the older criterion. A run is convex by
`is_convex` on its curve at 101 points.

*Hypotheses.* (1) At least nine of ten stuck runs are convex and within 15 % of the best convex
function's MSE; no other run is convex. (2) The cause is the sign of theta1 = sum p_x sigma(v)^T
with sigma >= 0. Without negative entries in theta1, theta2 and theta3 the learned function is
convex, whatever the lift: such a field is convex and cooperative. The target's mean is positive, so
that tens of steps drive every p_x(0) up; negative entries of theta1 can then arise on the way only,
since dp_x/dt = -theta2^T p_v, which static particles lack. So in nine of ten convex runs the
negative part is below 1 % of theta1 over depth, in nine of ten free ones above 5 %, and there
setting it to zero (of the trained control, nothing retrained) takes away 95 % of the bend, while
the same for theta2 or theta3 does not. Ten published runs had been looked at in this way, over 110
epochs, when this was written. All p_x positive at the start should mean more stuck runs than as
published, all negative fewer, and so should a target lowered to the opposite mean. (3) The start
counts, not the steps: p(0) 15 times as large with published steps leaves fewer stuck, steps of p 15
times as large from the published start do not. (4) The lift moves early, and into the convex basin:
frozen for the first 50 epochs with the positions, it leaves few stuck (at most 5 of 50), and so at
other alpha and on other targets that are trapped; not on static particles, which cannot turn signs.
(5) Time frees few: without plateau as many are stuck. Levels of new targets:
``book/convex_predictions.yaml``.

*Added after the first sixteen ensembles*, again before the runs: (6) static particles do fit, where
theta1 has negative entries from the start: with p_x of deviation 1 and all negative fewer than half
are stuck (as published all fifty), and fewer than as published with p(0) 15 times as large. (7) At
alpha = 128, where no published run is stuck, the cure does no harm: the interval of the difference
of median losses reaches zero or favours it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shooting.errors import require_choice
from shooting.fit import Checkpoint, FitConfig
from shooting.flow import carry
from shooting.parametrizations import Controlled, DynamicParticles, Parametrization, ParticleInit
from shooting.randomness import Sampler, normal, uniform
from shooting.study.data import authors_seeds
from shooting.study.data.functions import grid_points
from shooting.study.experiments import regression
from shooting.study.experiments.base import (
    Experiment,
    Outcome,
    as_arrays,
    as_metrics,
    check_profile,
)
from shooting.study.experiments.models import part_of
from shooting.study.experiments.regression import DEPTHS, TIMES, RegressionConfig, RegressionTask

STUCK = 0.5  # of the best convex function's MSE
SEEDS = tuple(range(50))
LIFT = ("lift_weight", "lift_bias")
SIGNS = ("drawn", "paired", "positive", "negative")
SOURCES = ("own", "authors-seeds")
BATCHES = ("own", "authors")
LOOKS = 50  # at the model during a training, evenly spread
TRACED = ("mse", "bend", "negative", "theta1_negative")
PARTS = ("theta1", "theta2", "theta3")
SLICES = tuple(k / 20 for k in range(21))  # of depth, where a control is changed by hand


@dataclass(frozen=True)
class TrapConfig(RegressionConfig):
    """A config of the regression with particles, and what may be changed beyond it.

    Attributes:
        frozen: Parts of the parameters that stay for the first `frozen_epochs` epochs.
        hidden_std: Deviation of the particles' v at t = 0.
        momentum_std: Deviation of the learned momenta at t = 0.
        first_factor: By how much the learned momenta p_x are larger than the others.
        signs: Of p_x at the start: as ``drawn``, ``paired`` (plus and minus the deviation in
            turn), all ``positive`` or all ``negative``.
        plateau: Whether the learning rate is halved on a plateau.
        source: ``own`` draws, or ``authors-seeds``: their initial states and data.
        batches: ``own``, or the ``authors``' first 100 batches of seed 0, in ten epochs.
        film: Whether the learned curves are kept during the training.
    """

    seeds: tuple[int, ...] = SEEDS
    frozen: tuple[str, ...] = ("x",)
    hidden_std: float = 0.5
    momentum_std: float = 0.1
    first_factor: float = 1.0
    signs: str = "drawn"
    plateau: bool = True
    source: str = "own"
    batches: str = "own"
    film: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice(self.signs, SIGNS, "a choice of signs")
        require_choice(self.source, SOURCES, "a source")
        require_choice(self.batches, BATCHES, "a choice of batches")
        if not self.particles:
            raise ValueError(
                f"expected a model with particles, got {self.model!r}; try 'dynamic_particles'"
            )
        if self.batches == "authors" and (self.source != "authors-seeds" or self.seeds != (0,)):
            raise ValueError(
                f"expected the authors' batches with source 'authors-seeds' and seed 0, got "
                f"{self.source!r} and {self.seeds}; no other run's are known"
            )


PUBLISHED = "as published"
CURE = "lift and positions frozen, 50 epochs"
BOTH = ("x", *LIFT)
INTERVENTIONS: dict[str, dict[str, Any]] = {
    PUBLISHED: {},
    CURE: {"frozen": BOTH},
    "lift and positions frozen, 10 epochs": {"frozen": BOTH, "frozen_epochs": 10},
    "lift alone frozen, 50 epochs": {"frozen": LIFT},
    "nothing frozen": {"frozen": ()},
    "positions and v frozen": {"frozen": ("x", "v")},
    "positions, v and lift frozen": {"frozen": ("x", "v", *LIFT)},
    "p(0) × 15, published steps": {"momentum_std": 1.5},
    "steps of p × 15, published start": {"momentum": "sum", "momentum_std": 0.1 / 15},
    "both × 15: the literal sum": {"momentum": "sum"},
    "learning rate 0.03": {"learning_rate": 0.03},
    "learning rate 0.003": {"learning_rate": 0.003},
    "v of deviation 1": {"hidden_std": 1.0},
    "momenta of deviation 0.5": {"momentum_std": 0.5},
    "pₓ of deviation 1": {"first_factor": 10.0},
    "pₓ = ±1, paired": {"first_factor": 10.0, "signs": "paired"},
    "pₓ of deviation 1, all positive": {"first_factor": 10.0, "signs": "positive"},
    "pₓ of deviation 1, all negative": {"first_factor": 10.0, "signs": "negative"},
    "target centred": {"function": "quadratic-like, centred"},
    "target lowered": {"function": "quadratic-like, lowered"},
    "no plateau": {"plateau": False},
    "no plateau, 1500 epochs": {"plateau": False, "epochs": 1500, "seeds": tuple(range(20))},
    "batches of 10, as many steps": {"batch": 10, "epochs": 100, "frozen_epochs": 10},
}
ELSEWHERE: dict[str, dict[str, Any]] = {  # where the cure is tried, beside the published setting
    "static particles": {"model": "static_particles"},
    "cubic": {"function": "cubic"},
    "α = 8": {"inflation": 8},
    "α = 32": {"inflation": 32},
    "off-centre bump": {"function": "off-centre bump"},
    "tilted double well": {"function": "tilted double well"},
    "authors' start": {"source": "authors-seeds"},
}
CONTROLS: dict[str, dict[str, Any]] = {  # published setting only
    "hyperbolic sine": {"function": "hyperbolic sine"},
    "cubic, raised": {"function": "cubic, raised"},
}
# seeds: one stuck to the end, one never, one until epoch 100 (in the records of the regression)
FILM = {"film": True, "seeds": (0, 3, 5)}
STEPS = {"source": "authors-seeds", "batches": "authors", "seeds": (0,), "epochs": 10}


def signed(config: TrapConfig) -> Sampler:
    """The sampler of the momenta: those of the regression, p_x scaled and given signs."""
    plain = normal(config.momentum_std)

    def draw(g: torch.Generator, shape: tuple[int, ...]) -> Tensor:
        p = plain(g, shape)
        first = config.first_factor * p[:, :1]
        if config.signs == "paired":
            turn = 1.0 - 2.0 * (torch.arange(len(p), dtype=p.dtype).unsqueeze(-1) % 2)
            first = config.first_factor * config.momentum_std * turn
        elif config.signs != "drawn":
            first = first.abs() * (1.0 if config.signs == "positive" else -1.0)
        return torch.cat([first, p[:, 1:]], dim=-1)

    return draw


def make_model(config: TrapConfig) -> DynamicParticles:
    """The model of a config, untrained, with buffers for what is noted during its training."""
    init = ParticleInit(x=uniform(1.5), v=normal(config.hidden_std), p=signed(config))
    model = regression.make_model(config, init=init)
    assert isinstance(model, DynamicParticles)
    if config.source == "authors-seeds":
        take(model, authors_seeds.starts(config.seeds).parts)
    looks, runs = len(marks(config)), len(config.seeds)
    # buffers, so that checkpoints hold them
    model.register_buffer("trace", torch.zeros(runs, looks, len(TRACED)))
    if config.film:
        model.register_buffer("film", torch.zeros(runs, looks, 101))
    return model


@torch.no_grad()
def take(model: Parametrization, parts: Mapping[str, np.ndarray]) -> None:
    """Set learned parameters of all runs, by name ``(runs, ...)``."""
    own = dict(model.named_parameters())
    for name, values in parts.items():
        own[part_of(name)].copy_(torch.from_numpy(values))


def marks(config: TrapConfig) -> range:
    """The epochs before which the model is looked at."""
    return range(0, config.epochs, max(1, config.epochs // LOOKS))


class TrapTask(RegressionTask):
    """The regression's task; looks at the model now and then, and may take the authors' data."""

    def __init__(self, config: TrapConfig, model: DynamicParticles) -> None:
        super().__init__(config)
        self.model, self.marks = model, marks(config)
        self.shown: list[Tensor] | None = None
        self.losses: list[Tensor] = []
        if config.source == "authors-seeds":
            theirs = authors_seeds.starts(config.seeds)
            self.train, self.watch = (
                torch.from_numpy(x).to(model.p) for x in (theirs.train, theirs.watch)
            )
        if config.batches == "authors":
            batches = torch.from_numpy(authors_seeds.first_steps().batches).to(model.p)
            self.shown = list(batches.unsqueeze(1))

    def batches(self, epoch: int) -> Iterator[Tensor]:
        """The regression's, or ten of the authors'; before some epochs the model is looked at."""
        if epoch in self.marks:
            self._look(self.marks.index(epoch))
        if self.shown is None:
            return super().batches(epoch)
        return iter(self.shown[10 * epoch : 10 * (epoch + 1)])

    def loss(self, model: Controlled, batch: Tensor) -> Tensor:
        """The regression's loss; those of the authors' batches are kept."""
        found = super().loss(model, batch)
        if self.shown is not None and batch is not self.watch:
            self.losses.append(found.detach())
        return found

    @torch.no_grad()
    def _look(self, place: int) -> None:
        x = grid_points(101)
        curve = self.model(x, TIMES)[:, -1, :, 0]
        buffers = dict(self.model.named_buffers())
        buffers["trace"][:, place] = torch.stack(
            [
                ((curve - self.target(x)[:, 0]) ** 2).mean(-1),
                least_bend(curve),
                *signs(self.model).values(),
            ],
            dim=-1,
        )
        if "film" in buffers:
            buffers["film"][:, place] = curve


@torch.no_grad()
def signs(model: DynamicParticles) -> dict[str, Tensor]:
    """How negative theta1 is, per run.

    Returns:
        ``negative``: particles with p_x < 0 at t = 0; ``theta1_negative``: the share of its
        negative entries in theta1, absolute values summed over all entries and depths.
    """
    theta1 = model.theta(DEPTHS)["theta1"].flatten(1)
    return {
        "negative": (model.p[..., 0] < 0).sum(-1).to(theta1),
        "theta1_negative": theta1.clamp(max=0.0).abs().sum(-1) / theta1.abs().sum(-1),
    }


@torch.no_grad()
def bends(model: DynamicParticles) -> dict[str, Tensor]:
    """The least second difference of the learned curve, also with parts of the control clamped.

    Returns:
        ``bend`` of the model, ``bend/none`` of its control held constant on twenty slices of depth,
        and ``bend/theta1`` (and so on) with the negative entries of one part set to zero there;
        each per run.
    """
    x = grid_points(101)
    theta = model.theta(SLICES)
    slices = {k: (v[:, 1:] + v[:, :-1]) / 2 for k, v in theta.items()}
    start = model.lift(x.expand(model.runs, *x.shape))
    found = {"bend": least_bend(model(x, TIMES)[:, -1, :, 0])}
    for part in ("none", *PARTS):
        changed = {k: v.clamp(min=0.0) if k == part else v for k, v in slices.items()}
        path = carry(model.field, changed, start, TIMES, solver=model.solver)
        found[f"bend/{part}"] = least_bend(path[:, -1, :, 0])
    return found


def least_bend(curves: Tensor) -> Tensor:
    """The least second difference of curves ``(runs, n)``, in double precision, per run."""
    return curves.double().diff(n=2).amin(-1).to(curves)


def fit_settings(config: TrapConfig) -> FitConfig:
    """How Appendix E trains, with the config's frozen parts, and with or without plateau."""
    known = regression.fit_settings(config)
    freeze = dict.fromkeys(map(part_of, config.frozen), config.frozen_epochs)
    return replace(known, freeze=freeze, schedule=known.schedule if config.plateau else None)


def train(config: TrapConfig, checkpoint: Checkpoint | None = None) -> Outcome:
    """Train one ensemble and measure it.

    Args:
        config: Settings.
        checkpoint: Where to resume from and save to; not used for the authors' first steps.

    Returns:
        The regression's metrics, `signs` and `bends`; of the arrays the fits, the ``trace`` of
        `TRACED`, ``(runs, looks, 4)``, and the film. For the authors' batches also the relative
        differences from their losses ``gaps`` ``(1, 100)``, the largest, and that of the last
        parameters.
    """
    model = make_model(config)
    task = TrapTask(config, model)
    outcome = regression.train(
        config,
        checkpoint if task.shown is None else None,
        model=model,
        task=task,
        settings=fit_settings(config),
    )
    metrics = {**outcome.metrics, **as_metrics(signs(model)), **as_metrics(bends(model))}
    buffers = dict(model.named_buffers())
    kept = as_arrays({k: buffers[k] for k in ("trace", "film") if k in buffers})
    arrays = {"fit": outcome.arrays["fit"], **kept}
    if task.shown is not None:
        gaps, last = compare_steps(model, task.losses)
        metrics |= {"gap": [float(gaps.max())], "parameter_gap": [last]}
        arrays["gaps"] = gaps[None].astype(np.float32)
    return replace(outcome, metrics=metrics, arrays=arrays)


def compare_steps(model: DynamicParticles, losses: Sequence[Tensor]) -> tuple[np.ndarray, float]:
    """How far 100 steps are from the authors'.

    Args:
        model: After the steps, one run.
        losses: One per step, each ``(1,)``.

    Returns:
        Relative difference of each loss ``(steps,)``, and the largest difference of a learned
        number over the largest number of its part.
    """
    theirs, own = authors_seeds.first_steps(), dict(model.named_parameters())
    ours = torch.cat(list(losses)).double().numpy()
    gaps = np.abs(ours / theirs.losses[: len(ours)] - 1)
    ends = ((own[part_of(k)][0].detach().numpy(), v) for k, v in theirs.end.items())
    last = max(float(np.abs(mine - v).max() / np.abs(v).max()) for mine, v in ends)
    return gaps, last


def published(changes: Mapping[str, Any]) -> TrapConfig:
    """A setting, trained as published."""
    return TrapConfig(**changes)


def cured(changes: Mapping[str, Any]) -> TrapConfig:
    """A setting, trained with lift and positions frozen for the first 50 epochs."""
    return TrapConfig(**{**INTERVENTIONS[CURE], **changes})


def afterwards() -> dict[str, TrapConfig]:
    """Settings that the first results suggested."""
    static = {"model": "static_particles"}
    return {
        "static particles, pₓ of deviation 1, all negative": published(
            {**static, "first_factor": 10.0, "signs": "negative"}
        ),
        "static particles, p(0) × 15": published({**static, "momentum_std": 1.5}),
        "α = 128, cured": cured({"inflation": 128}),
    }


def grid(profile: str) -> Sequence[TrapConfig]:
    """All ensembles of a profile.

    `quick`: as published and cured, five seeds. `paper`: every intervention, the cure elsewhere
    beside the published setting, the controls, the authors' first steps, the filmed runs, and what
    the first results suggested.
    """
    if check_profile(profile) == "quick":
        few: dict[str, Any] = {"seeds": tuple(range(5))}
        return [TrapConfig(**few), cured(few)]
    return [
        *map(published, INTERVENTIONS.values()),
        *(make(c) for c in (*ELSEWHERE.values(), FILM) for make in (published, cured)),
        *map(published, [*CONTROLS.values(), STEPS]),
        *afterwards().values(),
    ]


CONVEX_TRAP = Experiment("convex_trap", TrapConfig, grid, train)
