"""Bouncing balls: three frames in, the next ten out (Section 4, Fig. 5)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shooting import UpDown
from shooting.errors import require_choice
from shooting.fit import Checkpoint, FitConfig, count_parameters, fit
from shooting.flow import Solver
from shooting.optim import Cosine
from shooting.parametrizations import ParticleInit
from shooting.randomness import generator, normal
from shooting.study.data.bouncing_balls import FRAMES, SPLITS, sequences
from shooting.study.data.pixels import to_bytes
from shooting.study.experiments.autoencoder import PRECISIONS, Autoencoder
from shooting.study.experiments.base import (
    Experiment,
    MetricsAndArrays,
    Outcome,
    check_profile,
    require_evaluation,
    require_one_seed,
)
from shooting.study.experiments.models import build_model, check_model
from shooting.study.experiments.settings import check_kinds, later

TIMES = tuple(k / 10 for k in range(FRAMES))
SEEN = 3  # frames that the encoder is given
PREDICTED = slice(SEEN, SEEN + 10)  # frames whose error is the result
COMPARED = ("static_direct", "static_particles", "dynamic_particles")
PROTOCOLS = ("paper", "released", "short", "reduced", "quick")
KEPT = 4  # test sequences whose predictions are kept
CHUNK = 25  # sequences drawn at a time where nothing is learned


@dataclass(frozen=True)
class BallsConfig:
    """Settings of one run; the defaults are the protocol `paper` (Appendix E), all in float32.

    Attributes:
        protocol: ``paper``, ``released``, ``short``, ``reduced`` or ``quick``; names the settings
            below.
        model: ``static_direct``, ``static_particles`` or ``dynamic_particles``.
        latent: Dimension d of the latent space.
        inflation: alpha.
        particles: K; ignored (and set to 0) by the direct model.
        filters: Channels of the first layer of the encoder.
        seeds: One seed: networks of images are trained one at a time.
        sequences: Training sequences.
        validation: Validation sequences, which choose the epoch.
        test: Test sequences.
        epochs: Passes over the training sequences.
        batch: Sequences per step.
        frames: Frames in the loss, drawn anew for each sequence and batch; 20 is all.
        learning_rate: Of Adam, annealed to 0 along a cosine.
        penalty: Weight of R at t = 0.
        theta3_weight: Penalty weight of theta3.
        step: Step length of the fixed-step solver.
        precision: Of the convolutions while training; see `Autoencoder`.
    """

    protocol: str = "paper"
    model: str = "dynamic_particles"
    latent: int = 50
    inflation: int = 20
    particles: int = 100
    filters: int = 16
    seeds: tuple[int, ...] = (0,)
    sequences: int = SPLITS["train"]
    validation: int = SPLITS["validation"]
    test: int = SPLITS["test"]
    epochs: int = 100
    batch: int = 25
    frames: int = FRAMES
    learning_rate: float = 0.001
    penalty: float = 0.0001
    theta3_weight: float = 10.0
    step: float = 0.1
    precision: str = later("float32")

    def __post_init__(self) -> None:
        check_kinds(self)
        require_choice(self.protocol, PROTOCOLS, "a protocol")
        check_model(self, COMPARED)
        require_one_seed(self.seeds)
        require_choice(self.precision, PRECISIONS, "a precision")
        if not 2 <= self.batch <= self.sequences or not 1 <= self.frames <= FRAMES:
            raise ValueError(
                f"expected a batch of 2 to {self.sequences} and 1 to {FRAMES} frames, got "
                f"{self.batch} and {self.frames}; try 25 and 20"
            )

    @classmethod
    def paper(cls, **changes: Any) -> BallsConfig:
        """The protocol `paper` as it is run here: the convolutions in bfloat16, twice as fast."""
        return cls(**{"precision": "bfloat16", **changes})

    @classmethod
    def released(cls, **changes: Any) -> BallsConfig:
        """The authors' own run: 40 latent dimensions, theta3 weighted by 0.1; in bfloat16 too."""
        settings = {"protocol": "released", "latent": 40, "theta3_weight": 0.1}
        return cls.paper(**(settings | changes))

    @classmethod
    def short(cls, **changes: Any) -> BallsConfig:
        """The protocol `paper` in 10 epochs instead of 100, with the learning rate 0 at their end.

        Expected before the runs: the errors of the three models are within a tenth of each other,
        and each model's last validation error is below that of its run of 100 epochs after 10.
        """
        settings = {"protocol": "short", "epochs": 10}
        return cls.paper(**(settings | changes))

    @classmethod
    def reduced(cls, **changes: Any) -> BallsConfig:
        """What one core does in minutes: narrower, fewer sequences, fewer and smaller steps."""
        settings: dict[str, Any] = {
            "protocol": "reduced",
            "inflation": 5,
            "particles": 25,
            "filters": 8,
            "sequences": 2000,
            "validation": 100,
            "epochs": 16,
            "batch": 10,
            "frames": 4,
            "learning_rate": 0.003,
        }
        return cls(**(settings | changes))

    @classmethod
    def wide(cls, **changes: Any) -> BallsConfig:
        """The paper's width and sequences, a sixth of its epochs, a fifth of the frames a step."""
        width = ("inflation", "particles", "filters", "sequences", "validation", "batch")
        paper = {name: getattr(cls(), name) for name in width}
        return cls.reduced(**(paper | changes))

    @property
    def label(self) -> str:
        """Protocol and, where a run is smaller than published, the words that say so."""
        small = f" ({self.sequences} sequences, {self.epochs} epochs, alpha = {self.inflation})"
        sizes = ("sequences", "epochs", "inflation")
        full = all(getattr(self, name) == getattr(type(self), name) for name in sizes)
        return self.protocol + small * (not full)


