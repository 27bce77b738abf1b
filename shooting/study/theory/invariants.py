"""What UpDown shooting conserves, and integrators that keep or lose it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from shooting import UpDown
from shooting.activations import Activation
from shooting.fields import Field
from shooting.hamiltonian import System, kernel_system
from shooting.solvers import TABLEAUS, State, make_grid, runge_kutta


def uneven(dim: int, inflation: int, metric: Tensor, *, sigma: str | Activation = "tanh") -> Field:
    """UpDown (3.9) with a matrix weight M_1 of theta1, which singles out directions of x.

    Args:
        dim: Dimension d of x.
        inflation: Inflation factor alpha.
        metric: Diagonal of M_1, shape ``(d,)``.
        sigma: Activation.
    """
    plain = UpDown(dim, inflation, sigma=sigma)
    terms = [
        replace(t, weight=torch.diag(metric)) if t.name == "theta1" else t for t in plain.terms
    ]
    return Field(plain.slots, terms)


def march(
    system: System,
    q: Tensor,
    p: Tensor,
    steps: int,
    *,
    method: str = "classical",
    horizon: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Integrate a Hamiltonian system with any method of `TABLEAUS`, or ``implicit midpoint``.

    Args:
        system: Function of (q, p) giving (q', p').
        q: Initial positions ``(K, S)``.
        p: Initial costates ``(K, S)``.
        steps: Number of steps.
        method: Name of the method.
        horizon: Final time.

    Returns:
        Positions and costates at all nodes, each ``(steps + 1, K, S)``.
    """
    if method == "implicit midpoint":
        return implicit_midpoint(system, q, p, steps, horizon=horizon)

    def rhs(t: float, state: State) -> State:
        return system(*state)

    grid = make_grid([horizon * k / steps for k in range(steps + 1)], step=horizon)
    path = runge_kutta(rhs, (q, p), grid, TABLEAUS[method])
    return torch.stack([s[0] for s in path]), torch.stack([s[1] for s in path])


def implicit_midpoint(
    system: System, q: Tensor, p: Tensor, steps: int, *, horizon: float = 1.0, sweeps: int = 60
) -> tuple[Tensor, Tensor]:
    """z_k+1 = z_k + h F((z_k + z_k+1) / 2), by fixed-point sweeps: symplectic, of order two.

    It conserves every quadratic invariant, so J and the virials of the ReLU network, exactly.
    """
    h, path = horizon / steps, [(q, p)]
    for _ in range(steps):
        (q0, p0), mid = path[-1], path[-1]
        for _ in range(sweeps):
            dq, dp = system(*mid)
            new = (q0 + h / 2 * dq, p0 + h / 2 * dp)
            moved = max(float((a - b).abs().max()) for a, b in zip(new, mid, strict=True))
            mid = new
            if moved < 1e-15:
                break
        path.append((2 * mid[0] - q0, 2 * mid[1] - p0))
    return torch.stack([s[0] for s in path]), torch.stack([s[1] for s in path])


def energy_drift(
    field: Field, q: Tensor, p: Tensor, steps: int, *, method: str = "classical"
) -> float:
    """Largest |H(t) - H(0)| / H(0) at the nodes of a solve over [0, 1]."""
    energy = field.energy(*march(kernel_system(field), q, p, steps, method=method))
    return float((energy / energy[0] - 1).abs().max())


def slope(steps: list[int], errors: list[float]) -> float:
    """Order of convergence: minus the least-squares slope of log error against log steps."""
    x = torch.tensor(steps, dtype=torch.float64).log()
    y = torch.tensor(errors, dtype=torch.float64).log()
    x, y = x - x.mean(), y - y.mean()
    return float(-(x * y).sum() / (x * x).sum())


def kink_crossings(field: Field, q: Tensor) -> int:
    """How often an entry of v changes sign along a path ``(times, K, S)``."""
    v = field.split(q)["v"]
    return int((v[1:] * v[:-1] < 0).sum())


def virial_laws(field: UpDown, q: Tensor, p: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Both sides of the laws that hold along UpDown shooting, for any sigma or for ReLU only.

    Args:
        field: The UpDown field with scalar weights.
        q: Positions ``(K, S)``.
        p: Costates ``(K, S)``.

    Returns:
        By name, (rate along the flow, closed form): ``b1`` is m_b1 b1' = -m_b2 theta2^T b2,
        ``x`` the rate of sum p_x . x, ``all`` that of sum p_x . x + p_v . v (ReLU only).
    """
    theta, (dq, dp) = field.theta(q, p), kernel_system(field)(q, p)
    m = {t.name: float(t.metric) for t in field.terms}
    size = {b: m[b] * (w**2).sum() for b, w in theta.items()}
    x, px = field.split(q)["x"], field.split(p)["x"]
    dx, dpx = field.split(dq)["x"], field.split(dp)["x"]
    return {
        "b1": (dpx.sum(0), -m["b2"] * (theta["theta2"].T @ theta["b2"])[:, 0]),
        "x": (
            (dpx * x + px * dx).sum(),
            size["theta1"] + size["b1"] - size["theta2"],
        ),
        "all": ((dp * q + p * dq).sum(), size["b1"] + size["b2"]),
    }
