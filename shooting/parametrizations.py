"""The four parametrisations of Section 4, with one call: ``path = model(x, times)``.

Every learned part is a parameter of its own, ``(*runs, ...)``: ``x``, ``v``, ``p``, or the controls
by name, and ``lift.weight``, ``lift.bias``. Without `seeds` a model is a single run without leading
axis and drops into anyone's own nn.Module.
"""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from shooting.adjoint import energy
from shooting.dense import Dense
from shooting.diagnosis import blame, report
from shooting.errors import (
    require_callable,
    require_choice,
    require_count,
    require_few,
    require_finite,
    require_real,
    require_shape,
    require_tensor,
    require_type,
    shown,
)
from shooting.features import Activated, Patches
from shooting.fields import Control, Field, VectorField
from shooting.fixed import FixedModule
from shooting.flow import (
    Path,
    Solver,
    Times,
    carry,
    carry_step,
    check_field,
    default_solver,
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
from shooting.layers import PLACES, residual_network
from shooting.lift import PARTS, Lift
from shooting.named_fields import UpDown
from shooting.randomness import Sampler, generator, normal, uniform
from shooting.solvers import MOST_STEPS, Grid, check_step, make_grid
from shooting.spaces import Slot, StateSpace
from shooting.times import check_times, moves, nudge, numbers, refuse_moving
from shooting.transforms import autocast, unmixed

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


class Parametrization(FixedModule):
    r"""Common part of the four models: parameters, lift and call signature.

    Args:
        space: The slots of a state, usually a vector field; the first slot is the data's.
        seeds: One seed per run; the model then carries a leading run axis.
        seed: Seed of a single run without run axis, used when `seeds` is None.
        lift: Map $v(0) = \Theta_{12} x(0) + b_{12}$ of the other slots: ``learned``, ``fixed`` (at
            its random initial value) or ``zero``.
        solver: How to integrate.

    Raises:
        ValueError: If the lift is unknown, or seeds are empty or repeat.
    """

    _verb = "carry"  # how the model moves data: `carry`, or `shoot`
    _silent = False  # set once a solve that is not finite was reported, or where others report it
    # What parameters were drawn for: another value would not fit them. A solver may be exchanged.
    _BUILT = (
        *("space", "field", "seeds", "particles", "momentum_scale", "blocks", "depth"),
        *("kick_times", "kick_rank"),
    )

    def __init__(
        self,
        space: StateSpace,
        *,
        seeds: Sequence[int] | None = None,
        seed: int = 0,
        lift: str = "learned",
        solver: Solver | None = None,
    ) -> None:
        super().__init__()
        advice = "try UpDown(2, 3)"
        self.space = require_type(space, StateSpace, "a vector field or a space of slots", advice)
        self.solver = default_solver(solver)
        self.lift = Lift(space, kind=lift)
        self.seeds = None if seeds is None else check_seeds(seeds)
        self._single = _seed(seed)
        self.register_state_dict_post_hook(_keep_settings)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_check_state)  # type: ignore[no-untyped-call]

    # --- parameters ------------------------------------------------------------------------

    def _initialise(self, draw: Callable[[torch.Generator], Mapping[str, Tensor]]) -> None:
        """Draw every run from its own generator; each part becomes a parameter."""
        runs: list[dict[str, Tensor]] = []
        for s in self.seeds if self.seeds is not None else (self._single,):
            g = generator(s, "init")
            drawn = {**draw(g), **self.lift.draw(g)}
            # drawn in float64 and then rounded: the same numbers in every precision
            runs.append({k: t.to(torch.get_default_dtype()) for k, t in drawn.items()})
        for name in runs[0]:
            parts = [r[name] for r in runs]
            value = torch.stack(parts) if self.seeds is not None else parts[0]
            if name in PARTS:
                self.lift.set(name, value)
            else:
                self._register(name, value)

    def _register(self, name: str, value: Tensor) -> None:
        if hasattr(self, name):
            raise ValueError(
                f"expected a control whose name a {type(self).__name__} does not use itself, got "
                f"{name!r}; rename the term, as in {name + '1'!r}"
            )
        self.register_parameter(name, nn.Parameter(value))

    def settings(self) -> dict[str, str]:
        """What the parameters mean: a state is loaded only where these are equal."""
        return {"field": _described(self.space)}

    @property
    def _like(self) -> Tensor:
        """Any parameter: its type and device are the model's."""
        return next(self.parameters())

    @property
    def runs(self) -> int:
        """Number of runs (1 for a single run)."""
        return 1 if self.seeds is None else len(self.seeds)

    @property
    def count(self) -> int:
        """Number of learned parameters of one run (Tables 1 and 2)."""
        return sum(w.numel() for w in self.parameters()) // self.runs

    @property
    def data_slot(self) -> str:
        """Name of the slot that holds the data: the first."""
        return next(iter(self.space.slots))

    @property
    def hidden(self) -> int:
        """Width of the slots that the lift fills (alpha d for UpDown, 0 for Affine)."""
        return self.lift.hidden

    @property
    def _data(self) -> Slot:
        return self.space.spaces[self.data_slot]

    # --- the call --------------------------------------------------------------------------

    def forward(self, x: Tensor, times: Times) -> Tensor:
        """Carry data through depth.

        Args:
            x: Data ``(n, d)`` at the first time; for an ensemble also ``(runs, n, d)``, each run's
                own, for a single run also ``(*batch, n, d)``. Images channels first,
                ``(n, channels, height, width)``.
            times: At least two depths, increasing or decreasing. The control theta(t) belongs to
                the depth, which starts at 0: times that start at 0.5 leave the first half out.

        Returns:
            Positions at the requested times, ``(*runs, times, n, d)`` or ``(*batch, times, n, d)``,
            images as they came. The other slots are lifted at the first time; to carry them back
            as well, see `flow`.

        Raises:
            ValueError: If x has the wrong shape or holds NaN, or times are not monotone.
        """
        return self._positions(self.states(x, times))

    def _positions(self, states: Tensor) -> Tensor:
        """The data's part of packed states, images channels first."""
        d, slot = self.space.slots[self.data_slot], self._data
        flat = states[..., :d]
        return slot.first(flat.unflatten(-1, slot.shape)) if slot.sites else flat

    def states(self, x: Tensor, times: Times) -> Tensor:
        """Like the call, with all slots: ``(*runs, times, n, S)``."""
        path = self.flow(self._entering(x), times)
        if not (self._silent or torch.compiler.is_compiling()):
            report(self, x, times, path)
        return path

    def _entering(self, x: Tensor) -> Tensor:
        """Full states of data, checked; in the type of the parameters, as the solve after it."""
        x = self._check_data(x)
        with unmixed(x):
            entered: Tensor = self.lift(x)
            return entered

    def flow(self, z: Tensor, times: Times) -> Tensor:
        """Carry full states, without a lift: with decreasing times the inverse of `states`.

        Args:
            z: Packed states at the first time, ``(*runs, n, S)`` or ``(*batch, n, S)``.
            times: As in the call.

        Returns:
            Packed states at the requested times, ``(*runs, times, n, S)``.
        """
        require_tensor(z, "states z")
        batch = z.shape[:-2] if self.seeds is None else ()
        with unmixed(z):
            if not batch:
                return self._flow(z, times)
            rows = self._flow(z.flatten(0, -2), times).unflatten(-2, z.shape[:-1])
            return rows.movedim(0, len(batch))

    @abstractmethod
    def theta(self, times: Times) -> Control:
        """The control over depth, each by name ``(*runs, times, out, width)``."""

    @abstractmethod
    def penalty(self) -> Tensor:
        """The running cost R, its mean over depth, per run."""

    @abstractmethod
    def route(self) -> str:
        """The solver route that this model's calls take, for the record."""

    @abstractmethod
    def _flow(self, z: Tensor, times: Times) -> Tensor:
        """Packed states at the requested times."""

    def lift_square(self) -> Tensor:
        r"""$|\Theta_{12}|^2 + |b_{12}|^2$ of the lift, per run; 0 unless it is learned."""
        if self.lift.kind != "learned" or not self.hidden:
            return self._like.new_zeros(() if self.seeds is None else (self.runs,))
        weight, bias = self.lift.weight, self.lift.bias
        return (weight**2).sum((-1, -2)) + (bias**2).sum(-1)

    def _check_data(self, x: Tensor) -> Tensor:
        """Data of the right type and shape, packed, with the model's run axes."""
        if not isinstance(x, Tensor):
            raise ValueError(
                f"expected data x as a tensor, got {type(x).__name__}; try torch.as_tensor(x, "
                f"dtype={self._like.dtype})"
            )
        if x.layout is not torch.strided:
            raise ValueError(f"expected dense data x, got {x.layout}; try x.to_dense()")
        slot = self._data
        shape = (slot.width, *slot.sites)
        words = ", ".join(map(str, ("n", *shape)))
        more = f"(runs, {words}) for an ensemble" if self.seeds else f"(batch, {words})"
        require_shape(x, (None, *shape), "data x", f"pass ({words}), or {more}")
        if x.dtype != self._like.dtype and autocast(x) and x.is_floating_point():
            x = x.to(self._like.dtype)  # from a layer before that autocast has rounded
        if x.dtype != self._like.dtype:
            raise ValueError(
                f"expected data x of the model's {self._like.dtype}, got {x.dtype}; convert one of "
                "them, as in x.float() or model.double()"
            )
        if x.device != self._like.device:
            raise ValueError(
                f"expected data x on the model's {self._like.device}, got {x.device}; move one of "
                "them, as in model.to(x.device)"
            )
        try:
            require_finite(x, "data x")
        except ValueError as error:
            raise ValueError(blame(self, x, str(error))) from None
        runs = x.shape[: -1 - len(shape)]
        if self.seeds and runs not in ((), (self.runs,)):
            raise ValueError(
                f"expected data x of shape ({words}) or ({self.runs}, {words}), got "
                f"{tuple(x.shape)}; lead with one axis for the seeds"
            )
        flat = slot.last(x).flatten(-1 - len(slot.sites)) if slot.sites else x
        return flat.expand(self.runs, *flat.shape[-2:]) if self.seeds else flat

    def extra_repr(self) -> str:
        """What is shown between the parentheses: field, sizes, and how many numbers are learned."""
        runs = "" if self.seeds is None else f", runs={self.runs}"
        return f"{_summary(self.space)}{self._sizes()}, {self.count} numbers{runs}"

    def _sizes(self) -> str:
        return ""


