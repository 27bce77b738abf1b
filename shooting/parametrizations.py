"""The four parametrisations of Section 4, with one call: ``path = model(x, times)``.

Parameters of all runs sit in one flat tensor ``(*runs, count)``, of which the named tensors are
views: the optimiser then works on a single tensor, however many runs there are. Without `seeds`
a model is a single run without leading axis and drops into anyone's own nn.Module.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from shooting.adjoint import energy
from shooting.diagnosis import blame, report
from shooting.errors import require_choice, require_count, require_finite, require_shape
from shooting.fields import Control, VectorField
from shooting.flow import Solver, Times, carry, energy_drift, shoot
from shooting.randomness import generator
from shooting.solvers import check_times
from shooting.spaces import Slot, StateSpace

LIFTS = ("learned", "fixed", "zero")
Sampler = Callable[[torch.Generator, tuple[int, ...]], Tensor]


def normal(scale: float) -> Sampler:
    """A sampler of N(0, scale^2) entries."""
    return lambda g, shape: scale * torch.randn(shape, generator=g, dtype=torch.float64)


def uniform(bound: float) -> Sampler:
    """A sampler of U(-bound, bound) entries."""
    return lambda g, shape: bound * (2 * torch.rand(shape, generator=g, dtype=torch.float64) - 1)


@dataclass(frozen=True)
class ParticleInit:
    """Distribution of the particles at t = 0 (Appendix E's values by default).

    Attributes:
        x: Sampler of the positions of the first slot, ``(K, d)``; an image counts as one vector.
        v: Sampler of the positions of the other slots, ``(K, S - d)``.
        p: Sampler of all momenta, ``(K, S)``, in the published scale (see `momentum_scale`).
    """

    x: Sampler = uniform(1.5)
    v: Sampler = normal(0.5)
    p: Sampler = normal(0.1)


class Parametrization(nn.Module):
    """Common part of the four models: parameters, lift and call signature.

    Args:
        space: The slots of a state, usually a vector field; the first slot is the data's.
        seeds: One seed per run; the model then carries a leading run axis.
        seed: Seed of a single run without run axis, used when `seeds` is None.
        lift: Map v(0) = Theta12 x(0) + b12 of the other slots: ``learned``, ``fixed`` (at its
            random initial value) or ``zero``.
        solver: How to integrate.

    Raises:
        ValueError: If the lift is unknown, or seeds are empty or repeat.
    """

    _verb = "carry"  # how the model moves data: `carry`, or `shoot`
    _silent = False  # set once a solve that is not finite was reported, or where others report it
    _cut: tuple[tuple[Any, ...], dict[str, Tensor]] | None = None  # see `unpack`

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
        require_choice(lift, LIFTS, "a lift")
        self.space, self.lift_kind, self.solver = space, lift, solver or Solver()
        self.seeds = None if seeds is None else tuple(int(s) for s in seeds)
        if self.seeds is not None and (not self.seeds or len(set(self.seeds)) < len(self.seeds)):
            raise ValueError(f"expected distinct seeds, at least one, got {self.seeds}; try [0]")
        self._single = seed
        self._shapes: dict[str, tuple[int, ...]] = {}

    # --- parameters ------------------------------------------------------------------------

    def _initialise(self, draw: Callable[[torch.Generator], Mapping[str, Tensor]]) -> None:
        """Draw every run from its own generator and flatten into one tensor."""
        lift = self._draw_lift if self.hidden else lambda g: {}
        runs = []
        for s in self.seeds if self.seeds is not None else (self._single,):
            g = generator(s, "init")
            drawn = {**draw(g), **lift(g)}
            # drawn in float64 and then rounded: the same numbers in every precision
            runs.append({k: t.to(torch.get_default_dtype()) for k, t in drawn.items()})
        fixed = {"lift_weight", "lift_bias"} if self.lift_kind != "learned" else set()
        self._shapes = {k: tuple(v.shape) for k, v in runs[0].items() if k not in fixed}
        flat = torch.stack([torch.cat([r[k].flatten() for k in self._shapes]) for r in runs])
        self.flat = nn.Parameter(flat if self.seeds is not None else flat[0])
        for name in sorted(fixed & runs[0].keys()):
            value = torch.stack([r[name] for r in runs]) * (self.lift_kind == "fixed")
            self.register_buffer(name, value if self.seeds is not None else value[0])

    def unpack(self) -> dict[str, Tensor]:
        """The named parameters, views into `flat`, each ``(*runs, *shape)``."""
        flat = self.flat
        if not _recorded(flat):
            return self.split_flat(flat)
        # one cut for all that a step asks for: going back, every cut costs as much as all of `flat`
        kind = (flat.data_ptr(), flat.shape, flat.stride(), flat.dtype, flat.requires_grad)
        of = (id(flat), flat._version, *kind)
        if self._cut is None or self._cut[0] != of:
            self._cut = of, self.split_flat(flat)
        return dict(self._cut[1])

    def _apply(self, *args: Any, **how: Any) -> Any:
        self._cut = None  # the parameters move, to another device or type
        return super()._apply(*args, **how)  # type: ignore[no-untyped-call]

    def __getstate__(self) -> dict[str, Any]:
        """Without the views that autograd has recorded: they cannot be copied."""
        return {**self.__dict__, "_cut": None}

    def split_flat(self, flat: Tensor) -> dict[str, Tensor]:
        """Cut any tensor shaped like `flat` (a gradient, say) into named parts."""
        sizes = [math.prod(shape) for shape in self._shapes.values()]
        parts, lead = flat.split(sizes, dim=-1), flat.shape[:-1]
        return {
            name: part.view(*lead, *shape)
            for (name, shape), part in zip(self._shapes.items(), parts, strict=True)
        }

    @property
    def runs(self) -> int:
        """Number of runs (1 for a single run)."""
        return 1 if self.seeds is None else len(self.seeds)

    @property
    def count(self) -> int:
        """Number of learned parameters of one run (Tables 1 and 2)."""
        return sum(math.prod(shape) for shape in self._shapes.values())

    @property
    def data_slot(self) -> str:
        """Name of the slot that holds the data: the first."""
        return next(iter(self.space.slots))

    @property
    def hidden(self) -> int:
        """Width of the slots that the lift fills (alpha d for UpDown, 0 for Affine)."""
        return sum(s.width for s in self.space.spaces.values()) - self._data.width

    @property
    def _data(self) -> Slot:
        return self.space.spaces[self.data_slot]

    # --- the call --------------------------------------------------------------------------

    def lift(self, x: Tensor) -> Tensor:
        """State z(0) = [x | Theta12 x + b12] of packed data x ``(*runs, n, d)``.

        An image is lifted site by site, with the same map.
        """
        if not self.hidden:
            return x
        known = self.unpack() if self.lift_kind == "learned" else dict(self.named_buffers())
        weight, bias = known["lift_weight"], known["lift_bias"]
        slot = self._data
        part = x.unflatten(-1, slot.shape) if slot.sites else x
        v = slot.rows(part) @ weight.transpose(-1, -2) + bias.unsqueeze(-2)
        others = {k: s.width for k, s in self.space.spaces.items() if k != self.data_slot}
        cut = slot.unrows(v).split(list(others.values()), dim=-1)
        return self.space.pack({self.data_slot: part, **dict(zip(others, cut, strict=True))})

    def _draw_lift(self, g: torch.Generator) -> dict[str, Tensor]:
        """The affine map x -> [the other slots], drawn like nn.Linear."""
        if len({slot.sites for slot in self.space.spaces.values()}) > 1:
            raise ValueError(
                "expected all slots to have the same sites, so that a lift can act site by site, "
                f"got {self.space.spaces}; use slots of one size"
            )
        bound = 1 / math.sqrt(self._data.width)
        weight = uniform(bound)(g, (self.hidden, self._data.width))
        return {"lift_weight": weight, "lift_bias": uniform(bound)(g, (self.hidden,))}

    def forward(self, x: Tensor, times: Times) -> Tensor:
        """Carry data through depth.

        Args:
            x: Data ``(n, d)``, or ``(runs, n, d)`` with each run's own; images channels first,
                ``(n, channels, height, width)``.
            times: Increasing times, the first being the initial one.

        Returns:
            Positions at the requested times, ``(*runs, times, n, d)``, images as they came.

        Raises:
            ValueError: If x has the wrong shape or holds NaN, or times do not increase.
        """
        d, slot = self.space.slots[self.data_slot], self._data
        flat = self.states(x, times)[..., :d]
        return slot.first(flat.unflatten(-1, slot.shape)) if slot.sites else flat

    def states(self, x: Tensor, times: Times) -> Tensor:
        """Like the call, with all slots: ``(*runs, times, n, S)``."""
        self._cut = None  # a step begins
        path = self._flow(self.lift(self._check_data(x)), times)
        if not (self._silent or torch.compiler.is_compiling()):
            report(self, x, times, path)
        return path

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
        """Squared norm |Theta12|^2 + |b12|^2 of the lift, per run; 0 unless it is learned."""
        parts = self.unpack()
        if "lift_weight" not in parts:
            return self.flat.new_zeros(self.flat.shape[:-1])
        return (parts["lift_weight"] ** 2).sum((-1, -2)) + (parts["lift_bias"] ** 2).sum(-1)

    def _check_data(self, x: Tensor) -> Tensor:
        """Data of the right type and shape, packed, with the model's run axes."""
        slot = self._data
        shape = (slot.width, *slot.sites)
        words = ", ".join(map(str, ("n", *shape)))
        require_shape(
            x, (None, *shape), "data x", f"pass ({words}), or (runs, {words}) for an ensemble"
        )
        if x.dtype != self.flat.dtype:
            raise ValueError(
                f"expected data x of the model's {self.flat.dtype}, got {x.dtype}; convert one of "
                "them, as in x.float() or model.double()"
            )
        try:
            require_finite(x, "data x")
        except ValueError as error:
            raise ValueError(blame(self, x, str(error))) from None
        lead, runs = () if self.seeds is None else (self.runs,), x.shape[: -1 - len(shape)]
        if runs not in ((), lead):
            wanted = f"({words})" + (f" or ({self.runs}, {words})" if lead else "")
            raise ValueError(
                f"expected data x of shape {wanted}, got {tuple(x.shape)}; "
                + ("lead with one axis for the seeds" if lead else "a single run has no run axis")
            )
        flat = slot.last(x).flatten(-1 - len(slot.sites)) if slot.sites else x
        return flat.expand(*lead, *flat.shape[-2:])

    def extra_repr(self) -> str:
        """What is shown between the parentheses."""
        runs = "" if self.seeds is None else f", runs={self.runs}"
        return f"{self.space}, numbers={self.count}{runs}"


class Controlled(Parametrization):
    """A model whose field is linear in controls; see `Parametrization`."""

    field: VectorField

    def route(self) -> str:
        """The solver route that this model's calls take, for the record."""
        return self.solver.active_route(self.field, self.flat, verb=self._verb)


class DynamicParticles(Controlled):
    """Dynamic with particles: theta(t) follows from K particles by the shooting system (3.4).

    Args:
        field: The vector field.
        particles: Number K of particles.
        init: Distribution of the particles at t = 0.
        momentum_scale: Factor between the learned momenta and p(0). The default 1/K is the
            published convention (means over particles); 1 is the paper's literal sum.
        **common: See `Parametrization`.

    Raises:
        ValueError: If K < 1, the momentum scale is not positive, or a sampler returns another
            shape than it was asked for.
    """

    _verb = "shoot"

    def __init__(
        self,
        field: VectorField,
        particles: int,
        *,
        init: ParticleInit | None = None,
        momentum_scale: float | None = None,
        seeds: Sequence[int] | None = None,
        seed: int = 0,
        lift: str = "learned",
        solver: Solver | None = None,
    ) -> None:
        super().__init__(field, seeds=seeds, seed=seed, lift=lift, solver=solver)
        self.field, self.particles = field, require_count(particles, "the number of particles K")
        self.momentum_scale = 1 / particles if momentum_scale is None else momentum_scale
        if not 0 < self.momentum_scale < math.inf:
            raise ValueError(
                f"expected a positive momentum scale, got {momentum_scale!r}; try None (means over "
                "particles) or 1.0 (sums)"
            )
        how = init or ParticleInit()

        def draw(g: torch.Generator) -> dict[str, Tensor]:
            d, drawn = field.slots[self.data_slot], {}
            for name, width in (("x", d), ("v", field.size - d), ("p", field.size)):
                drawn[name] = getattr(how, name)(g, (particles, width))
                if tuple(drawn[name].shape) != (particles, width):
                    raise ValueError(
                        f"expected initial {name} of shape {(particles, width)}, got "
                        f"{tuple(drawn[name].shape)}; return the shape asked for"
                    )
            return drawn

        self._initialise(draw)

    def start(self) -> tuple[Tensor, Tensor]:
        """Particles at t = 0: states and costates, each ``(*runs, K, S)``."""
        parts = self.unpack()
        return torch.cat([parts["x"], parts["v"]], dim=-1), self.momentum_scale * parts["p"]

    def particle_path(self, times: Times) -> tuple[Tensor, Tensor]:
        """Particle states and costates over depth, each ``(*runs, times, K, S)``."""
        q, p = self.start()
        path = shoot(self.field, q, p, q[..., :0, :], times, solver=self.solver)
        return path.q, path.p

    def energy_drift(self, times: Times) -> Tensor:
        """By which part H moved over depth, per run: an estimate of the solver's error for free.

        Exact particles conserve H. See `shooting.conservation.drift` for the scale. The error of
        the positions is usually one to ten times as large.

        Args:
            times: Increasing times, the first being the initial one.
        """
        return energy_drift(self.field, *self.start(), times, solver=self.solver)

    def theta(self, times: Times) -> Control:
        """The control over depth, each by name ``(*runs, times, out, width)``."""
        q, p = self.particle_path(times)
        return self.field.theta(q, p)

    def penalty(self, times: Times | None = None) -> Tensor:
        """The running cost R, its mean over depth, per run.

        Without a drift R = H is conserved: its value at t = 0 is the mean, and the cost is T H.

        Args:
            times: Nodes of the trapezoidal rule, for a field with drift, whose R varies.

        Raises:
            ValueError: If the field has a drift and no times are given.
        """
        if not self.field.drift:
            return energy(self.field, *self.start())
        if times is None:
            raise ValueError(
                "expected times for the penalty of a field with drift, whose R varies over depth, "
                "got none; try model.penalty(times)"
            )
        values = self.field.penalty({k: v.transpose(0, -3) for k, v in self.theta(times).items()})
        t = torch.tensor(check_times(times), dtype=torch.float64)
        dt = (t[1:] - t[:-1]).to(values).view(-1, *[1] * (values.dim() - 1))
        mean: Tensor = ((values[1:] + values[:-1]) / 2 * dt).sum(0) / dt.sum(0)
        return mean

    def _flow(self, z: Tensor, times: Times) -> Tensor:
        q, p = self.start()
        return shoot(self.field, q, p, z, times, solver=self.solver).z


class StaticParticles(DynamicParticles):
    """Static with particles: theta is computed from the particles at t = 0 and stays."""

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
        """The constant control, repeated over depth."""
        count = len(check_times(times))
        return {
            k: v.unsqueeze(-3).expand(*v.shape[:-2], count, *v.shape[-2:])
            for k, v in self.field.theta(*self.start()).items()
        }

    def _flow(self, z: Tensor, times: Times) -> Tensor:
        theta = {k: v.unsqueeze(-3) for k, v in self.field.theta(*self.start()).items()}
        return carry(self.field, theta, z, times, solver=self.solver)


class DynamicDirect(Controlled):
    """Dynamic direct: theta is learned directly, piecewise constant on equal blocks of depth.

    Args:
        field: The vector field.
        blocks: Number of blocks (the paper: 5).
        depth: T; the blocks divide [0, T], and times have to lie in it. Without it they divide
            the interval from the first to the last time of each call, which is right only if
            that is always the whole depth.
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
        super().__init__(field, seeds=seeds, seed=seed, lift=lift, solver=solver)
        blocks = require_count(blocks, "the number of blocks")
        if depth is not None and not 0 < depth < math.inf:
            raise ValueError(f"expected a positive depth T, got {depth!r}; try depth=1.0")
        self.field, self.blocks, self.depth = field, blocks, depth
        self._initialise(self._draw)

    def _draw(self, g: torch.Generator) -> dict[str, Tensor]:
        """PyTorch's nn.Linear default: U(±1/√fan_in), a bias having its block's fan-in."""
        out = {}
        for name, shape in self.field.shapes.items():
            bound = 1 / math.sqrt(self.field.fan_in(name))
            out[name] = uniform(bound)(g, (self.blocks, *shape))
        return out

    def span(self, times: Times) -> tuple[float, float]:
        """Start and length of the interval that the blocks divide: [0, T] if T is known.

        Raises:
            ValueError: If a time lies outside [0, T].
        """
        t = check_times(times)
        if self.depth is None:
            return t[0], t[-1] - t[0]
        slack = 1e-6 * self.depth  # times may be rounded to float32
        if t[0] < -slack or t[-1] > self.depth + slack:
            raise ValueError(
                f"expected times in [0, {self.depth:g}], got {t[0]:g} to {t[-1]:g}; the control is "
                "learned for this depth only"
            )
        return 0.0, self.depth

    def states(self, x: Tensor, times: Times) -> Tensor:
        """Like the call, with all slots: ``(*runs, times, n, S)``; times start at 0 if T is known.

        Raises:
            ValueError: If T is known and times do not start at 0, or lie beyond T.
        """
        t = check_times(times)
        start, length = self.span(times)
        if t[0] > start + 1e-6 * length:
            raise ValueError(
                f"expected times from 0 on, got {t[0]:g}; data enter at depth 0: put it first"
            )
        if t[-1] >= start + length * (1 - 1e-6):
            return super().states(x, times)
        whole = [*t, start + length]  # blocks have to end where they were learned
        return super().states(x, whole)[..., :-1, :, :]

    def theta_blocks(self) -> Control:
        """The learned controls, each by name ``(*runs, B, out, width)``."""
        parts = self.unpack()
        return {name: parts[name] for name in self.field.shapes}

    def theta(self, times: Times) -> Control:
        """The control over depth, right-continuous, each ``(*runs, times, out, width)``."""
        start, length = self.span(times)
        t = torch.tensor(check_times(times), dtype=torch.float64)
        part = self.blocks * (t - start) / length
        index = (part + 1e-6).long()  # times may be rounded to float32
        index = index.clamp(max=self.blocks - 1).to(self.flat.device)
        return {k: v.index_select(-3, index) for k, v in self.theta_blocks().items()}

    def penalty(self) -> Tensor:
        """Mean of R over the equal blocks: the integral of R over depth, divided by T."""
        blocks = {k: v.unbind(-3) for k, v in self.theta_blocks().items()}
        each = [
            self.field.penalty({k: v[b] for k, v in blocks.items()}) for b in range(self.blocks)
        ]
        return torch.stack(each).mean(0)

    def _flow(self, z: Tensor, times: Times) -> Tensor:
        return carry(self.field, self.theta_blocks(), z, times, solver=self.solver)


class StaticDirect(DynamicDirect):
    """Static direct: one learned theta for all depth.

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
    """log2-Frobenius complexity of the control, integrated over depth, in both readings.

    Args:
        model: Any of the four models.
        times: Nodes of the quadrature; the solver's own nodes reproduce the published plots.

    Returns:
        ``squared``: integral of log2 sum |theta_k|^2 over matrices, biases left out (published);
        ``norm``: integral of log2 of the Frobenius norm of all of theta. Each per run. The mean
        of two neighbouring nodes is taken inside the logarithm, as the published code does.
    """
    theta = model.theta(times)
    square = {k: (v**2).sum((-1, -2)) for k, v in theta.items()}
    matrices = torch.stack([s for k, s in square.items() if not model.field.is_bias(k)]).sum(0)
    everything = torch.stack(list(square.values())).sum(0)
    t = torch.as_tensor(times, dtype=torch.float64).to(matrices)
    dt = t[1:] - t[:-1]

    def integral(s: Tensor) -> Tensor:
        return (dt * torch.log2((s[..., 1:] + s[..., :-1]) / 2)).sum(-1)

    return {"squared": integral(matrices), "norm": 0.5 * integral(everything)}


def _recorded(flat: Tensor) -> bool:
    """Whether autograd records views of a parameter, plainly and for more than one use."""
    inference = torch.is_inference_mode_enabled() or flat.is_inference()
    return torch.is_grad_enabled() and type(flat) is nn.Parameter and not inference