class LatentFlow(nn.Module):
    """Encoder of three frames, UpDown flow in the latent space, decoder.

    Args:
        config: Settings.
    """

    def __init__(self, config: BallsConfig) -> None:
        super().__init__()
        seed = config.seeds[0]
        self.autoencoder = Autoencoder(
            config.latent,
            filters=config.filters,
            channels=SEEN,
            seed=seed,
            precision=config.precision,
        )
        self.flow = build_model(
            config.model,
            UpDown(config.latent, config.inflation, theta3_weight=config.theta3_weight),
            particles=config.particles,
            init=ParticleInit(x=normal(0.5), v=normal(0.5), p=normal(0.5)),
            momentum_scale=None,
            seeds=config.seeds,
            lift="learned",
            solver=Solver(method="rk4", step=config.step),
        )

    def latents(self, seen: Tensor) -> Tensor:
        """Latent paths ``(n, 20, d)`` from the codes of the first frames ``(n, 3, 28, 28)``."""
        return self.flow(self.autoencoder.encode(seen), TIMES)[0].transpose(0, 1)

    def forward(self, seen: Tensor) -> Tensor:
        """Predicted sequences ``(n, 20, 28, 28)`` of the first frames ``(n, 3, 28, 28)``."""
        return self.autoencoder.decode(self.latents(seen))


class Chosen(nn.Module):
    """A model that remembers its weights at the epoch with the least validation error.

    What it remembers are buffers, so that a resumed training chooses like one that never stopped.

    Args:
        model: The model that is trained.
        epochs: How many validation errors will come.
    """

    model: LatentFlow
    errors: Tensor
    epoch: Tensor
    best: Tensor

    def __init__(self, model: LatentFlow, epochs: int) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("errors", torch.full((epochs,), math.inf))
        self.register_buffer("epoch", torch.tensor(0))
        self.register_buffer("best", self._flat())

    def _numbers(self) -> list[Tensor]:
        """Parameters and running statistics."""
        return [t for t in self.model.state_dict().values() if t.is_floating_point()]

    def _flat(self) -> Tensor:
        return torch.cat([t.flatten() for t in self._numbers()]).clone()

    @torch.no_grad()
    def remember(self, error: Tensor) -> None:
        """Take note of the validation error of one more epoch; one that is no number never wins."""
        error = error.nan_to_num(math.inf, math.inf)
        if bool(error < self.errors.min()):
            self.best.copy_(self._flat())
        self.errors[int(self.epoch)] = error
        self.epoch += 1

    @torch.no_grad()
    def restore(self) -> None:
        """Go back to the weights of the best epoch."""
        numbers = self._numbers()
        for value, kept in zip(numbers, self.best.split([t.numel() for t in numbers]), strict=True):
            value.copy_(kept.view_as(value))


