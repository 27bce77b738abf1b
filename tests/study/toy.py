"""A tiny experiment for tests, and the command line with it: ``python toy.py run …``.

TOY_LOG names a file that gets a line per epoch; TOY_KILL kills the process in that step.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from shooting.fit import FitConfig, fit
from shooting.optim import Plateau
from shooting.randomness import generator
from shooting.study import records
from shooting.study.cli import main
from shooting.study.experiments import EXPERIMENTS, Experiment, Outcome

STEPS = 4  # per epoch


@dataclass(frozen=True)
class ToyConfig:
    label: int = 0
    rate: float = 0.05
    seeds: tuple[int, ...] = (0, 1, 2)
    epochs: int = 20
    poison: int = -1  # seed of a run whose loss turns NaN in epoch 3


class ToyModel(nn.Module):
    def __init__(self, seeds):
        super().__init__()
        self.seeds = seeds
        start = [torch.randn(6, generator=generator(s, "init")) for s in seeds]
        self.flat = nn.Parameter(torch.stack(start))

    def forward(self, x):
        return (self.flat[:, :3].unsqueeze(1) * torch.tanh(x * self.flat[:, 3:].unsqueeze(1))).sum(
            -1
        )


class ToyTask:
    """Fits sin; batches depend on seed and epoch alone."""

    def __init__(self, config):
        self.config, self.epoch, self.steps = config, 0, 0

    def batches(self, epoch):
        self.epoch = epoch
        if log := os.environ.get("TOY_LOG"):
            with Path(log).open("a", encoding="utf-8") as file:
                file.write(f"{self.config.label} {epoch}\n")
        draws = [generator(s, "order", epoch) for s in self.config.seeds]
        return (
            torch.stack([4 * torch.rand(8, 1, generator=g) - 2 for g in draws])
            for _ in range(STEPS)
        )

    def loss(self, model, x):
        self.steps += 1
        if self.steps == int(os.environ.get("TOY_KILL", "0")):
            os.kill(os.getpid(), signal.SIGKILL)
        loss = ((model(x) - torch.sin(x[..., 0])) ** 2).mean(-1)
        bad = torch.tensor([s == self.config.poison and self.epoch >= 3 for s in model.seeds])
        return loss * torch.where(bad, torch.nan, 1.0)

    def monitor(self, model):
        return self.loss(model, torch.linspace(-2, 2, 9).reshape(1, -1, 1))


def train(config, checkpoint=None):
    model, task = ToyModel(config.seeds), ToyTask(config)
    settings = FitConfig(
        epochs=config.epochs, learning_rate=config.rate, schedule=Plateau(patience=1, every=2)
    )
    result = fit(model, task, settings, checkpoint=checkpoint)
    with torch.no_grad():
        loss = task.monitor(model)
    arrays = {"parameters": model.flat.detach().numpy()}
    return Outcome({"loss": loss.tolist()}, arrays, result, {"parameters": 6})


def grid(profile):
    if profile == "quick":
        return [ToyConfig(label=i, epochs=6) for i in range(2)]
    return [ToyConfig(label=i) for i in range(6)]


TOY = Experiment("toy", ToyConfig, grid, train)


def kill_often(kills: list[int]) -> None:
    """Train ToyConfig in one child process after the other, the i-th killed in step kills[i]."""
    for step in [*kills, 0]:
        os.environ["TOY_KILL"] = str(step)
        if (child := os.fork()) == 0:
            records.compute(TOY, ToyConfig(epochs=60), seconds=0)
            os._exit(0)
        _, ended = os.waitpid(child, 0)
        print(step, os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else os.WEXITSTATUS(ended))


if __name__ == "__main__":
    EXPERIMENTS["toy"] = TOY
    torch.set_num_threads(1)
    if sys.argv[1] == "kill-often":
        kill_often([int(step) for step in sys.argv[2:]])
    else:
        sys.exit(main())