class Controlled(Parametrization):
    """A model whose field is linear in controls; see `Parametrization`."""

    field: VectorField

    def route(self) -> str:
        """The solver route that this model's calls take, for the record."""
        return self.solver.active_route(self.field, *self.parameters(), verb=self._verb)

    def dense(self, x: Tensor, times: Times) -> Dense:
        """Dense output: the path of data as a function of time, ``path = model.dense(x, [0, 1])``.

        Between the solver's nodes it is the cubic Hermite interpolant of states and velocities,
        whose error is $O(h^4)$; ``path(0.3)`` and ``path([0.1, 0.7])`` give positions.

        Args:
            x: Data, as in the call.
            times: First and last time, and perhaps others that shall be nodes, as in the call.
        """
        z = self._entering(x)
        grid = self._grid(times, self._step(z, times))
        states = self.flow(z, list(grid.nodes))
        velocity = self.field.velocity
        with unmixed(states):
            starts, ends = self._controls(grid)
            slopes = velocity(states[..., :-1, :, :], starts), velocity(states[..., 1:, :, :], ends)
        return Dense(grid.nodes, states, *slopes, self._positions)

    def to_layers(
        self, count: int, *, at: str = "midpoint", depth: float | None = None
    ) -> nn.Sequential:
        """A plain residual network with the weights theta(t): lift, layers, projection.

        Args:
            count: Number of layers, all of the same length of depth.
            at: ``left``: Euler steps with the weights of left ends, whose gap to the flow is of
                first order in the length; ``midpoint``: each layer is a step of the midpoint rule
                with the weights of its middle, of second order.
            depth: Depth T that the layers cover; by default the model's own, else 1.

        Returns:
            Modules from x to x(T), with copies of the weights as parameters.
        """
        count = require_count(count, "the number of layers", most=MOST_STEPS)
        require_choice(at, PLACES, "a place of the weights")
        known = getattr(self, "depth", None)
        whole = 1.0 if depth is None and known is None else known if depth is None else depth
        whole = require_real(whole, "the depth T", above=0)
        shift = 0.0 if at == "left" else 0.5
        places = [whole * (k + shift) / count for k in range(count)]
        # with both ends, between which a model without a known depth places its blocks
        theta = self.theta([0.0, *places, whole])
        weights = [{k: v[..., i + 1, :, :] for k, v in theta.items()} for i in range(count)]
        return residual_network(self.field, self.lift, weights, length=whole / count, at=at)

    def _step(self, z: Tensor, times: Times) -> float:
        """Length of the steps of a solve."""
        if self.solver.step != "auto":
            return check_step(self.solver.step)
        return self._auto_step(z.flatten(0, -2) if self.seeds is None else z, times)

    @abstractmethod
    def _auto_step(self, z: Tensor, times: Times) -> float:
        """The step that the solve chooses."""

    def _grid(self, times: Times, step: float) -> Grid:
        """Nodes of a solve."""
        return make_grid(times, step=step)

    def _controls(self, grid: Grid) -> tuple[Control, Control]:
        """The control at the beginning and the end of each step, ``(*runs, steps, out, width)``."""
        theta = self.theta(list(grid.nodes))
        first = {name: value[..., :-1, :, :] for name, value in theta.items()}
        return first, {name: value[..., 1:, :, :] for name, value in theta.items()}


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
        seed: int = 0,
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
        seeds = self.seeds if self.seeds is not None else (self._single,)
        drawn = [scale(generator(s, "kicks"), (count, particles, rank)) for s in seeds]
        left = torch.stack(drawn) if self.seeds is not None else drawn[0]
        self._register("kicks_left", left.to(self.p))
        self._register("kicks_right", self.p.new_zeros(*lead, count, rank, size))

    def _jumps(self) -> Kicks:
        """The kicks in the scale of the costates."""
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
        if t[0] == 0 and len(t) > 1 and all(a < b for a, b in pairwise(t)) and not self.kick_times:
            path = shoot(self.field, q, p, nothing, times, solver=self.solver)
            return path.q, path.p
        named = sorted({0.0, *t})
        if len(named) == 1:
            path = Path(*(y.unsqueeze(-3) for y in (q, p, nothing)))
        else:
            path = self._shoot(q, p, nothing, named)
        index = [named.index(s) for s in t]
        path, moved = Path(*(y[..., index, :, :] for y in path)), moves(times)
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
        q, p = self.particle_path(times)
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
        if self.kick_times:
            return self._kicked_penalty(times)
        if not self.field.drift:
            return energy(self.field, *self.start())
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
        return make_grid(with_kicks(near(self.kick_times, t), t), step=step)

    def _controls(self, grid: Grid) -> tuple[Control, Control]:
        """A step that begins or ends with a kick takes the control of its own side."""
        if not self.kick_times:
            return super()._controls(grid)
        nodes = list(grid.nodes)
        q, right = self.particle_path(nodes)
        left = right - self._jumps().at_nodes(nodes)
        starts, ends = (right, left) if nodes[0] < nodes[-1] else (left, right)
        first = self.field.theta(q[..., :-1, :, :], starts[..., :-1, :, :])
        return first, self.field.theta(q[..., 1:, :, :], ends[..., 1:, :, :])

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
        return self.field.penalty(self.field.theta(*self.start()))

    def theta(self, times: Times) -> Control:
        """The constant control, repeated for each time."""
        count = len(numbers(times))
        return {
            k: v.unsqueeze(-3).expand(*v.shape[:-2], count, *v.shape[-2:])
            for k, v in self.field.theta(*self.start()).items()
        }

    def _flow(self, z: Tensor, times: Times) -> Tensor:
        return carry(self.field, self._constant(), z, times, solver=self.solver)

    def _auto_step(self, z: Tensor, times: Times) -> float:
        return carry_step(self.field, self._constant(), z, times, solver=self.solver)

    def _constant(self) -> Control:
        """The control as one block, ``(*runs, 1, out, width)``."""
        return {k: v.unsqueeze(-3) for k, v in self.field.theta(*self.start()).items()}


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
        seed: int = 0,
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
        return make_grid(times, step=step, blocks=self.blocks, span=self._fixed(times))

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
        seed: int = 0,
        lift: str = "learned",
        solver: Solver | None = None,
    ) -> None:
        super().__init__(field, blocks=1, seeds=seeds, seed=seed, lift=lift, solver=solver)


