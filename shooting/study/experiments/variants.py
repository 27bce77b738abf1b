"""Variants beyond the paper: UpDown flows that start as a rotation, between light ends.

The images are drawn linearly from the whole state (x, v), and the latent space is that of several
UpDown flows side by side, each with its own particles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from shooting import UpDown
from shooting.flow import Solver, carry, shoot
from shooting.parametrizations import DynamicParticles, ParticleInit, StaticParticles
from shooting.randomness import normal
from shooting.study.data.rotating_mnist import SIDE
from shooting.study.experiments.autoencoder import initialise
from shooting.study.experiments.models import build_model
from shooting.study.experiments.turning import (
    LEVEL,
    Turning,
    active_basis,
    fit_turning,
    generators,
    start_turning,
)

HIDDEN = 400  # units of the perceptrons
MOMENTUM = 100.0  # learned momenta are so many times p / w3: Adam then moves theta3 gently
VARIANTS = {
    "narrow": "a perceptron codes the digit in x; another lifts x to v",
    "wide": "x is a linear image of the digit's pixels; v starts as an affine image of x",
}


class Ends(nn.Module):
    """Encoder, lift and decoder.

    Args:
        variant: Key of `VARIANTS`.
        latent: Dimension d of x, over all flows.
        hidden: Dimension of v, over all flows.
        seed: Of the initial values.
    """

    def __init__(self, variant: str, latent: int, hidden: int, *, seed: int) -> None:
        super().__init__()
        pixels, wide = SIDE**2, variant == "wide"
        self.encoder = _layers(pixels, latent, perceptron=not wide)
        self.lift = _layers(latent, hidden, perceptron=not wide)
        self.decoder = _linear(latent + hidden, pixels)
        initialise(self, seed)

    def encode(self, images: Tensor) -> Tensor:
        """Latents ``(n, d)`` of images ``(n, 1, 28, 28)``."""
        latents: Tensor = self.encoder(images.flatten(1))
        return latents

    def decode(self, states: Tensor) -> Tensor:
        """Images ``(*batch, 28, 28)`` of states ``(*batch, S)``, not confined to [0, 1]."""
        images: Tensor = self.decoder(states)
        return images.unflatten(-1, (SIDE, SIDE))


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
    return layer


def _layers(inputs: int, outputs: int, *, perceptron: bool) -> nn.Sequential:
    if not perceptron:
        return nn.Sequential(_linear(inputs, outputs))
    return nn.Sequential(_linear(inputs, HIDDEN), nn.ReLU(), _linear(HIDDEN, outputs))


@torch.no_grad()
def _fill(layer: nn.Module, weight: Tensor, bias: Tensor) -> None:
    assert isinstance(layer, nn.Linear)
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)


class TurningFlow(nn.Module):
    """Ends, and UpDown flows side by side that start as the rotation fitted to training frames.

    Args:
        variant: Key of `VARIANTS`.
        model: ``dynamic_particles`` or ``static_particles``.
        latent: Dimension of x, divided among the flows.
        inflation: alpha.
        flows: Number of flows.
        theta3_weight: Penalty weight of theta3.
        step: Of the solver.
        times: When images are drawn.
        frames: Training sequences, to start from.
        left_out: Index of the frame that must not be seen.
        seed: Of the initial values.
    """

    def __init__(
        self,
        variant: str,
        model: str,
        *,
        latent: int,
        inflation: int,
        flows: int,
        theta3_weight: float,
        step: float,
        times: Sequence[float],
        frames: np.ndarray,
        left_out: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.times, width = tuple(times), inflation * latent // flows
        self.autoencoder = Ends(variant, latent, flows * width, seed=seed)
        flow = build_model(
            model,
            UpDown(latent // flows, inflation, theta3_weight=theta3_weight),
            particles=width,
            init=ParticleInit(x=normal(0.5), v=normal(0.5), p=normal(0.5)),  # overwritten below
            momentum_scale=theta3_weight / MOMENTUM,
            seeds=range(flows),
            lift="zero",
            solver=Solver(method="rk4", step=step),
        )
        assert isinstance(flow, DynamicParticles)  # the config allows no other
        self.flow = flow
        planes = (width - 1) // 2
        turning = fit_turning(frames, planes * flows, left_out)
        basis = active_basis(width, planes)
        speeds = torch.from_numpy(turning.phases).unflatten(0, (flows, planes)) / times[1]
        start_turning(flow, generators(speeds, basis))
        self._start_ends(turning, basis, wide=variant == "wide")

    def _start_ends(self, turning: Turning, basis: Tensor, *, wide: bool) -> None:
        """Decode v as coordinates in the planes; `wide` also encodes and lifts by them."""
        spread = torch.block_diag(*[basis] * self.flow.runs)  # coordinates to v, (hidden, 2 m)
        ends, inner = self.autoencoder, self.flow.runs * self.flow.field.slots["x"]
        weight = torch.from_numpy(turning.planes) @ spread.T
        nothing = torch.zeros(SIDE**2, inner)
        # the level of v drops out: it is orthogonal to the planes
        _fill(ends.decoder, torch.cat([nothing, weight], dim=1), torch.from_numpy(turning.mean))
        level = torch.full((len(spread),), LEVEL)
        if not wide:
            with torch.no_grad():
                ends.lift[-1].bias.copy_(level)  # type: ignore[operator]
            return
        start = torch.from_numpy(turning.start)
        hold = torch.eye(inner, dtype=torch.float64)[:, : start.shape[1]]
        _fill(ends.encoder[0], hold @ start[:-1].T, hold @ start[-1])
        _fill(ends.lift[0], spread @ hold.T, level)

    def start(self, images: Tensor) -> Tensor:
        """States at t = 0 of images ``(n, 28, 28)``, one row of [x | v] each."""
        x = self.autoencoder.encode(images.unsqueeze(1))
        return torch.cat([x, self.autoencoder.lift(x)], dim=-1)

    def latents(self, first: Tensor) -> Tensor:
        """States ``(n, 16, d + hidden)`` from first frames ``(n, 28, 28)``."""
        path = move(self.flow, self._apart(self.start(first)), self.times)
        parts = path.split([self.flow.field.slots[k] for k in ("x", "v")], dim=-1)
        return torch.cat([part.permute(2, 1, 0, 3).flatten(2) for part in parts], dim=-1)

    def _apart(self, states: Tensor) -> Tensor:
        """Rows [x | v] of all flows as a state of each, ``(flows, n, S)``."""
        runs, slots = self.flow.runs, self.flow.field.slots
        parts = states.split([runs * slots["x"], runs * slots["v"]], dim=-1)
        return torch.cat([part.unflatten(-1, (runs, -1)).transpose(0, 1) for part in parts], dim=-1)

    def forward(self, first: Tensor) -> Tensor:
        """Predicted sequences ``(n, 16, 28, 28)`` of first frames ``(n, 28, 28)``."""
        return self.autoencoder.decode(self.latents(first))

    def reconstruct(self, images: Tensor) -> Tensor:
        """Images ``(n, 28, 28)`` through the ends alone."""
        return self.autoencoder.decode(self.start(images))


def move(flow: DynamicParticles, states: Tensor, times: Sequence[float]) -> Tensor:
    """Carry whole states, whatever lifted them: ``(runs, n, S)`` to ``(runs, times, n, S)``."""
    if isinstance(flow, StaticParticles):
        theta = {k: v.unsqueeze(-3) for k, v in flow.field.theta(*flow.start()).items()}
        return carry(flow.field, theta, states, times, solver=flow.solver)
    return shoot(flow.field, *flow.start(), states, times, solver=flow.solver).z
