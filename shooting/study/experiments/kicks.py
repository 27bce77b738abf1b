"""Kicks on the spiral: may the momenta jump where the loss is measured along the way?

A snippet is compared at four depths, so that the costates of the optimum jump at the three inner
ones, and a smooth ensemble cannot be optimal (the chapter on losses along the way). Here the
momenta may jump by what is learned. Setting: dynamic with particles, K = 15, both protocols,
alpha = 16 and 64, seeds 0-9, otherwise as the spiral. The rivals have as many numbers as the model
with kicks: smooth ensembles of more particles, and dynamic direct with 2, 4 or 5 blocks, each as
wide as that number allows. What should happen stands in ``book/kicks_predictions.yaml``.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor

from shooting import DynamicDirect, DynamicParticles, Solver, UpDown
from shooting.errors import require_choice, require_count
from shooting.fields import Control
from shooting.fit import Checkpoint
from shooting.parametrizations import Controlled
from shooting.solvers import TABLEAUS, State, make_grid, runge_kutta
from shooting.study.data.spiral import SPACING, snippets
from shooting.study.experiments import spiral
from shooting.study.experiments.base import Experiment, Outcome, check_profile
from shooting.study.experiments.spiral import DEPTH, SIMILARITY, TIMES, SpiralConfig, SpiralTask

INNER = TIMES[1:-1]  # where the loss is measured before the end
PARTICLES = 15
BLOCKS = (2, 4, 5)  # of the direct rivals: few and wide, one a segment, as published
FACTORS = (16, 64)
KINDS = ("dynamic_particles", "dynamic_direct")
SMOOTH, KICKED, MORE = "smooth", "kicked", "more particles"
DIRECT = "direct, {} blocks"


@dataclass(frozen=True)
class KicksConfig(SpiralConfig):
    """A config of the spiral, with kicks, or with another number of blocks.

    Attributes:
        kicked: Whether momenta jump at the inner samples of a snippet.
        blocks: Number of blocks of dynamic direct; ignored (and set to 0) with particles.
    """

    kicked: bool = False
    blocks: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice(self.model, KINDS, "a model")
        if self.particles:
            object.__setattr__(self, "blocks", 0)
        else:
            object.__setattr__(self, "kicked", False)
            require_count(self.blocks, "the blocks")


def make_model(config: KicksConfig) -> Controlled:
    """The model of a config, untrained; without kicks it begins as the spiral's."""
    plain = spiral.make_model(config)
    if not isinstance(plain, DynamicParticles):
        field = UpDown(2, config.inflation, theta3_weight=config.theta3_weight)
        solver = Solver(method="rk4", step=SPACING)
        return DynamicDirect(field, blocks=config.blocks, seeds=config.seeds, solver=solver)
    if not config.kicked:
        return plain
    kicked = DynamicParticles(
        plain.field,
        config.particles,
        momentum_scale=plain.momentum_scale,
        kicks=INNER,
        seeds=config.seeds,
        solver=plain.solver,
    )
    kicked.load_state_dict({**kicked.state_dict(), **plain.state_dict()})
    return kicked


def train(config: KicksConfig, checkpoint: Checkpoint | None = None) -> Outcome:
    """Train one ensemble and measure it as the spiral's.

    Args:
        config: Settings.
        checkpoint: Where to resume from and save to.

    Returns:
        What the spiral leaves, and for particles how far they are from a critical control.
    """

    def more(task: SpiralTask, model: Controlled) -> Mapping[str, Tensor]:
        if not isinstance(model, DynamicParticles):
            return {}
        return {"first_variation": first_variation(config, task, model)}

    return spiral.train(config, checkpoint, model=make_model(config), more=more)


@torch.enable_grad()
def first_variation(config: SpiralConfig, task: SpiralTask, model: DynamicParticles) -> Tensor:
    """Slope of the objective in controls that are constant on each segment, per run.

    The control that the particles make is moved by any constant on each of the four segments, and
    the objective of 1000 snippets is differentiated. At an optimum all these slopes vanish: what
    the penalty loses, the error wins.

    Args:
        config: Settings.
        task: Loss and weights.
        model: Particles, kicked or not.

    Returns:
        Norm of all slopes, relative to that of the slopes of the penalty alone, ``(runs,)``.
    """
    truth = snippets(config.seeds, 1000, "test")
    moved = {
        name: torch.zeros(model.runs, len(TIMES) - 1, *shape, requires_grad=True)
        for name, shape in model.field.shapes.items()
    }
    cost, path = _moved_solve(model, truth[:, 0], moved)
    cost = task.penalty_weight * cost / DEPTH
    error = SIMILARITY * spiral.data_error(path, truth, config.error)
    whole = torch.autograd.grad((cost + error).sum(), list(moved.values()), retain_graph=True)
    alone = torch.autograd.grad(cost.sum(), list(moved.values()))
    sizes = [torch.cat([g.flatten(1) for g in part], 1).norm(dim=1) for part in (whole, alone)]
    return (sizes[0] / sizes[1]).detach()


