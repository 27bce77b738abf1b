"""The same training step, climbed rung by rung: what a user would write, and the package's routes.

Every rung is a function without arguments that does one whole step (forward, backward, Adam) of
the 1-D regression of Appendix E, and returns the loss of each run before the step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchdiffeq import odeint

from shooting import Solver, UpDown
from shooting.optim import Adam
from shooting.parametrizations import Parametrization, ParticleInit
from shooting.study.experiments.models import build_model

RATE, FACTOR = 1e-3, 100.0


@dataclass(frozen=True)
class Step:
    """One training step, and the gradient that it used."""

    once: Callable[[], Tensor]
    gradient: Callable[[], dict[str, Tensor]]

    def __call__(self) -> Tensor:
        return self.once()


@dataclass(frozen=True)
class Size:
    """Size of the training step; the defaults are those of the 1-D regression."""

    alpha: int = 16
    runs: int = 20
    dim: int = 1
    particles: int = 15
    batch: int = 50
    steps: int = 10
    model: str = "dynamic_particles"

    def data(self) -> Tensor:
        g = torch.Generator().manual_seed(0)
        return 3 * torch.rand(self.runs, self.batch, self.dim, generator=g) - 1.5

    def build(self, solver: Solver) -> Parametrization:
        return build_model(
            self.model,
            UpDown(self.dim, self.alpha),
            particles=self.particles,
            init=ParticleInit(),
            momentum_scale=None,
            seeds=range(self.runs),
            lift="learned",
            solver=solver,
        )


def target(x: Tensor) -> Tensor:
    return x**2 + 1.5 / (1 + x**2)


def ours(size: Size, *, route: str, form: str = "auto") -> Step:
    """A step of the package; nothing but the solver's settings differs between its rungs."""
    model = size.build(Solver(step=1 / size.steps, route=route, form=form))
    names = [name for name, _ in model.named_parameters()]
    optimiser = Adam(
        model.named_parameters(), learning_rate=RATE, runs=(size.runs,), groups=[names]
    )
    x = size.data()
    y = target(x)

    def step() -> Tensor:
        optimiser.zero_grad()
        loss = FACTOR * (model(x, [0.0, 1.0])[:, -1] - y).square().mean((-1, -2)) + model.penalty()
        loss.sum().backward()
        optimiser.step()
        return loss.detach()

    return Step(step, lambda: {k: w.grad for k, w in model.named_parameters()})


# --- what a user of torchdiffeq would write for one run ----------------------------------------


def by_theta(x: Tensor, v: Tensor, px: Tensor, pv: Tensor) -> tuple[Tensor, ...]:
    s = v.relu()
    return px.T @ s, px.sum(0), pv.T @ x, pv.sum(0), pv.T @ s / 10


def half_norms(theta: tuple[Tensor, ...]) -> Tensor:
    *plain, theta3 = theta
    return 0.5 * (sum((t**2).sum() for t in plain) + 10 * (theta3**2).sum())


def move(x: Tensor, v: Tensor, theta: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    theta1, b1, theta2, b2, theta3 = theta
    s = v.relu()
    return s @ theta1.T + b1, x @ theta2.T + b2 + s @ theta3.T


def explicit_equations(t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    x, v, px, pv, data_x, data_v = state
    theta = by_theta(x, v, px, pv)
    theta1, _, theta2, _, theta3 = theta
    dpv = -(v > 0).to(v.dtype) * (px @ theta1 + pv @ theta3)
    return *move(x, v, theta), -(pv @ theta2), dpv, *move(data_x, data_v, theta)


def autodiff_equations(t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Appendix C as printed: the costate equation from autograd on the Hamiltonian."""
    x, v, px, pv, data_x, data_v = state
    with torch.enable_grad():
        theta = by_theta(x, v, px, pv)
        dx, dv = move(x, v, theta)
        energy = (px * dx).sum() + (pv * dv).sum() - half_norms(theta)
        gx, gv, hx, hv = torch.autograd.grad(energy, (x, v, px, pv), create_graph=True)
    return hx, hv, -gx, -gv, *move(data_x, data_v, theta)


def torchdiffeq(size: Size, equations: Callable[..., tuple[Tensor, ...]]) -> Step:
    """One run with `odeint`, torch's Adam and autograd through everything."""
    assert size.runs == 1
    drawn = dict(size.build(Solver()).named_parameters())
    learned = {k: w.detach()[0].clone().requires_grad_() for k, w in drawn.items()}
    optimiser = torch.optim.Adam(learned.values(), lr=RATE)
    x, d = size.data()[0], size.dim
    y, times = target(x), torch.tensor([0.0, 1.0])

    def step() -> Tensor:
        optimiser.zero_grad()
        p = learned["p"] / size.particles
        v = x @ learned["lift.weight"].T + learned["lift.bias"]
        start = (learned["x"], learned["v"], p[:, :d], p[:, d:], x, v)
        options = {"step_size": 1 / size.steps}
        end = odeint(equations, start, times, method="rk4", options=options)[4][-1]
        loss = FACTOR * (end - y).square().mean() + half_norms(by_theta(*start[:4]))
        loss.backward()
        optimiser.step()
        return loss.detach()[None]

    return Step(step, lambda: {k: w.grad[None] for k, w in learned.items()})


def torch_rungs(size: Size) -> dict[str, Step]:
    """All rungs in PyTorch at one size, slowest first."""
    rungs = {}
    if size.runs == 1:
        rungs["torchdiffeq, autodiff equations"] = torchdiffeq(size, autodiff_equations)
        rungs["torchdiffeq, explicit equations"] = torchdiffeq(size, explicit_equations)
    rungs["θ-form, autograd"] = ours(size, route="autograd", form="theta")
    rungs["kernel form, autograd"] = ours(size, route="autograd", form="kernel")
    rungs["discrete adjoint"] = ours(size, route="adjoint")
    rungs["native"] = ours(size, route="native")
    return rungs
