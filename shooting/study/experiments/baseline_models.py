"""Models the paper's four are measured against, with the run axis leading.

`NeuralODE` (plain, or augmented with zeros), `Galerkin` (theta(t) expanded in Legendre
polynomials), and `residual_network` (Euler steps, a theta of its own for each layer).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from shooting.activations import activation
from shooting.adjoint import dense, fuse, stacked
from shooting.fields import Control, Field
from shooting.flow import Solver, Times
from shooting.parametrizations import Controlled, DynamicDirect, Parametrization
from shooting.randomness import uniform
from shooting.solvers import TABLEAUS, Grid, State, make_grid, runge_kutta
from shooting.spaces import StateSpace
from shooting.times import refuse_moving


class NeuralODE(Parametrization):
    """x' = W3 s(W2 s(W1 z + b1) + b2) + b3 with z = x, or z = (x, 0) augmented with zeros.

    Not linear in its parameters, so there is no costate form of it here; autograd trains it.

    Args:
        dim: Dimension d of x.
        width: Width H of the two hidden layers.
        augment: Number of zeros appended to x; 0 is the plain NODE.
        seeds: One per run.
        solver: How to integrate (a fixed-step method).
    """

    def __init__(
        self,
        dim: int,
        width: int,
        *,
        augment: int = 0,
        seeds: Sequence[int] | None = None,
        solver: Solver | None = None,
    ) -> None:
        slots = {"x": dim, "zeros": augment} if augment else {"x": dim}
        super().__init__(StateSpace(slots), seeds=seeds, lift="zero", solver=solver)
        self.sigma = activation("relu")
        ends = (dim + augment, width, width, dim + augment)
        shapes = [(n, m) for m, n in zip(ends, ends[1:], strict=False)]

        def draw(g: torch.Generator) -> dict[str, Tensor]:
            """PyTorch's nn.Linear default, layer by layer."""
            drawn = {}
            for k, (out, fan_in) in enumerate(shapes, start=1):
                drawn[f"W{k}"] = uniform(1 / math.sqrt(fan_in))(g, (out, fan_in))
                drawn[f"b{k}"] = uniform(1 / math.sqrt(fan_in))(g, (out,))
            return drawn

        self._initialise(draw)

    def velocity(self, z: Tensor) -> Tensor:
        """The perceptron with two hidden layers, shape of z."""
        w = dict(self.named_parameters())
        for k in (1, 2, 3):
            if k > 1:
                z = self.sigma.value(z)
            z = z @ w[f"W{k}"].transpose(-1, -2) + w[f"b{k}"].unsqueeze(-2)
        return z

    def _flow(self, z: Tensor, times: Times) -> Tensor:
        grid = make_grid(times, step=self.solver.step)
        return _solve(self.velocity, z, grid, self.solver)

    def theta(self, times: Times) -> Control:
        """The weight matrices, the same at all times, each ``(*runs, times, out, width)``."""
        return {
            k: w.unsqueeze(-3).expand(*w.shape[:-2], len(times), *w.shape[-2:])
            for k, w in self.named_parameters()
            if k.startswith("W")
        }

    def penalty(self) -> Tensor:
        """Weight decay: half the squared norm of all weights and biases, per run."""
        runs = 0 if self.seeds is None else 1
        flat = torch.cat([w.flatten(runs) for w in self.parameters()], dim=-1)
        return 0.5 * (flat**2).sum(-1)

    def route(self) -> str:
        """Autograd records each operation."""
        return "autograd"


class Galerkin(DynamicDirect):
    """theta(t) = sum_m c_m P_m(t) with orthonormal Legendre polynomials on the depth interval.

    The learned blocks of `DynamicDirect` become the coefficients c_m, so that both have the same
    number of parameters; `blocks` is the number of polynomials (degrees 0 to blocks - 1).
    """

    def _draw(self, g: torch.Generator) -> dict[str, Tensor]:
        """As direct blocks, scaled: over depth theta has the mean square that they have."""
        return {k: c / math.sqrt(self.blocks) for k, c in super()._draw(g).items()}

    def theta(self, times: Times) -> Control:
        """The control over depth, each by name ``(*runs, times, out, width)``."""
        start, length = self.span(times)
        refuse_moving(times)
        values = torch.stack([legendre((float(s) - start) / length, self.blocks) for s in times])
        return {
            k: torch.einsum("tm,...mow->...tow", values.to(c), c)
            for k, c in self.theta_blocks().items()
        }

    def penalty(self) -> Tensor:
        """Integral of R(theta(t)) over depth, divided by T: by Parseval the sum of R(c_m)."""
        return self.blocks * super().penalty()

    def _flow(self, z: Tensor, times: Times) -> Tensor:
        grid = make_grid(times, step=self.solver.step)
        start, length = self.span(times)
        field = dense(self.field)
        fused = fuse(field, self.theta_blocks())

        def matrix(t: float) -> Tensor:
            weights = legendre((t - start) / length, self.blocks).to(fused)
            return torch.einsum("m,...mij->...ij", weights, fused)

        return carry_along(field, z, grid, self.solver, matrix)

    def _grid(self, times: Times, step: float) -> Grid:
        return Controlled._grid(self, times, step)  # no blocks

    def _controls(self, grid: Grid) -> tuple[Control, Control]:
        return Controlled._controls(self, grid)

    def route(self) -> str:
        """Autograd records each operation."""
        return "autograd"


def legendre(s: float, modes: int) -> Tensor:
    """Values at s of the first Legendre polynomials, orthonormal on [0, 1], ``(modes,)``."""
    values = np.polynomial.legendre.legvander(2 * s - 1, modes - 1).reshape(modes)
    return torch.as_tensor(values * np.sqrt(2 * np.arange(modes) + 1))


def residual_network(
    field: Field, *, layers: int = 10, seeds: Sequence[int] | None = None
) -> DynamicDirect:
    """z_{l+1} = z_l + (1/L) f(z_l, theta_l): a residual network whose weight decay is mean_l R.

    This is the network of the first chapter: Euler steps, a theta of its own in each layer.

    Args:
        field: The vector field of a layer.
        layers: Number L of layers.
        seeds: One per run.
    """
    return DynamicDirect(
        field, blocks=layers, seeds=seeds, solver=Solver(method="euler", step=1 / layers)
    )


def carry_along(
    field: Field, z: Tensor, grid: Grid, solver: Solver, matrix: Callable[[float], Tensor]
) -> Tensor:
    """Move data by z' = Theta(t) phi(z), Theta the fused matrix of all controls (see `fuse`).

    Args:
        field: The vector field.
        z: Initial data states ``(*runs, n, S)``.
        grid: Where to step.
        solver: Its method is used.
        matrix: Theta(t), ``(*runs, S, F)``; called once for each stage, in order.

    Returns:
        Data states ``(*runs, times, n, S)``.
    """

    def velocity(t: float, y: State) -> State:
        return (stacked(field, y[0]) @ matrix(t).transpose(-1, -2),)

    states = runge_kutta(velocity, (z,), grid, TABLEAUS[solver.method])
    return torch.stack([s[0] for s in states], dim=-3)


def _solve(velocity: Callable[[Tensor], Tensor], z: Tensor, grid: Grid, solver: Solver) -> Tensor:
    states = runge_kutta(lambda t, y: (velocity(y[0]),), (z,), grid, TABLEAUS[solver.method])
    return torch.stack([s[0] for s in states], dim=-3)
