"""Target vector fields w(t, x): four of ours, any of yours, and what is checked of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from shooting.solvers import TABLEAUS, make_grid, runge_kutta

FAR = 1e8  # no example on the unit ball gets there while its flow exists
VectorField = Callable[[float, Tensor], Tensor]


@dataclass(frozen=True)
class Smoothness:
    """Constants of w on [0, 1] x B(0, r) that no finite sample can give.

    Either `lipschitz` or both `curvature` and `mixed` must be finite. The second derivatives give
    sharper bounds; a field with kinks has none.

    Attributes:
        rate: Lipschitz constant in t, that is a bound on |dw/dt| where it exists.
        curvature: Bound on |D_x^2 w|; infinite for a field with kinks.
        mixed: Bound on |d/dt D_x w|; infinite for a field with kinks.
        certified: Whether they were derived; False if they were estimated from samples.
        lipschitz: Lipschitz constant in x, for all t; infinite: from `curvature` and `mixed`.
    """

    rate: float
    curvature: float = math.inf
    mixed: float = math.inf
    certified: bool = True
    lipschitz: float = math.inf


@dataclass(frozen=True)
class Target:
    """A time-dependent vector field whose flow over [0, 1] is to be approximated.

    Attributes:
        field: w(t, x), for a number t and points x ``(n, d)`` the velocities ``(n, d)``,
            written with PyTorch operations.
        dim: Dimension d.
        radius: Radius of the compact set C = B(0, radius) of starting points.
        name: For captions.
        smoothness: Constants on B(0, r) as a function of r; None to estimate them.
    """

    field: VectorField
    dim: int
    radius: float = 1.0
    name: str = "field"
    smoothness: Callable[[float], Smoothness] | None = None

    def __call__(self, t: float, x: Tensor) -> Tensor:
        """The velocity w(t, x), checked.

        Raises:
            ValueError: If the field returns a wrong type or shape, or NaN or infinity, or if the
                points are so far away that its flow must have exploded.
        """
        if float(x.detach().abs().max()) > FAR:
            raise ValueError(
                f"expected a flow of {self.name!r} that stays bounded up to t = 1, got points "
                f"beyond {FAR:g} at t = {t:.3f}; fields that grow faster than linearly may explode"
            )
        w = self.field(t, x)
        got = tuple(w.shape) if isinstance(w, Tensor) else type(w).__name__
        if got != tuple(x.shape):
            raise ValueError(
                f"expected the field {self.name!r} to return velocities of shape "
                f"{tuple(x.shape)} for points of that shape, got {got}; return one row per point"
            )
        if not bool(torch.isfinite(w).all()):
            row = int((~torch.isfinite(w)).any(1).nonzero()[0])
            at = [round(v, 4) for v in x[row].tolist()]
            raise ValueError(
                f"expected finite velocities of {self.name!r}, got {w[row].tolist()} at t = {t:g}, "
                f"x = {at}; the field must be defined on the whole ball, not only on C"
            )
        return w

    def jacobian(self, t: float, x: Tensor) -> Tensor:
        """D_x w(t, x) at each row, shape ``(n, d, d)``.

        By autograd; by central differences if the field is constant, or leaves PyTorch. One that
        leaves it in part (a component detached) cannot be told from one that is constant there.
        """
        with torch.enable_grad():
            y = x.detach().requires_grad_()
            try:
                w = self(t, y)
            except RuntimeError:  # `y.numpy()`, for instance; another error comes again below
                return self._differences(t, x)
            if not w.requires_grad:
                # autograd says the same of a constant field and of one that left PyTorch
                return self._differences(t, x)
            rows = [
                torch.autograd.grad(w[:, i].sum(), y, retain_graph=True, allow_unused=True)[0]
                for i in range(self.dim)
            ]
        return torch.stack([torch.zeros_like(x) if r is None else r for r in rows], 1).detach()

    def _differences(self, t: float, x: Tensor) -> Tensor:
        """Central differences: exact for constant fields, good to 1e-9 for others."""
        h = 1e-5 * torch.eye(self.dim, dtype=x.dtype)
        columns = [(self(t, x + e) - self(t, x - e)) / 2e-5 for e in h]
        return torch.stack(columns, 2)

    def flow(self, x: Tensor, *, times: int = 2, step: float = 1 / 100) -> Tensor:
        """The true flow at equispaced times of [0, 1], ``(times, n, d)``, by classical RK4."""
        grid = make_grid(torch.linspace(0, 1, times, dtype=torch.float64), step=step)
        states = runge_kutta(lambda t, y: (self(t, y[0]),), (x,), grid, TABLEAUS["classical"])
        return torch.stack([s[0] for s in states])


def turn(x: Tensor) -> Tensor:
    """J x, a quarter turn of points ``(n, 2)``."""
    return torch.stack([-x[:, 1], x[:, 0]], 1)


def moving_vortex(strength: float = 2.0, orbit: float = 0.4) -> Target:
    """A Gaussian vortex whose centre runs half a circle: a J u exp(-|u|^2/2), u = x - c(t).

    |D| <= a, and |D^2| <= a max_s (3 s + s^3) exp(-s^2/2), attained at s = 3^(1/4).
    """

    def field(t: float, x: Tensor) -> Tensor:
        centre = orbit * torch.tensor([math.cos(math.pi * t), math.sin(math.pi * t)], dtype=x.dtype)
        u = x - centre
        return strength * turn(u) * torch.exp(-(u**2).sum(1, keepdim=True) / 2)

    s = 3**0.25
    second = strength * (3 * s + s**3) * math.exp(-(s**2) / 2)
    speed = math.pi * orbit
    constants = Smoothness(strength * speed, second, second * speed)
    return Target(field, 2, 1.0, "moving vortex", lambda r: constants)


def oscillating_shear(strength: float = 1.5) -> Target:
    """Two shears that take turns: a (cos(pi t) sin x2, sin(pi t) sin x1)."""

    def field(t: float, x: Tensor) -> Tensor:
        c, s = math.cos(math.pi * t), math.sin(math.pi * t)
        return strength * torch.stack([c * torch.sin(x[:, 1]), s * torch.sin(x[:, 0])], 1)

    constants = Smoothness(strength * math.pi, strength, strength * math.pi)
    return Target(field, 2, 1.0, "oscillating shear", lambda r: constants)


def pulsating_rotation(strength: float = 1.5) -> Target:
    """A rotation that swells and fades: a sin^2(pi t) J x."""

    def field(t: float, x: Tensor) -> Tensor:
        return strength * math.sin(math.pi * t) ** 2 * turn(x)

    def constants(r: float) -> Smoothness:
        return Smoothness(strength * math.pi * r, 0.0, strength * math.pi)

    return Target(field, 2, 1.0, "pulsating rotation", constants)


def jet(speed: float = 1.5, wave: float = 1.0) -> Target:
    """A wavy jet (u, a cos(pi t) sin(2 x1)) that carries most points out of the unit disk."""

    def field(t: float, x: Tensor) -> Tensor:
        side = wave * math.cos(math.pi * t) * torch.sin(2 * x[:, 0])
        return torch.stack([torch.full_like(side, speed), side], 1)

    constants = Smoothness(math.pi * wave, 4 * wave, 2 * math.pi * wave)
    return Target(field, 2, 1.0, "jet leaving the disk", lambda r: constants)


def folded_rotation() -> Target:
    """(|x2|, -x1 / 2): a kink along x2 = 0, hence Lipschitz with L = 1 and not C^1."""

    def field(t: float, x: Tensor) -> Tensor:
        return torch.stack([x[:, 1].abs(), -0.5 * x[:, 0]], 1)

    constants = Smoothness(0.0, lipschitz=1.0)
    return Target(field, 2, 1.0, "folded rotation", lambda r: constants)


BUILT_IN: dict[str, Callable[[], Target]] = {
    "moving vortex": moving_vortex,
    "oscillating shear": oscillating_shear,
    "pulsating rotation": pulsating_rotation,
    "jet leaving the disk": jet,
}
