"""What the four models share: parameters, lift, calls, layers; and what of it may be loaded."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from shooting.dense import Dense
from shooting.diagnosis import blame, report
from shooting.errors import (
    require_choice,
    require_count,
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
    Solver,
    Times,
    default_solver,
)
from shooting.layers import PLACES, residual_network
from shooting.learned import modules_of, warn_of_loose_numbers
from shooting.lift import PARTS, Lift
from shooting.named_fields import UpDown
from shooting.randomness import generator
from shooting.solvers import MOST_STEPS, Grid, check_step, make_grid
from shooting.spaces import Slot, StateSpace
from shooting.transforms import autocast, unmixed


class Parametrization(FixedModule):
    r"""Common part of the four models: parameters, lift and call signature.

    Args:
        space: The slots of a state, usually a vector field; the first slot is the data's.
        seeds: One seed per run; the model then carries a leading run axis.
        seed: Seed of a single run without run axis, used when `seeds` is None. By default
            PyTorch's generator draws it, so that `torch.manual_seed` decides, as for the layers of
            torch.nn, and two blocks begin differently.
        lift: Map $v(0) = \Theta_{12} x(0) + b_{12}$ of the other slots: ``learned``, ``fixed`` (at
            its random initial value) or ``zero``.
        solver: How to integrate.

    Attributes:
        inner: Modules inside the field's functions, as of ``Function(network, ("x",))``: trained,
            saved and moved with the model, the same for all runs. Absent without any.

    Raises:
        ValueError: If the lift is unknown, or seeds are empty or repeat.
    """

    seed: int
    _first = ""  # name of the parameter that was registered first
    _verb = "carry"  # how the model moves data: `carry`, or `shoot`
    _watched = False  # whether a training looks after what is not finite
    _silent = False  # set once a solve that is not finite was reported, or where others report it
    # What parameters were drawn for: another value would not fit them. A solver may be exchanged.
    _BUILT = (
        *("space", "field", "seeds", "seed", "particles", "momentum_scale", "blocks", "depth"),
        *("kick_times", "kick_rank"),
    )

    def __init__(
        self,
        space: StateSpace,
        *,
        seeds: Sequence[int] | None = None,
        seed: int | None = None,
        lift: str = "learned",
        solver: Solver | None = None,
    ) -> None:
        super().__init__()
        advice = "try UpDown(2, 3)"
        self.space = require_type(space, StateSpace, "a vector field or a space of slots", advice)
        self.solver = default_solver(solver)
        self.lift = Lift(space, kind=lift)
        self.seeds = None if seeds is None else check_seeds(seeds)
        if seed is None:  # unused beside `seeds`
            seed = 0 if self.seeds is not None else _drawn_seed()
        self.seed = _seed(seed)
        if inner := modules_of(self.space):
            self.inner = nn.ModuleList(inner)
        warn_of_loose_numbers(self.space)
        self.register_state_dict_post_hook(_keep_settings)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_check_state)  # type: ignore[no-untyped-call]

    # --- parameters ------------------------------------------------------------------------

    def _initialise(self, draw: Callable[[torch.Generator], Mapping[str, Tensor]]) -> None:
        """Draw every run from its own generator; each part becomes a parameter."""
        runs: list[dict[str, Tensor]] = []
        for s in self.seeds if self.seeds is not None else (self.seed,):
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
        if hasattr(self, name) or name == "inner":
            raise ValueError(
                f"expected a control whose name a {type(self).__name__} does not use itself, got "
                f"{name!r}; rename the term, as in {name + '1'!r}"
            )
        self.register_parameter(name, nn.Parameter(value))
        self._first = self._first or name

    def settings(self) -> dict[str, str]:
        """What the parameters mean: a state is loaded only where these are equal.

        They go with `state_dict()` as its metadata, which `torch.save` keeps. A state that has
        become a plain dictionary, as by safetensors or a comprehension, has lost them, and only
        its shapes are checked: keep them beside it.
        """
        return {"kind": _kind(self), "field": _described(self.space)}

    @property
    def _like(self) -> Tensor:
        """The first parameter: its type and device are the model's."""
        # by name: a replica of DataParallel lists no parameters
        first: Tensor = getattr(self, self._first) if self._first else next(self.parameters())
        return first

    @property
    def runs(self) -> int:
        """Number of runs (1 for a single run)."""
        return 1 if self.seeds is None else len(self.seeds)

    @property
    def count(self) -> int:
        """Number of learned parameters of one run (Tables 1 and 2)."""
        inner = getattr(self, "inner", nn.ModuleList())
        common = sum(w.numel() for w in inner.parameters())
        return common + (sum(w.numel() for w in self.parameters()) - common) // self.runs

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
                the depth, which starts at 0: times that start at 0.5 leave the first half out. The
                gradient of a tensor of times is the flow's (a velocity), which is that of the
                computed positions only up to the error of the solver.

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
        if not (self._watched and x.grad_fn is not None):  # else its loss says which run failed
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
                with the weights of its middle, of second order where theta is smooth; with blocks
                or kicks, where no layer lies across a jump.
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
        return make_grid(times, step=step, most=self.solver.most_steps)

    def _controls(self, grid: Grid) -> tuple[Control, Control]:
        """The control at the beginning and the end of each step, ``(*runs, steps, out, width)``."""
        theta = self.theta(list(grid.nodes))
        first = {name: value[..., :-1, :, :] for name, value in theta.items()}
        return first, {name: value[..., 1:, :, :] for name, value in theta.items()}


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


def _drawn_seed() -> int:
    """A seed from PyTorch's generator, as its own layers take their first values."""
    return int(torch.randint(2**63 - 1, (), device="cpu"))


def _kind(model: Parametrization) -> str:
    """Name of the library's class that a model is of."""
    ours = (c for c in type(model).__mro__ if c.__module__.startswith("shooting."))
    return next(ours).__name__


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
        if name.startswith("inner."):
            continue  # PyTorch says what does not fit
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
