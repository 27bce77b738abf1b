"""The reference route: `torchdiffeq`, which knows neither our equations nor our tables.

It is loaded when it is first asked for something, since SciPy, which it loads, takes half a second.
"""

from __future__ import annotations

import torch

from shooting.solvers import TABLEAUS, Grid, RightHandSide, State


def further_methods() -> tuple[str, ...]:
    """Methods of `torchdiffeq` beside those of `shooting.solvers.TABLEAUS`."""
    from torchdiffeq._impl.odeint import SOLVERS

    # SciPy's methods need options that a `Solver` does not have; the methods of Adams need steps of
    # one length, which a grid that meets requested times does not have
    return tuple(
        name
        for name in SOLVERS
        if name not in TABLEAUS and not any(word in name for word in ("scipy", "adams"))
    )


def adaptive(method: str) -> bool:
    """Whether a method of `torchdiffeq` chooses its steps itself, and takes none from a grid."""
    from torchdiffeq._impl.odeint import SOLVERS
    from torchdiffeq._impl.solvers import FixedGridODESolver

    return not issubclass(SOLVERS[method], FixedGridODESolver)


def integrate(
    rhs: RightHandSide, state: State, grid: Grid, *, method: str, rtol: float, atol: float
) -> list[State]:
    """Integrate with `torchdiffeq` and return the state at each requested time.

    Args:
        rhs: Right-hand side of the equation, ``rhs(t, state)``.
        state: Tensors at the first node.
        grid: Nodes, which a method of fixed steps takes, and which of them are returned.
        method: A name that `torchdiffeq` knows.
        rtol: Relative tolerance of an adaptive method.
        atol: Its absolute tolerance.

    Returns:
        The states at the outputs of the grid.

    Raises:
        ValueError: If an adaptive step becomes nothing.
    """
    from torchdiffeq import odeint

    like = state[0]
    times = torch.tensor([grid.nodes[k] for k in grid.outputs], dtype=torch.float64)
    options = {}
    if not adaptive(method):
        nodes = torch.tensor(grid.nodes, dtype=times.dtype, device=like.device)
        options = {"grid_constructor": lambda func, y0, t: nodes}
    try:
        found = odeint(
            lambda t, y: rhs(float(t.detach()), y),  # adaptive steps depend on the state
            state,
            times.to(like.device),
            method=method,
            rtol=rtol,
            atol=atol,
            options=options,
        )
    except AssertionError as error:  # as torchdiffeq says that its step has become nothing
        raise ValueError(
            f"expected a solve within rtol={rtol:g} and atol={atol:g}, but torchdiffeq says "
            f"{str(error)!r}; try larger tolerances, or scale states and data"
        ) from error
    return [tuple(part[k] for part in found) for k in range(len(times))]
