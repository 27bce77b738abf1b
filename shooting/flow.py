"""Two verbs: `shoot` particles with data in their field, and `carry` data by given controls.

Every method, form and route stands behind these two calls, so that models and experiments never
change between the reference and the fast solves. Times may decrease, and a time that asks for a
gradient gets the derivative of the flow on every route (see `shooting.times`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import NamedTuple, cast

import torch
from torch import Tensor

from shooting import adjoint, native, reference
from shooting.adjoint import stagewise
from shooting.conservation import COARSEST, ERROR_PER_DRIFT, difference, drift, settle
from shooting.errors import (
    require_choice,
    require_count,
    require_mapping,
    require_real,
    require_shape,
    require_tensor,
    require_type,
)
from shooting.fields import Control, Field, VectorField
from shooting.routes import ROUTES, by_hand, choose
from shooting.solvers import (
    MOST_STEPS,
    TABLEAUS,
    Grid,
    RightHandSide,
    State,
    Tableau,
    check_span,
    check_step,
    make_grid,
    place_steps,
    runge_kutta,
)
from shooting.times import check_times, moves, nudge
from shooting.transforms import autocast, symbolic, unmixed

Times = Tensor | Sequence[float | Tensor]
FORMS = ("auto", "theta", "kernel")
ENGINES = {"adjoint": adjoint, "native": native}
_NO_RUNS = torch.Size()


@dataclass(frozen=True)
class Solver:
    """How to integrate.

    Example:
        >>> solver = Solver(method="midpoint", step=0.05, route="adjoint")

    Attributes:
        method: A fixed-step method of `TABLEAUS`, or the name of any torchdiffeq method.
        step: Upper bound of the step length (fixed-step methods), or ``auto``: in each call the
            first of T/4, T/8, ... that is found to meet the tolerance, one for all runs, seldom
            more than a halving too small; see `shoot_step`.
        tolerance: Relative error of the states that ``step="auto"`` allows.
        form: ``theta``, ``kernel``, or ``auto``: the one with fewer operations, ``kernel``
            under `torch.export` (the route ``native`` knows only the kernel form of `shoot`).
        route: ``autograd`` (PyTorch records every operation), ``adjoint`` (one node of autograd
            per solve), ``native`` (the same, compiled), ``torchdiffeq`` (the reference), or
            ``auto``: the fastest that applies. The variable ``SHOOTING_ROUTE`` replaces auto
            wherever the route it names applies, ``SHOOTING_THREADS`` gives the number of threads
            of a native solve. Under `torch.func` and forward-mode differentiation ``auto`` is
            ``autograd``; under `torch.compile` and `torch.export` it is ``adjoint``, which compiles
            into one graph (``fullgraph=True``), as ``autograd`` does into a larger one. Autocast
            is off inside a solve, on every route.
        rtol: Relative tolerance (adaptive methods).
        atol: Absolute tolerance (adaptive methods).
        most_steps: Steps of one solve that are not a mistake.

    Raises:
        ValueError: If the method, the form or the route is unknown, the step neither ``auto`` nor a
            positive number, a tolerance no such number, or the step ``auto`` and the method one
            that chooses its steps itself.
    """

    method: str = "rk4"
    step: float | str = 0.1
    form: str = "auto"
    route: str = "auto"
    rtol: float = 1e-7
    atol: float = 1e-9
    tolerance: float = 1e-3
    most_steps: int = MOST_STEPS

    def __post_init__(self) -> None:
        if not isinstance(self.method, str) or self.method not in TABLEAUS:
            methods = ("rk4", *(m for m in TABLEAUS if m != "rk4"), *reference.further_methods())
            require_choice(self.method, methods, "a method")
        self._check_step()
        _check_tolerances(rtol=self.rtol, atol=self.atol)
        require_choice(self.form, FORMS, "a form")
        require_choice(self.route, ROUTES, "a route")
        most = require_count(self.most_steps, "most_steps")
        object.__setattr__(self, "most_steps", most)

    def _check_step(self) -> None:
        automatic = isinstance(self.step, str)
        if automatic and self.step != "auto":
            raise ValueError(f"expected a step length or 'auto', got {self.step!r}; try 0.1")
        if not automatic:
            check_step(self.step)
        require_real(self.tolerance, "a tolerance", above=0, below=1, example=1e-3)
        if automatic and self.method not in TABLEAUS:
            raise ValueError(
                f"expected a method of fixed steps for step='auto', got {self.method!r}, which "
                "chooses its own; give it rtol and atol"
            )

    def active_route(
        self, field: VectorField | None = None, *tensors: Tensor, verb: str = "shoot"
    ) -> str:
        """The route that will be taken.

        Args:
            field: The vector field; without it, what the route will be if nothing stands against.
            *tensors: What the solve will be given: dtype, device and `requires_grad` matter.
            verb: ``shoot`` or ``carry``.

        Returns:
            A name among `ROUTES` other than ``auto``.

        Raises:
            ValueError: If a route is asked for that does not apply, with the reason.
        """
        return choose(self.route, self.method, self.form, field, tensors, verb)

    def active_form(self, field: VectorField, particles: int, rows: int) -> str:
        """The form that will be taken, by operation count if ``auto``.

        Where a size is a symbol, as in an export, counts would tie it to one number: the kernel
        form then.
        """
        if self.form != "auto" or not isinstance(field, Field):
            return "theta" if self.form == "auto" else self.form
        if symbolic(particles, rows):
            return "kernel"
        cost = field.flops(particles, rows)
        return "theta" if cost["theta"] <= cost["kernel"] else "kernel"


def _check_tolerances(**tolerances: object) -> None:
    for name, value in tolerances.items():
        require_real(value, f"a tolerance {name}", least=0, example=1e-7)
    if not any(tolerances.values()):
        raise ValueError(f"expected a tolerance above 0, got {tolerances}; try rtol=1e-7")


class Path(NamedTuple):
    """Solution of the shooting system at the requested times.

    Example:
        >>> field, q, p = UpDown(1, 2), torch.randn(4, 3), torch.randn(4, 3)
        >>> path = shoot(field, q, p, q[:0], [0.0, 1.0])
        >>> end = path.q[-1]

    Attributes:
        q: Particle states ``(*runs, times, K, S)``.
        p: Particle costates ``(*runs, times, K, S)``.
        z: Data states ``(*runs, times, n, S)``.
    """

    q: Tensor
    p: Tensor
    z: Tensor


def shoot(
    field: VectorField,
    q: Tensor,
    p: Tensor,
    z: Tensor,
    times: Times,
    *,
    solver: Solver | None = None,
) -> Path:
    r"""Solve the shooting system (3.4): particles (q, p) create the field, data z ride along.

    $$\dot q_j = f(q_j, \theta), \qquad \dot p_j = -(\mathrm{d}_q f)^\top p_j, \qquad
    \dot z = f(z, \theta), \qquad \theta = \theta(q, p).$$

    Example:
        >>> field, q, p, z = UpDown(1, 2), *torch.randn(3, 4, 3)
        >>> path = shoot(field, q, p, z, [0.0, 0.5, 1.0])

    Args:
        field: The vector field.
        q: Initial particle states ``(*runs, K, S)``.
        p: Initial particle costates ``(*runs, K, S)``.
        z: Initial data states ``(*runs, n, S)``; n may be 0.
        times: Increasing or decreasing times, the first being the initial one. Only their
            differences matter.
        solver: How to integrate.

    Returns:
        States at the requested times.

    Raises:
        ValueError: If shapes do not fit the field or each other, or the route does not apply.
    """
    solver = default_solver(solver)
    q, p, z = _checked(field, q=q, p=p, z=z)
    if q.shape[-2] != p.shape[-2]:
        raise ValueError(
            f"expected a costate for each of {q.shape[-2]} particles, got {p.shape[-2]}; draw q "
            "and p with as many rows"
        )
    if solver.step == "auto":
        solver = replace(solver, step=shoot_step(field, q, p, z, times, solver=solver))
    grid, moved = _grid(times, solver), moves(times)
    route = solver.active_route(field, q, p, z)
    form = solver.active_form(field, q.shape[-2], z.shape[-2])
    if form not in field.forms:
        raise ValueError(
            f"expected a form among {field.forms} of {type(field).__name__}, got {form!r}; try "
            "form='auto'"
        )
    if route in ENGINES:
        engine = _shooting_engine(route, field, q.shape[-2], grid, solver, form)
        path = _shoot_at_once(engine, q, p, z)
    else:
        rhs = _shooting_rhs(field, form)
        path = Path(*_stack(_integrate(rhs, (q, p, z), grid, solver, route)))
    if moved is None:
        return path
    return Path(*nudge(lambda y: field.rates(form, *y), path, moved - moved[0]))


def carry(
    field: VectorField,
    theta: Control,
    z: Tensor,
    times: Times,
    *,
    span: tuple[float, float] | None = None,
    solver: Solver | None = None,
) -> Tensor:
    r"""Move data by a control that is constant on each of B equal blocks of depth.

    $$\dot z = f(z, \theta(t)).$$

    All stages of a step use the control of the block the step lies in, so that the solver keeps
    its order across block ends.

    Example:
        >>> field, z = UpDown(1, 2), torch.randn(4, 3)
        >>> theta = {name: torch.randn(5, *shape) for name, shape in field.shapes.items()}
        >>> path = carry(field, theta, z, [0.0, 1.0])

    Args:
        field: The vector field.
        theta: Controls by name, each ``(*runs, B, out, width)``.
        z: Initial data states ``(*runs, n, S)``.
        times: Increasing or decreasing times, the first being the initial one.
        span: First and last depth of the interval that the blocks divide. Without it they divide
            the interval of the times, and stretch with it.
        solver: How to integrate.

    Returns:
        Data states ``(*runs, times, n, S)``.

    Raises:
        ValueError: If shapes do not fit the field or each other, the route does not apply, or
            `torch.jit.trace` looks on.
    """
    solver = default_solver(solver)
    blocks, runs = _check_control(field, theta)
    z = _checked(field, runs=runs, z=z)[0]
    z, *controls = _alike({"z": z, **theta}).values()
    theta = dict(zip(theta, controls, strict=True))
    if solver.step == "auto":
        step = carry_step(field, theta, z, times, span=span, solver=solver)
        solver = replace(solver, step=step)
    grid = _grid(times, solver, blocks, check_span(span))
    moved = moves(times)
    route = solver.active_route(field, z, *theta.values(), verb="carry")
    if moved is not None:
        return _carry_moving(field, theta, z, grid, moved, span is None, solver, route)
    if route in ENGINES:
        return _carry_at_once(ENGINES[route], field, theta, z, grid, TABLEAUS[solver.method])
    kept = [z]
    for block, first, last in grid.pieces():
        piece, wanted = _piece(grid, first, last)
        found = _carry_piece(field, _block(theta, block), z, piece, solver, route)
        kept += [s for s, keep in zip(found[1:], wanted, strict=True) if keep]
        z = found[-1]
    return torch.stack(kept, dim=-3)


def _grid(
    times: Times, solver: Solver, blocks: int = 1, span: tuple[float, float] | None = None
) -> Grid:
    t, step = check_times(times), cast(float, solver.step)
    if solver.method not in TABLEAUS and reference.adaptive(solver.method):
        step = abs(t[-1] - t[0])  # it has steps of its own, and nodes only where one asks
    return place_steps(t, step, blocks, span, solver.most_steps)


def _carry_piece(
    field: VectorField, now: Control, z: Tensor, grid: Grid, solver: Solver, route: str
) -> Sequence[Tensor]:
    """States at the outputs of a grid within one block, whose control is `now`."""
    if route in ENGINES:
        theta = {name: value.unsqueeze(-3) for name, value in now.items()}
        alone = Grid(grid.nodes, grid.outputs, (0,) * grid.steps)
        how = TABLEAUS[solver.method]
        return _carry_at_once(ENGINES[route], field, theta, z, alone, how).unbind(-3)

    def rhs(t: float, y: State) -> State:
        return (field.velocity(y[0], now),)

    return [state[0] for state in _integrate(rhs, (z,), grid, solver, route)]


def _carry_moving(
    field: VectorField,
    theta: Control,
    z: Tensor,
    grid: Grid,
    moved: Tensor,
    stretching: bool,
    solver: Solver,
    route: str,
) -> Tensor:
    """Block by block, because an end of a block may move with the times, and differently."""
    at = {node: i for i, node in enumerate(grid.outputs)}
    kept, start = [z], moved[0]
    for block, first, last in grid.pieces():
        now = _block(theta, block)
        piece, wanted = _piece(grid, first, last)
        states = torch.stack(list(_carry_piece(field, now, z, piece, solver, route)), dim=-3)
        asked = [at[first + k] for k, keep in zip(piece.outputs[1:], wanted, strict=True) if keep]
        end = moved[-1] if last == grid.steps else _end_move(grid, last, moved, stretching)
        shifts = torch.stack([*(moved[i] for i in asked), end]) - start
        # the block's own end last: a time requested there moves by itself
        rows = [*range(1, 1 + len(asked)), len(piece.outputs) - 1]
        rhs = _constant(field, {name: value.unsqueeze(-3) for name, value in now.items()})
        *out, z = nudge(rhs, (states[..., rows, :, :],), shifts)[0].unbind(-3)
        kept, start = [*kept, *out], end
    return torch.stack(kept, dim=-3)


def _end_move(grid: Grid, node: int, moved: Tensor, stretching: bool) -> Tensor:
    """How the end of a block between the first and the last time moves with these."""
    if not stretching:
        return torch.zeros_like(moved[0])
    first, last = grid.nodes[0], grid.nodes[-1]
    part = (grid.nodes[node] - first) / (last - first)
    return (1 - part) * moved[0] + part * moved[-1]


def _constant(field: VectorField, theta: Control) -> Callable[[State], State]:
    return lambda y: (field.velocity(y[0], theta),)


def _block(theta: Control, block: int) -> Control:
    """The control of one block, without an axis for the blocks."""
    return {name: value[..., block, :, :] for name, value in theta.items()}


def default_solver(solver: object) -> Solver:
    """A solver, or the default one for None.

    Raises:
        ValueError: If it is something else.
    """
    if solver is None:
        return Solver()
    return require_type(solver, Solver, "a Solver", "try Solver(method='rk4', step=0.1)")


@torch.no_grad()
def energy_drift(
    field: VectorField, q: Tensor, p: Tensor, times: Times, *, solver: Solver | None = None
) -> Tensor:
    """By which part H moved at the nodes of a solve, per run; see `shooting.conservation.drift`.

    Args:
        field: The vector field.
        q: Initial particle states ``(*runs, K, S)``.
        p: Initial particle costates ``(*runs, K, S)``.
        times: Increasing times, the first being the initial one.
        solver: How to integrate.

    Returns:
        An estimate of the error of q and p, up to a factor, ``(*runs)``.
    """
    solver = default_solver(solver)
    q, p = _checked(field, q=q, p=p)
    rows = q[..., :0, :]
    if solver.step == "auto":
        solver = replace(solver, step=shoot_step(field, q, p, rows, times, solver=solver))
    nodes = make_grid(times, step=solver.step, most=solver.most_steps).nodes
    path = shoot(field, q.detach(), p.detach(), rows.detach(), nodes, solver=solver)
    return drift(field, path.q, path.p)


def shoot_step(
    field: VectorField, q: Tensor, p: Tensor, z: Tensor, times: Times, *, solver: Solver
) -> float:
    """The step that `shoot` takes under ``step="auto"``; choose once, where calls are many.

    H proposes it: the drift of H times its usual factor is within the tolerance. Halved steps then
    confirm it: twice the difference of all states between a step and half of it is, too. No
    gradient passes through the choice.

    Args:
        field: The vector field.
        q: Initial particle states ``(*runs, K, S)``.
        p: Initial particle costates ``(*runs, K, S)``.
        z: Initial data states ``(*runs, n, S)``.
        times: Increasing times, the first being the initial one.
        solver: Method, tolerance and route.

    Returns:
        What the run with the largest error needs, for all runs.

    Raises:
        ValueError: If no step that is tried meets the tolerance in any run, it is below rounding,
            or no value can be read here, as inside a transform of `torch.func`.
    """
    q, p, z = (y.detach() for y in _checked(field, q=q, p=p, z=z))

    def lost(step: float) -> Tensor:
        fixed = replace(solver, step=step)
        return ERROR_PER_DRIFT * energy_drift(field, q, p, times, solver=fixed)

    def solve(step: float) -> State:
        with torch.no_grad():
            return shoot(field, q, p, z, times, solver=replace(solver, step=step))

    return choose_step(lost, solve, times, q, solver)


def choose_step(
    lost: Callable[[float], Tensor],
    solve: Callable[[float], State],
    times: Times,
    q: Tensor,
    solver: Solver,
) -> float:
    """A step that an estimate proposes and halved steps confirm.

    Args:
        lost: Error at a step by the drift of H, per run.
        solve: All states at a step.
        times: Times of the solve.
        q: Particle states ``(*runs, K, S)``.
        solver: Method and tolerance.
    """
    proposed = _settled(lost, _coarsest(times, q, solver), solver)
    return _settled(_halved(solve, q.dim() - 2), proposed, solver)


def carry_step(
    field: VectorField,
    theta: Control,
    z: Tensor,
    times: Times,
    *,
    span: tuple[float, float] | None = None,
    solver: Solver,
) -> float:
    """The step that `carry` takes under ``step="auto"``; see `shoot_step`.

    A given control has no Hamiltonian that the data conserve, so halved steps choose alone.
    """
    _check_control(field, theta)
    z = require_tensor(z, "states z").detach()
    theta = {name: value.detach() for name, value in theta.items()}

    def solve(step: float) -> State:
        with torch.no_grad():
            fixed = replace(solver, step=step)
            return (carry(field, theta, z, times, span=span, solver=fixed),)

    if not z.numel():
        return _coarsest(times, z, solver)
    return _settled(_halved(solve, z.dim() - 2), _coarsest(times, z, solver), solver)


def _settled(error: Callable[[float], Tensor], first: float, solver: Solver) -> float:
    order = TABLEAUS[solver.method].order
    return settle(error, first, tolerance=solver.tolerance, order=order)


def _halved(solve: Callable[[float], State], runs: int) -> Callable[[float], Tensor]:
    """Twice the difference between a step and half of it; each solve is made once."""
    known = functools.cache(solve)
    return lambda step: 2 * difference(known(step), known(step / 2), runs)


def _coarsest(times: Times, like: Tensor, solver: Solver) -> float:
    """The first step to try, where a step can be chosen at all."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        raise ValueError(
            "expected a step that is a number under a transform or the compiler, got step='auto', "
            "which reads values; choose it before, with shooting.flow.shoot_step or carry_step"
        )
    rounding = torch.finfo(like.dtype).eps
    if solver.tolerance < 8 * rounding:
        raise ValueError(
            f"expected a tolerance above the rounding of {like.dtype}, {8 * rounding:.0e}, got "
            f"{solver.tolerance:g}; try float64"
        )
    t = check_times(times)
    return abs(t[-1] - t[0]) / COARSEST


