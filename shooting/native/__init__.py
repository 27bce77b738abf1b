"""The compiled solve: same numbers as the discrete adjoint, one C call forward, one backward."""

from __future__ import annotations

import ctypes
import functools
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shooting import adjoint
from shooting.activations import ACTIVATIONS
from shooting.adjoint import Tape
from shooting.environment import count
from shooting.features import Activated
from shooting.fields import Field, VectorField
from shooting.native.build import REALS, load
from shooting.solvers import Grid, Tableau

SIGMAS = ("identity", "relu", "tanh", "softplus")  # as numbered in solve.c
MOST = 16  # slots, features or stages that solve.c has room for
LARGEST_KEPT = 2**25 - 2**14  # bytes, just below the largest that glibc adapts to
Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Integers, Reals = ctypes.POINTER(ctypes.c_int64), ctypes.POINTER(ctypes.c_double)


def library_error(dtype: torch.dtype = torch.float32) -> str | None:
    """Why the library cannot be used, or None."""
    return None if load(dtype)[0] is not None else load(dtype)[1]


def obstacle(
    field: VectorField | None, tensors: Sequence[Tensor], tableau: Tableau | None = None
) -> str | None:
    """Why the native route does not apply, as half a sentence with advice; None if it does."""
    if tableau is not None and len(tableau.b) > MOST:
        return f"method {tableau.name!r} has more than {MOST} stages; try route='adjoint'"
    if any(t.device.type != "cpu" for t in tensors):
        return "the inputs are not on the CPU; try route='adjoint'"
    if any(t.dtype not in REALS for t in tensors):
        return f"the inputs are neither float32 nor float64 but {tensors[0].dtype}; convert them"
    if field is not None and (reason := _stranger(field)):
        return f"{reason}; try route='adjoint'"
    error = library_error(tensors[0].dtype if tensors else torch.float32)
    return None if error is None else f"it could not be built: {error}"


@functools.lru_cache(maxsize=32)  # a field never changes, and every solve asks
def _stranger(field: VectorField) -> str | None:
    """Why solve.c does not know a field."""
    if not isinstance(field, Field):
        return "it knows fields given as terms, not as a function"
    if field.drift or not field.plain:
        return f"it knows {'no drift' if field.drift else 'plain vectors, not images'}"
    if not adjoint.knows(field):
        return "it knows slots, activated slots and constants as features"
    sigmas = {phi.act for phi, _ in field.columns.values() if isinstance(phi, Activated)}
    if unknown := [s.name for s in sigmas if ACTIVATIONS.get(s.name) != s]:
        return f"it does not know the activation {unknown[0]!r}"
    if len(sigmas) > 1:
        return f"it knows one activation at a time, not {sorted(s.name for s in sigmas)}"
    if max(len(field.slots), len(field.columns)) > MOST:
        return f"the field has more than {MOST} slots or features"
    return None


def _sigma(field: Field) -> int:
    """Number of the field's activation in solve.c; any where there is none."""
    acts = [phi.act.name for phi, _ in field.columns.values() if isinstance(phi, Activated)]
    return SIGMAS.index(acts[0] if acts else "identity")


def team() -> int:
    """Threads of a compiled solve: ``$SHOOTING_THREADS``, else as many as PyTorch uses.

    A number of its own, because PyTorch's threads slow down the small operations between solves:
    two for the solves beside one for PyTorch is faster than two for both.

    Raises:
        ValueError: If the variable is not a whole number of at least 1.
    """
    return count("SHOOTING_THREADS") or torch.get_num_threads()


class Shooting(adjoint.Shooting):
    """`adjoint.Shooting`, compiled."""

    def forward(self, w: Tensor, theta: Tensor | None, keep: bool) -> tuple[Tensor, Tape]:
        """See `adjoint.Engine`."""
        return _forward(self._problem(w, keep), self.grid, w, None)

    def backward(self, tape: Tape, theta: Tensor | None, path_bar: Tensor) -> list[Tensor | None]:
        """See `adjoint.Engine`."""
        return _backward(self._problem(path_bar, True), tape, None, path_bar)

    def _problem(self, w: Tensor, keep: bool) -> Problem:
        sizes = (w.shape[0], self.particles, w.shape[-2] - 2 * self.particles)
        how = (self.grid, self.tableau)
        return _shooting(self.field, how, sizes, keep, team())