def _moved_solve(
    model: DynamicParticles, x: Tensor, moved: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """Integral of R ``(runs,)`` and positions ``(runs, times, n, d)`` under a moved control."""
    field, (q, p), z = model.field, model.start(), model.lift(x)
    state: State = (q.detach(), p.detach(), z.detach(), z.new_zeros(model.runs))
    path = [z]
    for k, gap in enumerate(pairwise(TIMES)):
        if k and model.kick_times:
            jump = model.momentum_scale * model.kicks[:, k - 1].detach()
            state = (state[0], state[1] + jump, *state[2:])

        def rates(t: float, y: State, k: int = k) -> State:
            theta = field.theta(y[0], y[1])
            now: Control = {name: theta[name] + part[:, k] for name, part in moved.items()}
            back = -field.pull_back(y[0], y[1], theta)
            return field.velocity(y[0], theta), back, field.velocity(y[2], now), field.penalty(now)

        state = runge_kutta(rates, state, make_grid(gap, step=SPACING), TABLEAUS["rk4"])[-1]
        path.append(state[2])
    return state[3], torch.stack(path, dim=1)[..., : x.shape[-1]]


def numbers(inflation: int, *, blocks: int = 0, particles: int = 0, kicks: int = 0) -> int:
    """How many numbers a model learns, its lift included.

    Args:
        inflation: alpha.
        blocks: Of dynamic direct, or none.
        particles: K, or none.
        kicks: Number of jumps.
    """
    width = 2 * inflation
    direct = blocks * _of_one_block(inflation) if blocks else 0
    return 3 * width + direct + (2 + kicks) * particles * (2 + width)


@functools.cache
def _of_one_block(inflation: int) -> int:
    return sum(a * b for a, b in UpDown(2, inflation).shapes.values())


def setting(name: str, protocol: str, inflation: int, **changes: Any) -> KicksConfig:
    """A setting by name; the rivals have the number of learned numbers next to that with kicks.

    Args:
        name: ``smooth``, ``kicked``, ``more particles``, or ``direct, 2 blocks`` and so on.
        protocol: ``paper`` or ``released``.
        inflation: alpha of the model with kicks.
        **changes: Of other fields.
    """
    base = _published(protocol, inflation=inflation, particles=PARTICLES)
    wanted = numbers(inflation, particles=PARTICLES, kicks=len(INNER))

    def nearest(counts: Mapping[int, int]) -> int:
        return min(counts, key=lambda size: (abs(counts[size] - wanted), -size))

    found = {SMOOTH: base, KICKED: replace(base, kicked=True)}
    found[MORE] = replace(
        base, particles=nearest({k: numbers(inflation, particles=k) for k in range(1, 100)})
    )
    for blocks in BLOCKS:
        width = nearest({a: numbers(a, blocks=blocks) for a in range(1, 100)})
        found[DIRECT.format(blocks)] = _published(
            protocol, model="dynamic_direct", inflation=width, blocks=blocks
        )
    require_choice(name, found, "a setting")
    return replace(found[name], **changes)


def _published(protocol: str, **changes: Any) -> KicksConfig:
    make = KicksConfig.paper if protocol == "paper" else KicksConfig.released
    return cast(KicksConfig, make(**changes))


def names() -> list[str]:
    """Names of all settings."""
    return [SMOOTH, KICKED, MORE, *map(DIRECT.format, BLOCKS)]


def grid(profile: str) -> Sequence[KicksConfig]:
    """All ensembles of a profile.

    `quick`: without and with kicks and one direct rival, alpha = 16, protocol `paper`, 3 seeds.
    """
    if check_profile(profile) == "quick":
        some = (DIRECT.format(2), SMOOTH, KICKED)
        return [setting(name, "paper", FACTORS[0], seeds=(0, 1, 2)) for name in some]
    return [setting(n, p, a) for a in FACTORS for p in spiral.PROTOCOLS for n in names()]


KICKS = Experiment("kicks", KicksConfig, grid, train)
