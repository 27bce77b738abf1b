"""The models with particles: theta(t) by the shooting system, or theta at t = 0 for all depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from shooting.adjoint import energy
from shooting.errors import (
    require_callable,
    require_count,
    require_few,
    require_real,
    require_tensor,
    require_type,
)
from shooting.fields import Control, VectorField
from shooting.flow import (
    Path,
    Solver,
    Times,
    carry,
    carry_step,
    check_field,
    energy_drift,
    shoot,
    shoot_step,
)
from shooting.kicks import (
    Kicks,
    check_kicks,
    kicked_drift,
    kicked_step,
    mean_penalty,
    near,
    shoot_kicked,
    with_kicks,
)
from shooting.parametrizations.base import Controlled
from shooting.randomness import Sampler, generator, normal, uniform
from shooting.solvers import Grid, make_grid
from shooting.times import check_times, moves, nudge, numbers, refuse_moving
from shooting.transforms import unmixed

INIT_ADVICE = "try ParticleInit(p=normal(0.1))"


@dataclass(frozen=True)
class ParticleInit:
    """Distribution of the particles at t = 0 (Appendix E's values by default).

    Example:
        >>> init = ParticleInit(p=normal(0.5))

    Attributes:
        x: Sampler of the positions of the first slot, ``(K, d)``; an image counts as one vector.
        v: Sampler of the positions of the other slots, ``(K, S - d)``.
        p: Sampler of all momenta, ``(K, S)``, in the published scale (see `momentum_scale`).
    """

    x: Sampler = uniform(1.5)
    v: Sampler = normal(0.5)
    p: Sampler = normal(0.1)

    def __post_init__(self) -> None:
        for name in ("x", "v", "p"):
            require_callable(getattr(self, name), f"the sampler of {name}", "try normal(0.1)")

    def draw(self, name: str, g: torch.Generator, shape: tuple[int, int]) -> Tensor:
        """One of the three, drawn and checked.

        Raises:
            ValueError: If the sampler returns something else than a tensor of this shape.
        """
        found = require_tensor(getattr(self, name)(g, shape), f"initial {name}")
        if tuple(found.shape) != shape:
            raise ValueError(
                f"expected initial {name} of shape {shape}, got {tuple(found.shape)}; return the "
                "shape asked for"
            )
        return found


class DynamicParticles(Controlled):
    r"""Dynamic with particles: $\theta(t)$ follows from K particles by the shooting system (3.4).

    $$\dot q_j = f(q_j, \theta), \quad \dot p_j = -(\mathrm{d}_q f)^\top p_j, \quad
    \theta_b = M_b^{-1} \sum_j p_j\, \varphi_b(q_j)^\top, \quad \dot z = f(z, \theta).$$

    Example:
        >>> block = DynamicParticles(UpDown(2, 8), particles=15)
        >>> end = block(torch.randn(7, 2), [0.0, 1.0])[-1]

    Args:
        field: The vector field.
        particles: Number K of particles.
        init: Distribution of the particles at t = 0.
        momentum_scale: Factor between the learned momenta and p(0). The default 1/K is the
            published convention (means over particles); 1 is the paper's literal sum.
        kicks: Depths t_1 < ... < t_M at which p jumps by what is learned, beginning with zero:
            ``p(t_k+) = p(t_k-) + momentum_scale * kicks_k``. They repair what a smooth ensemble
            lacks where a loss is measured along the way; see `shooting.kicks`. A call has to
            reach beyond the last of them.
        kick_rank: Learn each kick as a product of two factors of this rank, the second of which
            begins with zero; where K S numbers for each kick are too many.
        **common: See `Parametrization`.

    Raises:
        ValueError: If K < 1, the momentum scale is not positive, a sampler returns another shape
            than it was asked for, or kick times are not positive and increasing.
    """

    _verb = "shoot"
    x: Tensor
    v: Tensor
    p: Tensor
    kicks: Tensor
    kicks_left: Tensor
    kicks_right: Tensor

    def __init__(
        self,
        field: VectorField,
        particles: int,
        *,
        init: ParticleInit | None = None,
        momentum_scale: float | None = None,
        kicks: Sequence[float] = (),
        kick_rank: int | None = None,
        seeds: Sequence[int] | None = None,
        seed: int | None = None,
        lift: str = "learned",
        solver: Solver | None = None,
    ) -> None:
        check_field(field)
        super().__init__(field, seeds=seeds, seed=seed, lift=lift, solver=solver)
        self.field, self.particles = field, require_count(particles, "the number of particles K")
        require_few(2 * self.particles * field.size * self.runs, "all particles")
        self.momentum_scale = _momentum_scale(momentum_scale, self.particles)
        self.kick_times, self.kick_rank = self._checked_kicks(kicks, kick_rank)
        how = require_type(
            ParticleInit() if init is None else init, ParticleInit, "a ParticleInit", INIT_ADVICE
        )
        d = field.slots[self.data_slot]
        widths = {"x": d, "v": field.size - d, "p": field.size}

        def draw(g: torch.Generator) -> dict[str, Tensor]:
            # no v where there is no slot but the data's
            return {k: how.draw(k, g, (self.particles, n)) for k, n in widths.items() if n}

        self._initialise(draw)
        self._add_kicks()

    def _checked_kicks(
        self, kicks: Sequence[float], rank: int | None
    ) -> tuple[tuple[float, ...], int | None]:
        at = check_kicks(kicks)
        if at and self._verb != "shoot":
            raise ValueError(
                f"expected no kicks of a static model, whose control stays, got {at}; try "
                "DynamicParticles"
            )
        if rank is None:
            return at, None
        if not at:
            raise ValueError("expected kicks for a kick_rank, got none; try kicks=(0.5,)")
        return at, require_count(rank, "the rank of the kicks")

    def _add_kicks(self) -> None:
        """Kicks begin with zero, and everything else as it would without them."""
        if not self.kick_times:
            return
        lead, count = self.p.shape[:-2], len(self.kick_times)
        rank, (particles, size) = self.kick_rank, self.p.shape[-2:]
        if rank is None:
            self._register("kicks", self.p.new_zeros(*lead, count, particles, size))
            return
        scale = normal(rank**-0.5)  # the product of the factors then changes as its second does
        seeds = self.seeds if self.seeds is not None else (self.seed,)
        drawn = [scale(generator(s, "kicks"), (count, particles, rank)) for s in seeds]
        left = torch.stack(drawn) if self.seeds is not None else drawn[0]
        self._register("kicks_left", left.to(self.p))
        self._register("kicks_right", self.p.new_zeros(*lead, count, rank, size))

    def _jumps(self) -> Kicks:
        """The kicks in the scale of the costates."""
        with unmixed(self._like):
            kicks = self.kicks if self.kick_rank is None else self.kicks_left @ self.kicks_right
        return Kicks(self.kick_times, self.momentum_scale * kicks)

    def settings(self) -> dict[str, str]:
        """What the parameters mean: a state is loaded only where these are equal."""
        return {
            **super().settings(),
            "momentum scale": repr(float(self.momentum_scale)),
            "kicks": f"{self.kick_times} of rank {self.kick_rank}",
        }

    def start(self) -> tuple[Tensor, Tensor]:
        """Particles at t = 0: states and costates, each ``(*runs, K, S)``."""
        q = torch.cat([self.x, self.v], dim=-1) if hasattr(self, "v") else self.x
        return q, self.momentum_scale * self.p

    def particle_path(self, times: Times) -> tuple[Tensor, Tensor]:
        """Particle states and costates at the depths named, each ``(*runs, times, K, S)``.

        Args:
            times: Depths of at least 0, in any order; one will do. At a kick, the costates are
                those after it.
        """
        q, p = self.start()
        nothing, t = q[..., :0, :], self._depths(times)
        moved, rising = moves(times), len(t) > 1 and all(a < b for a, b in pairwise(t))
        # not where a time moves: the particles start at depth 0, not at the first time
        if t[0] == 0 and rising and moved is None and not self.kick_times:
            path = shoot(self.field, q, p, nothing, times, solver=self.solver)
            return path.q, path.p
        named = sorted({0.0, *t})
        if len(named) == 1:
            path = Path(*(y.unsqueeze(-3) for y in (q, p, nothing)))
        else:
            path = self._shoot(q, p, nothing, named)
        index = [named.index(s) for s in t]
        path = Path(*(y[..., index, :, :] for y in path))
        if moved is not None:
            path = Path(*nudge(lambda y: self.field.rates("theta", *y), path, moved))
        return path.q, path.p

    def energy_drift(self, times: Times) -> Tensor:
        """By which part H moved over depth, per run: an estimate of the solver's error for free.

        Exact particles conserve H, between kicks. See `shooting.conservation.drift` for the scale.
        In most of the cases measured the error of the positions was at most ten times as large.

        Args:
            times: Depths of at least 0; the particles are followed from 0 to the largest.
        """
        named = sorted({0.0, *self._depths(times)})
        if self.kick_times:
            start, kicks = self.start(), self._jumps()
            return kicked_drift(self.field, *start, named, kicks, solver=self.solver)
        return energy_drift(self.field, *self.start(), named, solver=self.solver)

    def _depths(self, times: Times) -> list[float]:
        t = numbers(times)
        if min(t) < 0:
            raise ValueError(
                f"expected times from depth 0 on, where the particles start, got {min(t):g}; shift "
                "the times"
            )
        return t

    def theta(self, times: Times) -> Control:
        """The control at the depths named, each by name ``(*runs, times, out, width)``.

        Args:
            times: Depths of at least 0, in any order; one will do: ``model.theta([0.5])``.
        """
        return self._theta(*self.particle_path(times))

    def _theta(self, q: Tensor, p: Tensor) -> Control:
        with unmixed(q):
            return self.field.theta(q, p)

    def penalty(self, times: Times | None = None) -> Tensor:
        """The running cost R, its mean over depth, per run.

        Without a drift R = H is conserved: its value at t = 0 is the mean, and the cost is T H.
        With kicks it is so on each segment, and the mean weighs the segments by their lengths.

        Args:
            times: For a model with kicks, the whole depth, as in the call. For a field with drift,
                whose R varies, nodes of the trapezoidal rule.

        Raises:
            ValueError: If the field has a drift, or the model kicks, and no times are given.
        """
        if times is not None:
            check_times(times)
        if not self.field.drift and not self.kick_times:
            return energy(self.field, *self.start())
        with unmixed(self._like):
            return self._kicked_penalty(times) if self.kick_times else self._drifting_penalty(times)

    def _drifting_penalty(self, times: Times | None) -> Tensor:
        if times is None:
            raise ValueError(
                "expected times for the penalty of a field with drift, whose R varies over depth, "
                "got none; try model.penalty(times)"
            )
        values = self.field.penalty({k: v.transpose(0, -3) for k, v in self.theta(times).items()})
        t = torch.tensor(check_times(times), dtype=torch.float64)
        if (moved := moves(times)) is not None:
            t = t + moved.to(t.device)
        dt = (t[1:] - t[:-1]).to(values).view(-1, *[1] * (values.dim() - 1))
        mean: Tensor = ((values[1:] + values[:-1]) / 2 * dt).sum(0) / dt.sum(0)
        return mean

    def _kicked_penalty(self, times: Times | None) -> Tensor:
        if times is None:
            raise ValueError(
                "expected times for the penalty of a model with kicks, between which R differs, "
                "got none; try model.penalty([0, 1])"
            )
        self._reaching(times)
        t = check_times(times)
        given = dict(zip(t, times if moves(times) is not None else t, strict=True))
        ends = t if self.field.drift else (t[0], t[-1])
        nodes = sorted(with_kicks(near(self.kick_times, t), ends))
        mixed = [given.get(s, s) for s in nodes]
        q, p = self.particle_path(mixed)
        at = torch.tensor(nodes, dtype=torch.float64)
        if (moved := moves(mixed)) is not None:
            at = at.to(moved.device) + moved
        jumps = self._jumps().at_nodes(nodes)
        return mean_penalty(self.field, q, p, jumps, at[1:] - at[:-1])

    def _flow(self, z: Tensor, times: Times) -> Tensor:
        q, p = self._met(times)
        return self._shoot(q, p, z, times).z

    def _auto_step(self, z: Tensor, times: Times) -> float:
        q, p = self._met(times)
        if self.kick_times:
            return kicked_step(self.field, q, p, z, times, self._jumps(), solver=self.solver)
        return shoot_step(self.field, q, p, z, times, solver=self.solver)

    def _shoot(self, q: Tensor, p: Tensor, z: Tensor, times: Times) -> Path:
        if not self.kick_times:
            return shoot(self.field, q, p, z, times, solver=self.solver)
        return shoot_kicked(self.field, q, p, z, times, self._jumps(), solver=self.solver)

    def _met(self, times: Times) -> tuple[Tensor, Tensor]:
        """Particles where data enter, at the first time; they themselves start at depth 0."""
        t = self._depths(times)
        if self.kick_times:
            self._reaching(times)
            q, p = (y[..., 0, :, :] for y in self.particle_path(t[:1]))
            return q, p
        if t[0] > 0 or moves(times) is not None:
            q, p = (y[..., 0, :, :] for y in self.particle_path(times[:1]))
            return q, p
        return self.start()

    def _reaching(self, times: Times) -> None:
        """Refuse a depth that ends before a kick, whose numbers would never be learned."""
        deepest, last = max(numbers(times)), near(self.kick_times, numbers(times))[-1]
        if last >= deepest:
            raise ValueError(
                f"expected kick times between 0 and the last depth {deepest:g}, got "
                f"{self.kick_times[-1]:g}; solve to the whole depth, and take parts of it from "
                "the requested times or model.dense"
            )

    def _grid(self, times: Times, step: float) -> Grid:
        if not self.kick_times:
            return super()._grid(times, step)
        refuse_moving(times)
        t = check_times(times)
        nodes = with_kicks(near(self.kick_times, t), t)
        return make_grid(nodes, step=step, most=self.solver.most_steps)

    def _controls(self, grid: Grid) -> tuple[Control, Control]:
        """A step that begins or ends with a kick takes the control of its own side."""
        if not self.kick_times:
            return super()._controls(grid)
        nodes = list(grid.nodes)
        q, right = self.particle_path(nodes)
        left = right - self._jumps().at_nodes(nodes)
        starts, ends = (right, left) if nodes[0] < nodes[-1] else (left, right)
        first = self._theta(q[..., :-1, :, :], starts[..., :-1, :, :])
        return first, self._theta(q[..., 1:, :, :], ends[..., 1:, :, :])

    def _sizes(self) -> str:
        kicks = f", kicks={self.kick_times}" if self.kick_times else ""
        rank = f", kick_rank={self.kick_rank}" if self.kick_rank is not None else ""
        return f", K={self.particles}{kicks}{rank}"


class StaticParticles(DynamicParticles):
    r"""Static with particles: $\theta$ is computed from the particles at t = 0 and stays.

    Example:
        >>> block = StaticParticles(UpDown(2, 8), particles=15, seeds=range(4))
    """

    _verb = "carry"

    def energy_drift(self, times: Times) -> Tensor:
        """Refused: a constant control conserves no H of the particles.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "expected a dynamic model, whose particles conserve H, got a static one; compare with "
            "a solve of half the step, or use Solver(step='auto')"
        )

    def penalty(self, times: Times | None = None) -> Tensor:
        """R of the constant control, per run, whatever the times."""
        if not self.field.drift:
            return energy(self.field, *self.start())
        with unmixed(self._like):
            return self.field.penalty(self.field.theta(*self.start()))

    def theta(self, times: Times) -> Control:
        """The constant control, repeated for each time."""
        count = len(numbers(times))
        return {
            k: v.unsqueeze(-3).expand(*v.shape[:-2], count, *v.shape[-2:])
            for k, v in self._theta(*self.start()).items()
        }

    def _flow(self, z: Tensor, times: Times) -> Tensor:
        return carry(self.field, self._constant(), z, times, solver=self.solver)

    def _auto_step(self, z: Tensor, times: Times) -> float:
        return carry_step(self.field, self._constant(), z, times, solver=self.solver)

    def _constant(self) -> Control:
        """The control as one block, ``(*runs, 1, out, width)``."""
        return {k: v.unsqueeze(-3) for k, v in self._theta(*self.start()).items()}


def _momentum_scale(given: object, particles: int) -> float:
    """The factor of the momenta, 1/K for None."""
    return 1 / particles if given is None else require_real(given, "a momentum scale", above=0)