class Carrying(adjoint.Carrying):
    """`adjoint.Carrying`, compiled."""

    def forward(self, w: Tensor, theta: Tensor | None, keep: bool) -> tuple[Tensor, Tape]:
        """See `adjoint.Engine`."""
        assert theta is not None
        return _forward(self._problem(w, theta, keep), self.grid, w, theta)

    def backward(self, tape: Tape, theta: Tensor | None, path_bar: Tensor) -> list[Tensor | None]:
        """See `adjoint.Engine`."""
        assert theta is not None
        return _backward(self._problem(path_bar, theta, True), tape, theta, path_bar)

    def _problem(self, w: Tensor, theta: Tensor, keep: bool) -> Problem:
        sizes = (w.shape[0], w.shape[-2], theta.shape[1], theta.shape[-1])
        how = (self.grid, self.tableau)
        return _carrying(self.field, how, sizes, keep, team())


class Problem(ctypes.Structure):
    """The struct of the same name in solve.c, field by field."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("runs", "particles", "data", "size")),
        *((name, ctypes.c_int64) for name in ("slots", "features", "sigma")),
        *((name, ctypes.c_int64) for name in ("steps", "stages", "outputs", "blocks", "width")),
        *((name, ctypes.c_int64) for name in ("keep", "threads")),
        *((name, Integers) for name in ("slot_size", "feature_slot", "feature_active")),
        *((name, Integers) for name in ("output_at", "block")),
        *((name, Reals) for name in ("gain", "bias", "a", "b", "h")),
    ]

    def __init__(
        self,
        field: Field,
        feature_slot: Sequence[int],
        feature_active: Sequence[bool],
        how: tuple[Grid, Tableau],
        *,
        gain: Sequence[float] = (),
        bias: Sequence[float] = (),
        **sizes: int,
    ) -> None:
        grid, tableau = how
        at = {node: i for i, node in enumerate(grid.outputs)}
        stages = len(tableau.b)
        super().__init__(
            size=field.size,
            slots=len(field.slots),
            features=len(feature_slot),
            sigma=_sigma(field),
            steps=grid.steps,
            stages=stages,
            outputs=len(grid.outputs),
            slot_size=_integers(list(field.slots.values())),
            feature_slot=_integers(feature_slot),
            feature_active=_integers(feature_active),
            output_at=_integers([at.get(k, -1) for k in range(grid.steps + 1)]),
            block=_integers(grid.blocks),
            gain=_reals(gain),
            bias=_reals(bias),
            a=_reals([x for row in tableau.a for x in (*row, *[0.0] * (stages - len(row)))]),
            b=_reals(tableau.b),
            h=_reals(grid.lengths()),
            **sizes,
        )


@functools.lru_cache(maxsize=64)  # a training solves the same problem at every step
def _shooting(
    field: Field, how: tuple[Grid, Tableau], sizes: tuple[int, int, int], keep: bool, threads: int
) -> Problem:
    m, (runs, particles, data) = adjoint.merge(field), sizes
    assert m is not None
    return Problem(
        field,
        [slot for slot, _ in m.features],
        [sigma is not None for _, sigma in m.features],
        how,
        runs=runs,
        particles=particles,
        data=data,
        keep=keep,
        threads=threads,
        gain=[c for row in m.gain for c in row],
        bias=m.bias,
    )


@functools.lru_cache(maxsize=64)
def _carrying(
    field: Field,
    how: tuple[Grid, Tableau],
    sizes: tuple[int, int, int, int],
    keep: bool,
    threads: int,
) -> Problem:
    names, (runs, data, blocks, width) = list(field.slots), sizes
    found = [phi for phi, _ in field.columns.values()]
    return Problem(
        field,
        [names.index(phi.reads[0]) if phi.reads else -1 for phi in found],
        [isinstance(phi, Activated) for phi in found],
        how,
        runs=runs,
        data=data,
        keep=keep,
        threads=threads,
        blocks=blocks,
        width=width,
    )


def _integers(values: Sequence[int]) -> Any:
    return ctypes.cast((ctypes.c_int64 * len(values))(*values), Integers)


def _reals(values: Sequence[float]) -> Any:
    return ctypes.cast((ctypes.c_double * len(values))(*values), Reals)


def _forward(problem: Problem, grid: Grid, w: Tensor, theta: Tensor | None) -> tuple[Tensor, Tape]:
    w, theta = _plain(w), None if theta is None else _plain(theta)
    path = w.new_empty(w.shape[0], len(grid.outputs), *w.shape[1:])
    tape = _room("tape", problem, w.dtype) if problem.keep else None
    _call("forward", w.dtype, problem, w, theta, path, tape)
    return path, () if tape is None else (tape,)


def _backward(
    problem: Problem, tape: Tape, theta: Tensor | None, path_bar: Tensor
) -> list[Tensor | None]:
    path_bar, theta = _plain(path_bar), None if theta is None else _plain(theta)
    w_bar = torch.empty_like(path_bar[:, 0])
    theta_bar = None if theta is None else torch.empty_like(theta)
    _call("backward", w_bar.dtype, problem, tape[0], theta, path_bar, w_bar, theta_bar)
    return [w_bar, theta_bar]


def _plain(t: Tensor) -> Tensor:
    """The numbers of a tensor one after the other, signs that PyTorch put off included."""
    return t.resolve_neg().contiguous()


def _call(name: str, dtype: torch.dtype, problem: Problem, *arrays: Tensor | None) -> None:
    pointers = (None if t is None else ctypes.c_void_p(t.data_ptr()) for t in arrays)
    scratch = _room("scratch", problem, dtype)
    function = getattr(_library(dtype), name)  # not [name], which looks it up in the file again
    function(ctypes.byref(problem), ctypes.c_void_p(scratch.data_ptr()), *pointers)


def _library(dtype: torch.dtype) -> ctypes.CDLL:
    library = load(dtype)[0]
    assert library is not None
    _keep_freed_memory()
    return library


@functools.cache
def _keep_freed_memory() -> None:
    """Free one large block, once: glibc then keeps up to twice its size instead of giving it back.

    Every step of a training frees and asks again for some megabytes; each page given back and
    fetched anew costs a quarter of a microsecond, which came to 2 ms of a step of 60.
    """
    torch.empty(LARGEST_KEPT, dtype=torch.uint8)


# --- memory for stages and scratch, kept between solves: fresh pages cost more than filling them --

_spare: deque[Bytes] = deque(maxlen=4)


def _room(purpose: str, problem: Problem, dtype: torch.dtype) -> Tensor:
    """As many reals as solve.c wants; given back to the spares when the last reference is gone."""
    size_of = getattr(_library(dtype), f"{purpose}_size")
    size_of.restype = ctypes.c_int64
    size = size_of(ctypes.byref(problem)) * dtype.itemsize + 64
    whole = _spare_of(size)
    start = -whole.ctypes.data % 64  # whole vectors on whole cache lines
    lent = whole[start : start + size - 64]
    weakref.finalize(lent, _spare.append, whole).atexit = False
    return torch.from_numpy(lent)


def _spare_of(size: int) -> Bytes:
    """A spare block of this size, or a new one; popping keeps threads from sharing one."""
    for _ in range(len(_spare)):
        try:
            block = _spare.popleft()
        except IndexError:  # another thread took it
            break
        if block.nbytes == size:
            return block
        _spare.append(block)
    return np.empty(size, np.uint8)
