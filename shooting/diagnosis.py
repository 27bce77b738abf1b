"""Why a solve left the finite numbers: its weights, its data, or its steps."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from shooting.conservation import step_for
from shooting.errors import caller, require_finite, require_tensor, shown
from shooting.flow import Times
from shooting.solvers import TABLEAUS, make_grid
from shooting.times import check_times, numbers

CURE = (
    "lower the learning rate; with SGD, clip gradients before each step, too: "
    "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)"
)
FINER = (4, 32)  # parts of the step at which a solve is tried again


class NonFiniteWarning(UserWarning):
    """A solve outside a training returned NaN or infinity."""


@dataclass(frozen=True)
class Diagnosis:
    """What is to blame for a solve that is not finite.

    Attributes:
        cause: ``none``, ``weights``, ``data`` or ``step``.
        message: A sentence that says what was found and what to try.
        depth: The first node of the solve at which a state is not finite.
        runs: The runs concerned; empty for a single run, and where weights that all share are ill.
    """

    cause: str
    message: str
    depth: float | None = None
    runs: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.message


@torch.no_grad()
def diagnose(model: Any, x: Tensor, times: Times) -> Diagnosis:
    """Say whether weights, data or the step are to blame for a solve that is not finite.

    The weights are looked at first, then the data. If both are finite, the solve is repeated node
    by node, and with smaller steps: a solution that then stays finite had too large a step.

    Args:
        model: Any of the four models.
        x: The data of the call.
        times: The times of the call.

    Returns:
        The diagnosis; its cause is ``none`` if the solve is finite.

    Raises:
        ValueError: If the model is none of the four.
    """
    if not isinstance(model, nn.Module) or not hasattr(model, "_verb"):
        advice = "ask about the block inside a network"
        raise ValueError(f"expected one of the four models, got {shown(model)}; {advice}")
    if require_tensor(x, "data x").is_meta:
        raise ValueError("expected data x with values, got a tensor on meta; pass the call's data")
    check_times(times)
    return _diagnose(model, x, times)


@torch.no_grad()
def _diagnose(model: Any, x: Tensor, times: Times) -> Diagnosis:
    if ill := _ill_weights(model):
        names = ", ".join(ill)
        shared = not all(ill.values())  # weights of all runs, or of a single one
        runs = [] if shared else sorted({run for found in ill.values() for run in found})
        what = f"expected finite weights, got NaN or infinity in {names}{_of(runs)}"
        return Diagnosis(
            "weights", f"{what}: an update has destroyed them; {CURE}", runs=tuple(runs)
        )
    if not bool(torch.isfinite(x).all()):
        return Diagnosis("data", _bad_data(x))
    return _diagnose_solve(model, x, times)


def _diagnose_solve(model: Any, x: Tensor, times: Times) -> Diagnosis:
    times, solver = numbers(times), model.solver
    bound = 0.1 if isinstance(solver.step, str) else float(solver.step)
    step = max(map(abs, make_grid(times, step=bound, most=solver.most_steps).lengths()))
    nodes, bad, moving = _march(model, x, times, step)
    if not bool(bad.any()):
        return Diagnosis("none", "the solve is finite; look at the loss and at other layers")
    first = int(bad.flatten(0, -2).any(0).nonzero()[0]) if bad.dim() > 1 else int(bad.nonzero()[0])
    several = bad.dim() > 1 and model.seeds is not None  # else the first axis is the data's
    runs = tuple(int(r) for r in bad.any(-1).nonzero()[:, 0]) if several else ()
    where = (
        f"expected a finite solution, got NaN or infinity from depth {nodes[first]:.3g} on, after "
        f"step {first} of {len(nodes) - 1}{_of(runs)}, though weights and data are finite"
    )
    for part in FINER:
        if solver.method in TABLEAUS and not bool(_march(model, x, times, step / part)[1].any()):
            finer = step_for(step / part, 1.0, 1.0, 1)
            advice = f"the step {step:g} is too large; try solver=Solver(step={finer:g})"
            return Diagnosis("step", f"{where}; {advice}", nodes[first], runs)
    if moving:
        advice = f"the weights are too large for any step: {CURE}, or shrink the initial momenta"
        return Diagnosis("weights", f"{where}; {advice}", nodes[first], runs)
    return Diagnosis("data", f"{where}; the data are too large: scale them", nodes[first], runs)


def _march(
    model: Any, x: Tensor, times: Times, step: float
) -> tuple[tuple[float, ...], Tensor, bool]:
    """Nodes, where a state is not finite ``(*runs, nodes)``, and if the field itself is ill."""
    twin = copy.copy(model)
    twin._silent, twin.solver = True, replace(model.solver, step=step)
    nodes = make_grid(times, step=step, most=model.solver.most_steps).nodes
    bad = ~torch.isfinite(twin.states(x, nodes)).all(-1).all(-1)
    if model._verb != "shoot":
        bare = twin.states(torch.zeros_like(x), nodes)
        return nodes, bad, not bool(torch.isfinite(bare).all())
    ill = [~torch.isfinite(part).all(-1).all(-1) for part in twin.particle_path(nodes)]
    return nodes, bad | ill[0] | ill[1], bool((ill[0] | ill[1]).any())


def _ill_weights(model: Any) -> dict[str, list[int]]:
    """Names of weights that are not finite, with the runs concerned; none for weights of all."""
    known: Mapping[str, Tensor] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    found = {}
    for name, value in known.items():
        bad = ~torch.isfinite(value)
        if bool(bad.any()):
            several = model.seeds is not None and not name.startswith("inner.")  # of all runs
            lead = bad.flatten(1).any(1) if several else bad.new_zeros(0)
            found[name] = [int(run) for run in lead.nonzero()[:, 0]]
    return found


def _of(runs: Any) -> str:
    return f" of runs {list(runs)}" if len(runs) else ""


def _bad_data(x: Tensor) -> str:
    count = int((~torch.isfinite(x)).sum())
    return f"expected finite data x, got {count} NaN or infinite entries; remove or impute them"


def blame(model: Any, x: Tensor, message: str) -> str:
    """The message of a check that found NaN in the data, turned against what is really to blame.

    Args:
        model: The model that was called.
        x: Its data, not finite.
        message: What the check says of data.

    Returns:
        The sentence to raise.
    """
    if _ill_weights(model):
        return f"{_diagnose(model, x, ())}; the data x came out of a broken network, too"
    if x.grad_fn is not None:
        return (
            f"{message.partition(';')[0]}; a layer before computed them, so look at its weights "
            f"and its input: if an update has destroyed them, {CURE}"
        )
    return message


def report(model: Any, x: Tensor, times: Times, path: Tensor) -> None:
    """Warn, once for each model, if a solve is not finite; checked where values are at hand.

    Args:
        model: The model that was called.
        x: Its data.
        times: Its times.
        path: What the solve returned.
    """
    try:
        require_finite(path, "states")
    except ValueError:
        model._silent = True
        found = diagnose(model, x.detach(), times)
        warnings.warn(found.message, NonFiniteWarning, stacklevel=caller())