def complexity(model: Controlled, times: Times) -> dict[str, Tensor]:
    r"""log2-Frobenius complexity of the control, integrated over depth, in both readings.

    Example:
        >>> model = DynamicParticles(UpDown(2, 8), particles=15)
        >>> values = complexity(model, [0.0, 0.5, 1.0])["squared"]

    Args:
        model: Any of the four models.
        times: Nodes of the quadrature; the solver's own nodes reproduce the published plots.

    Returns:
        ``squared``: $\int \log_2 \sum_k |\theta_k|^2 \mathrm{d}t$, biases left out (published);
        ``norm``: $\int \log_2 |\theta|_F\,\mathrm{d}t$ of all of theta. Each per run. The mean
        of two neighbouring nodes is taken inside the logarithm, as the published code does.
    """
    require_type(model, Controlled, "one of the four models", "try DynamicParticles(field, 15)")
    named = check_times(times)
    theta = model.theta(times)
    square = {k: (v**2).sum((-1, -2)) for k, v in theta.items()}
    if all(map(model.field.is_bias, square)):
        raise ValueError(
            f"expected a field with a control that is no bias, got {sorted(square)}; the published "
            "complexity leaves biases out"
        )
    matrices = torch.stack([s for k, s in square.items() if not model.field.is_bias(k)]).sum(0)
    everything = torch.stack(list(square.values())).sum(0)
    t = torch.as_tensor(times if isinstance(times, Tensor) else named, dtype=torch.float64)
    t = t.to(matrices)
    dt = (t[1:] - t[:-1]).abs()

    def integral(s: Tensor) -> Tensor:
        return (dt * torch.log2((s[..., 1:] + s[..., :-1]) / 2)).sum(-1)

    return {"squared": integral(matrices), "norm": 0.5 * integral(everything)}