def _checked(field: VectorField, *, runs: torch.Size = _NO_RUNS, **states: Tensor) -> list[Tensor]:
    """States of the field's size, all with the same run axes; C would read past what is shorter."""
    check_field(field)
    for name, value in states.items():
        require_tensor(value, f"states {name}")
        advice = "pack all slots into one axis, as field.pack does"
        require_shape(value, (None, field.size), f"states {name}", advice)
    states = _alike(states)
    leads = {name: value.shape[:-2] for name, value in states.items()}
    if set(leads.values()) <= {runs} or (not runs and len(set(leads.values())) == 1):
        return list(states.values())  # as in every training step: the call below is slow
    try:
        runs = torch.broadcast_shapes(runs, *leads.values())
    except RuntimeError:
        given = ", ".join(f"{tuple(lead)} of {name}" for name, lead in leads.items())
        raise ValueError(
            f"expected run axes that agree{f' with {tuple(runs)} of theta' if runs else ''}, got "
            f"{given}; lead with one axis for all"
        ) from None
    return [value.expand(*runs, -1, -1) for value in states.values()]


def _alike(states: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of one dtype and device; under autocast, which rounds some, of the widest dtype."""
    if any(map(autocast, states.values())):
        widest = functools.reduce(torch.promote_types, (value.dtype for value in states.values()))
        states = {name: value.to(widest) for name, value in states.items()}
    kinds = {name: (value.dtype, value.device) for name, value in states.items()}
    if len(set(kinds.values())) > 1:
        given = ", ".join(
            f"{dtype} on {device} of {name}" for name, (dtype, device) in kinds.items()
        )
        raise ValueError(
            f"expected tensors of one dtype and device, got {given}; convert them, as in q.double()"
        )
    return dict(states)


def _check_control(field: VectorField, theta: Control) -> tuple[int, torch.Size]:
    """Number of blocks and run axes of a control."""
    check_field(field)
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        raise ValueError(
            "expected a dynamic model with particles in torch.jit.trace, got a solve with given "
            "controls, of a static or a direct model; try torch.export"
        )
    if not isinstance(theta, dict) or set(theta) != set(field.shapes):
        theta = cast(Control, require_mapping(theta, "controls", example="field.theta(q, p)"))
    if set(theta) != set(field.shapes):
        raise ValueError(
            f"expected controls {sorted(field.shapes)}, got {sorted(theta)}; field.shapes lists "
            "them"
        )
    for name, shape in field.shapes.items():
        require_tensor(theta[name], f"control {name}")
        advice = "lead with one axis for the blocks, if only of length 1"
        require_shape(theta[name], (None, *shape), f"control {name}", advice)
    leads = {value.shape[:-2] for value in theta.values()}
    if len(leads) > 1:
        raise ValueError(
            f"expected the same runs and blocks in all controls, got {sorted(map(tuple, leads))}; "
            "stack them alike"
        )
    *runs, blocks = leads.pop()
    if not 0 < blocks <= MOST_STEPS:  # C would read past what is empty
        raise ValueError(
            f"expected controls of 1 to {MOST_STEPS} blocks of depth, got {blocks}; lead with one "
            "axis for the blocks, if only of length 1"
        )
    return blocks, torch.Size(runs)


def check_field(field: object) -> None:
    """Refuse what is no vector field.

    Raises:
        ValueError: If it is none.
    """
    require_type(field, VectorField, "a vector field", "try UpDown(2, 3)")


def _shooting_rhs(field: VectorField, form: str) -> RightHandSide:
    return lambda t, state: field.rates(form, *state)


def _piece(grid: Grid, first: int, last: int) -> tuple[Grid, list[bool]]:
    """The part of a grid within one block, ending in a kept node, and which nodes were asked."""
    inner = [k for k in grid.outputs if first < k < last]
    ends = [*inner, last]
    part = Grid(
        grid.nodes[first : last + 1],
        (0, *(k - first for k in ends)),
        grid.blocks[first:last],
    )
    return part, [k in grid.outputs for k in ends]


def _shooting_engine(
    route: str, field: VectorField, particles: int, grid: Grid, solver: Solver, form: str
) -> adjoint.Engine:
    how = TABLEAUS[solver.method]
    if by_hand(field, solver.form, "shoot"):
        engine: adjoint.Engine = ENGINES[route].Shooting(field, particles, grid, how)
        return engine
    return stagewise.shooting(field, particles, grid, how, form=form)


def _shoot_at_once(engine: adjoint.Engine, q: Tensor, p: Tensor, z: Tensor) -> Path:
    runs, w = q.shape[:-2], torch.cat([q, z, p], dim=-2)
    path = adjoint.run(engine, _one_axis(w, 2))
    path, k, n = path.reshape(*runs, *path.shape[1:]), q.shape[-2], z.shape[-2]
    # slices, not a split: what nobody differentiates then costs nothing on the way back
    return Path(path[..., :k, :], path[..., k + n :, :], path[..., k : k + n, :])


def _carry_at_once(
    engines: ModuleType, field: VectorField, theta: Control, z: Tensor, grid: Grid, how: Tableau
) -> Tensor:
    runs = z.shape[:-2]
    if isinstance(field, Field) and adjoint.knows(field):
        fused = adjoint.fuse(field, theta).expand(*runs, -1, -1, -1)
        controls, engine = _one_axis(fused, 3), engines.Carrying(field, grid, how)
    else:
        packed = stagewise.pack(field, theta)
        controls = _one_axis(packed.expand(*runs, *packed.shape[-2:]), 2)
        engine = stagewise.carrying(field, grid, how)
    path = adjoint.run(engine, _one_axis(z, 2), controls)
    return path.reshape(*runs, *path.shape[1:])


def _one_axis(t: Tensor, trailing: int) -> Tensor:
    """Flatten all run axes, possibly none, into one."""
    split = t.dim() - trailing
    return t.reshape(math.prod(t.shape[:split]), *t.shape[split:])


def _integrate(
    rhs: RightHandSide, state: State, grid: Grid, solver: Solver, route: str
) -> list[State]:
    with unmixed(state[0]):
        if route != "torchdiffeq":
            return runge_kutta(rhs, state, grid, TABLEAUS[solver.method])
        return reference.integrate(
            rhs, state, grid, method=solver.method, rtol=solver.rtol, atol=solver.atol
        )


def _stack(states: Sequence[State]) -> list[Tensor]:
    """Put the time axis before the row axis."""
    return [torch.stack(parts, dim=-3) for parts in zip(*states, strict=True)]
