"""The direct models: theta is learned itself, on blocks of depth or once for all."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from shooting.errors import (
    require_count,
    require_few,
    require_real,
)
from shooting.fields import Control, VectorField
from shooting.flow import (
    Solver,
    Times,
    carry,
    carry_step,
    check_field,
)
from shooting.parametrizations.base import Controlled
from shooting.randomness import uniform
from shooting.solvers import MOST_STEPS, Grid, make_grid
from shooting.times import numbers
from shooting.transforms import unmixed


class DynamicDirect(Controlled):
    r"""Dynamic direct: $\theta$ is learned directly, piecewise constant on equal blocks of depth.

    Example:
        >>> block = DynamicDirect(UpDown(2, 8), blocks=5, depth=1.0)
        >>> path = block(torch.randn(7, 2), [0.0, 0.5, 1.0])

    Args:
        field: The vector field.
        blocks: Number of blocks (the paper: 5).
        depth: T; the blocks divide [0, T], and times have to lie in it. Without it they divide
            the interval between the smallest and the largest time of each call (of `theta` as
            well), which is right only if that is always the whole depth.
        **common: See `Parametrization`.

    Raises:
        ValueError: If blocks < 1, or the depth is not positive.
    """

    def __init__(
        self,
        field: VectorField,
        *,
        blocks: int = 5,
        depth: float | None = None,
        seeds: Sequence[int] | None = None,
        seed: int | None = None,
        lift: str = "learned",
        solver: Solver | None = None,
    ) -> None:
        check_field(field)
        super().__init__(field, seeds=seeds, seed=seed, lift=lift, solver=solver)
        blocks = require_count(blocks, "the number of blocks", most=MOST_STEPS)
        numbers_of_one = blocks * sum(math.prod(shape) for shape in field.shapes.values())
        require_few(numbers_of_one * self.runs, "all controls")
        depth = None if depth is None else require_real(depth, "the depth T", above=0)
        self.field, self.blocks, self.depth = field, blocks, depth
        self._initialise(self._draw)

    def _draw(self, g: torch.Generator) -> dict[str, Tensor]:
        """PyTorch's nn.Linear default: U(±1/√fan_in), a bias having its block's fan-in."""
        out = {}
        for name, shape in self.field.shapes.items():
            bound = 1 / math.sqrt(self.field.fan_in(name))
            out[name] = uniform(bound)(g, (self.blocks, *shape))
        return out

    def settings(self) -> dict[str, str]:
        """What the parameters mean: a state is loaded only where these are equal."""
        return {**super().settings(), "depth": repr(self.depth and float(self.depth))}

    def span(self, times: Times) -> tuple[float, float]:
        """Start and length of the interval that the blocks divide: [0, T] if T is known.

        Raises:
            ValueError: If a time lies outside [0, T], or if T is not known and one time says
                nothing about it.
        """
        t = numbers(times)
        low, high = min(t), max(t)
        if self.depth is None:
            if low == high and self.blocks > 1:
                raise ValueError(
                    "expected at least two times, between which a model without a known depth "
                    f"places its blocks, got {t}; try DynamicDirect(field, depth=1.0)"
                )
            return low, high - low or 1.0
        slack = 1e-6 * self.depth  # times may be rounded to float32
        if low < -slack or high > self.depth + slack:
            raise ValueError(
                f"expected times in [0, {self.depth:g}], got {low:g} to {high:g}; the control is "
                "learned for this depth only"
            )
        return 0.0, self.depth

    def _fixed(self, times: Times) -> tuple[float, float] | None:
        """First and last depth of the blocks, if known; None if they follow the times."""
        return None if self.depth is None else self.span(times)

    def theta_blocks(self) -> Control:
        """The learned controls, each by name ``(*runs, B, out, width)``."""
        return {name: getattr(self, name) for name in self.field.shapes}

    def theta(self, times: Times) -> Control:
        """The control at the times named, right-continuous, each ``(*runs, times, out, width)``.

        Args:
            times: In any order. If the depth is known one will do; otherwise the blocks divide the
                interval between the smallest and the largest.
        """
        start, length = self.span(times)
        t = torch.tensor(numbers(times), dtype=torch.float64)
        part = self.blocks * (t - start) / length
        index = (part + 1e-6).long()  # times may be rounded to float32
        index = index.clamp(max=self.blocks - 1).to(self._like.device)
        return {k: v.index_select(-3, index) for k, v in self.theta_blocks().items()}

    def penalty(self) -> Tensor:
        r"""Mean of R over the equal blocks: $\frac1T \int_0^T R(\theta)\,\mathrm{d}t$."""
        blocks = {k: v.unbind(-3) for k, v in self.theta_blocks().items()}
        with unmixed(self._like):
            each = [
                self.field.penalty({k: v[b] for k, v in blocks.items()}) for b in range(self.blocks)
            ]
        return torch.stack(each).mean(0)

    def _flow(self, z: Tensor, times: Times) -> Tensor:
        theta, span = self.theta_blocks(), self._fixed(times)
        return carry(self.field, theta, z, times, span=span, solver=self.solver)

    def _auto_step(self, z: Tensor, times: Times) -> float:
        theta, span = self.theta_blocks(), self._fixed(times)
        return carry_step(self.field, theta, z, times, span=span, solver=self.solver)

    def _grid(self, times: Times, step: float) -> Grid:
        span, most = self._fixed(times), self.solver.most_steps
        return make_grid(times, step=step, blocks=self.blocks, span=span, most=most)

    def _controls(self, grid: Grid) -> tuple[Control, Control]:
        """A step ends with the control of its own block, not with the next."""
        index = torch.tensor(grid.blocks, device=self._like.device)
        each = {k: v.index_select(-3, index) for k, v in self.theta_blocks().items()}
        return each, each

    def _sizes(self) -> str:
        depth = "" if self.depth is None else f", depth={self.depth:g}"
        return f", blocks={self.blocks}{depth}"


class StaticDirect(DynamicDirect):
    r"""Static direct: one learned $\theta$ for all depth.

    Example:
        >>> block = StaticDirect(UpDown(2, 8), lift="zero")

    Args:
        field: The vector field.
        **common: See `Parametrization`.
    """

    def __init__(
        self,
        field: VectorField,
        *,
        seeds: Sequence[int] | None = None,
        seed: int | None = None,
        lift: str = "learned",
        solver: Solver | None = None,
    ) -> None:
        super().__init__(field, blocks=1, seeds=seeds, seed=seed, lift=lift, solver=solver)