def check_seeds(seeds: object) -> tuple[int, ...]:
    """Distinct whole numbers, at least one.

    Raises:
        ValueError: If they are something else.
    """
    try:
        found = tuple(_seed(s) for s in cast("Iterable[object]", seeds))
    except (TypeError, ValueError):
        found = ()
    if not found or len(set(found)) < len(found) or isinstance(seeds, (str, bytes)):
        raise ValueError(
            f"expected seeds that are distinct whole numbers, at least one, got {shown(seeds)}; "
            "try [0]"
        )
    return found


def _seed(seed: object) -> int:
    try:
        return require_count(seed, "a seed", least=-(2**63))
    except ValueError:
        raise ValueError(
            f"expected a seed that is a whole number, got {shown(seed)}; try 0"
        ) from None


def _momentum_scale(given: object, particles: int) -> float:
    """The factor of the momenta, 1/K for None."""
    return 1 / particles if given is None else require_real(given, "a momentum scale", above=0)


def _keep_settings(model: Any, state: Any, prefix: str, metadata: dict[str, Any]) -> None:
    """Put the settings where PyTorch keeps a module's version: they are saved with the state."""
    metadata["settings"] = model.settings()


def _check_state(
    model: Any, state: Mapping[str, Tensor], prefix: str, metadata: Mapping[str, Any], *_: Any
) -> None:
    saved = metadata.get("settings", {})  # none if the state has become a plain dictionary
    for name, mine in model.settings().items():
        if saved.get(name, mine) != mine:
            raise ValueError(
                f"expected a state of a model with {name} {mine}, got one with {saved[name]}; "
                "build the model as it was when the state was saved"
            )
    for name, own in model.named_parameters():
        shape = tuple(state[prefix + name].shape) if prefix + name in state else tuple(own.shape)
        if shape != tuple(own.shape):
            raise ValueError(
                f"expected {prefix + name} of shape {tuple(own.shape)}, got {shape}; the state is "
                "of another number of runs, particles or blocks, or of another width"
            )


def _described(space: StateSpace) -> str:
    """A space or a field in words, the same in every process."""
    matrices = {
        t.name: t.metric.apply(torch.eye(t.metric.size, dtype=torch.float64)).tolist()
        for t in getattr(space, "terms", ())
        if t.metric.size is not None
    }
    terms = repr(space) if hasattr(space, "terms") else type(space).__name__
    words = f"{terms} on {space.slots}" + (f", M = {matrices}" if matrices else "")
    return re.sub(r" at 0x[0-9a-f]+", "", words)  # of a function without a name


def _summary(space: StateSpace) -> str:
    """A field in a few words: ``UpDown(d=2, alpha=3, relu)``, or its slots and activations."""
    if isinstance(space, UpDown):
        sizes = [f"d={space.dim}", f"alpha={space.inflation}"]
    else:
        sizes = [f"{name}={size}" for name, size in space.slots.items()]
    terms = space.terms if isinstance(space, Field) else ()
    acts = [t.phi.act for t in terms if isinstance(t.phi, (Activated, Patches))]
    names = dict.fromkeys(act.name for act in acts if act is not None)
    return f"{type(space).__name__}({', '.join([*sizes, *names])})"