@dataclass(frozen=True)
class Batch:
    """What one step sees.

    Attributes:
        frames: Sequences ``(n, 20, 28, 28)`` in [0, 1].
        kept: Indices of the frames in the loss, ``(n, frames)``, increasing.
    """

    frames: Tensor
    kept: Tensor


class BallsTask:
    """Sequences of balls; loss: mean squared pixel error over frames of a sequence + weight R."""

    def __init__(self, config: BallsConfig) -> None:
        self.config = config
        self.train = torch.tensor(sequences("train", config.sequences))
        self.validation = torch.tensor(sequences("validation", config.validation))
        self.test = torch.tensor(sequences("test", config.test))

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Shuffled batches, an incomplete last one dropped; a function of seed and epoch alone."""
        g = generator(self.config.seeds[0], "balls", "batches", epoch)
        size, count = self.config.batch, len(self.train)
        order, kept = torch.randperm(count, generator=g), self._keep(g, count)
        for k in range(0, count - size + 1, size):
            yield Batch(to_unit(self.train[order[k : k + size]]), kept[k : k + size])

    def _keep(self, g: torch.Generator, count: int) -> Tensor:
        rank = torch.rand(count, FRAMES, generator=g, dtype=torch.float64)
        return rank.argsort(1)[:, : self.config.frames].sort(1).values

    def loss(self, chosen: Chosen, batch: Batch) -> Tensor:
        """The loss of a batch, with BatchNorm in training mode; a number."""
        model = chosen.train().model
        rows = torch.arange(len(batch.frames)).unsqueeze(1)
        latents = model.latents(batch.frames[:, :SEEN])[rows, batch.kept]
        miss = model.autoencoder.decode(latents) - batch.frames[rows, batch.kept]
        loss: Tensor = (miss**2).mean() + self.config.penalty * model.flow.penalty()
        return loss.sum()

    def monitor(self, chosen: Chosen) -> Tensor:
        """Validation error of the predicted frames; the model remembers it."""
        error = misses(chosen.eval().model, self.validation)[:, PREDICTED].mean()
        chosen.remember(error)
        return error


def to_unit(frames: Tensor) -> Tensor:
    """Bytes as numbers in [0, 1]."""
    return frames.to(torch.get_default_dtype()) / 255


@torch.no_grad()
def misses(model: LatentFlow, frames: Tensor) -> Tensor:
    """Squared error per pixel of every predicted frame.

    Args:
        model: In evaluation mode.
        frames: True sequences ``(n, 20, 28, 28)``, uint8.

    Returns:
        Errors ``(n, 20)``.

    Raises:
        ValueError: If the model is in training mode, where images are judged by their batch.
    """
    require_evaluation(model)
    parts = map(to_unit, frames.split(CHUNK))
    return torch.cat([((model(part[:, :SEEN]) - part) ** 2).mean((-1, -2)) for part in parts])


def train(config: BallsConfig, checkpoint: Checkpoint | None = None) -> Outcome:
    """Train one run, go back to its best epoch on the validation set, and measure it.

    Args:
        config: Settings.
        checkpoint: Where to resume from and save to.

    Returns:
        Test errors per frame, and predicted sequences.
    """
    task, chosen = BallsTask(config), Chosen(LatentFlow(config), config.epochs)
    result = fit(
        chosen,
        task,
        FitConfig(config.epochs, config.learning_rate, schedule=Cosine(config.epochs, every=1)),
        checkpoint=checkpoint,
        label=f"balls {config.model} {config.label}",
    )
    metrics, arrays = _measure_best(task, chosen)
    model = chosen.model
    facts = {"parameters": float(count_parameters(model)), "flow_parameters": model.flow.count}
    return Outcome(metrics, arrays, result, facts, route=model.flow.route(), config=config)


def so_far(config: BallsConfig, state: Mapping[str, Tensor]) -> MetricsAndArrays:
    """What `train` would measure if it ended with the epoch of a checkpoint.

    Args:
        config: Settings.
        state: Of the checkpoint.

    Returns:
        Metrics and arrays under the names of a record; its validation errors end with the epoch.
    """
    few = replace(config, sequences=config.batch, validation=1)  # nothing is learned from them
    task, chosen = BallsTask(few), Chosen(LatentFlow(config), config.epochs)
    own = {k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")}
    chosen.load_state_dict(own)
    metrics, arrays = _measure_best(task, chosen)
    return metrics, arrays | {"validation": arrays["validation"][:, : int(chosen.epoch)]}


def _measure_best(task: BallsTask, chosen: Chosen) -> MetricsAndArrays:
    """Go back to the best epoch on the validation set, and measure it on the test set."""
    chosen.restore()
    metrics, arrays = measure(task, chosen.eval().model)
    metrics |= {
        "validation_mse": [float(chosen.errors.min())],
        "best_epoch": [float(chosen.errors.argmin()) + 1],
    }
    return metrics, arrays | {"validation": chosen.errors.numpy().astype(np.float32)[None]}


def measure(task: BallsTask, model: LatentFlow) -> MetricsAndArrays:
    """Test metrics in evaluation mode, and what the figures draw."""
    errors = misses(model, task.test)
    with torch.no_grad():
        drawn = model(to_unit(task.test[:KEPT, :SEEN]))
        penalty = model.flow.penalty().sum()
    predicted = errors[:, PREDICTED]
    values = {
        "mse": predicted.mean(),
        "mse_std": predicted.mean(1).std(unbiased=False),
        "mse_first": predicted[:, 0].mean(),
        "mse_last": predicted[:, -1].mean(),
        "mse_seen": errors[:, :SEEN].mean(),
        "mse_beyond": errors[:, PREDICTED.stop :].mean(),
        "penalty": penalty,
    }
    arrays = {
        "misses": errors.mean(0).numpy().astype(np.float32),
        "predicted": to_bytes(drawn.numpy()),
    }
    return {k: [v.item()] for k, v in values.items()}, {k: v[None] for k, v in arrays.items()}


def quick(model: str = "dynamic_particles") -> BallsConfig:
    """A narrow model of the same shape, trained for half a minute on one core."""
    settings: dict[str, Any] = {"sequences": 200, "validation": 40, "test": 100, "epochs": 18}
    settings |= {"latent": 20, "frames": 3, "learning_rate": 0.005}
    return replace(BallsConfig.reduced(model=model), protocol="quick", **settings)


def grid(profile: str) -> Sequence[BallsConfig]:
    """All runs of a profile.

    `quick`: the dynamic model, narrow and short. `paper`: three models at full length and the
    released protocol for the dynamic model; the three models in 10 epochs; then three models
    `reduced` to one core, the same with all sequences, and the dynamic one of these in the paper's
    width.
    """
    if check_profile(profile) == "quick":
        return [quick()]
    full = [BallsConfig.paper(model=m) for m in reversed(COMPARED)]
    short = [BallsConfig.short(model=m) for m in reversed(COMPARED)]
    reduced = [BallsConfig.reduced(model=m) for m in reversed(COMPARED)]
    more = [replace(c, sequences=SPLITS["train"]) for c in reduced]
    return [*full, BallsConfig.released(), *short, *reduced, *more, BallsConfig.wide()]


def estimate(config: BallsConfig) -> float:
    """Seconds that a training takes on this machine, from a few of its steps.

    Args:
        config: Settings.

    Returns:
        Seconds of all steps and validations; 3 steps and 1 validation of `CHUNK` are timed.
    """
    steps = min(3, config.sequences // config.batch)
    few = replace(config, sequences=steps * config.batch, validation=CHUNK, test=KEPT)
    task, chosen = BallsTask(few), Chosen(LatentFlow(few), 1)
    fit(chosen, task, FitConfig(1))  # the first steps are slower than all others
    started = time.perf_counter()
    fit(chosen, task, FitConfig(1))
    trained = time.perf_counter()
    task.monitor(chosen)
    per_step, per_sequence = (trained - started) / steps, (time.perf_counter() - trained) / CHUNK
    epoch = per_step * (config.sequences // config.batch) + per_sequence * config.validation
    return config.epochs * epoch


BOUNCING_BALLS = Experiment("bouncing_balls", BallsConfig, grid, train, estimate, so_far)
