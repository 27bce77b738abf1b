"""A task for tests of training: fit x^2 with small models, and a checkpoint in memory."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from problems import parts
from torch import Tensor

from shooting import DynamicDirect, DynamicParticles, Solver, StaticDirect, StaticParticles, UpDown
from shooting.fit import FitConfig
from shooting.optim import Plateau
from shooting.randomness import generator

SOLVER = Solver(step=0.4)  # H then moves by less than the hundredth of which `fit` warns
MODELS = {
    "static direct": StaticDirect,
    "dynamic direct": DynamicDirect,
    "static particles": lambda f, **more: StaticParticles(f, 3, **{"seed": 0, **more}),
    "dynamic particles": lambda f, **more: DynamicParticles(f, 3, **{"seed": 0, **more}),
}


@dataclass
class Square:
    """Fit y = x^2 on 20 points of each run, in two batches; the order belongs to the seed.

    Attributes:
        seeds: One per run, or None for a single run without axis.
        seed: Of a single run.
        poison: (step, run) pairs from which on the loss of the run is NaN.
        seen: The model's parameters before every step.
    """

    seeds: tuple[int, ...] | None
    seed: int = 0
    poison: dict[int, int] = field(default_factory=dict)
    through_gradient: bool = False
    step: int = 0
    seen: list[dict[str, Tensor]] = field(default_factory=list)

    def _draw(self, *purpose) -> Tensor:
        seeds = (self.seed,) if self.seeds is None else self.seeds
        x = [2 * torch.rand(20, 1, generator=generator(s, *purpose)) - 1 for s in seeds]
        return x[0] if self.seeds is None else torch.stack(x)

    def batches(self, epoch):
        yield from self._draw("batch", epoch).split(10, dim=-2)

    def error(self, model, x):
        return ((model(x, [0.0, 1.0])[..., -1, :, :] - x**2) ** 2).mean((-1, -2))

    def loss(self, model, batch):
        self.seen.append(parts(model))
        loss = 100 * self.error(model, batch) + model.penalty()
        for run, first in self.poison.items():
            if self.step >= first:
                bad = torch.zeros(loss.shape)
                bad[run] = 1.0
                if self.through_gradient:  # the square root of 0 is fine, its slope is not
                    loss = loss + bad * torch.sqrt(0 * next(model.parameters())[run].sum())
                else:
                    loss = loss + torch.where(bad > 0, float("nan"), 0.0)
        self.step += 1
        return loss

    def monitor(self, model):
        return self.error(model, self._draw("watch"))


class Memory:
    """A checkpoint in memory: a deep copy of every state it is given."""

    def __init__(self, state=None, *, due=True):
        self.state, self.states, self._due = state, [], due

    def load(self):
        return self.state

    def save(self, state):
        self.states.append(copy.deepcopy(state))

    def due(self):
        return self._due


def build(kind="dynamic particles", **more):
    return MODELS[kind](UpDown(1, 4, sigma=more.pop("sigma", "relu")), solver=SOLVER, **more)


def settings(epochs, **more):
    more = {"learning_rate": 0.02, "schedule": Plateau(patience=1, every=2)} | more
    return FitConfig(epochs, **more)
