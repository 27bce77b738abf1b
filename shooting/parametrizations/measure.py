"""How complex the control of a model is."""

from __future__ import annotations

import torch
from torch import Tensor

from shooting.errors import (
    require_type,
)
from shooting.flow import (
    Times,
)
from shooting.parametrizations.base import Controlled
from shooting.times import check_times, moves


def complexity(model: Controlled, times: Times) -> dict[str, Tensor]:
    r"""log2-Frobenius complexity of the control, integrated over depth, in both readings.

    Example:
        >>> model = DynamicParticles(UpDown(2, 8), particles=15)
        >>> values = complexity(model, [0.0, 0.5, 1.0])["squared"]

    Args:
        model: Any of the four models.
        times: Nodes of the quadrature; the solver's own nodes reproduce the published plots. Where
            the control jumps, at a kick or the end of a block, the interval that ends there counts
            the control after the jump, an error like the length of that interval: take fine times.

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
    t = torch.tensor(named, dtype=torch.float64)
    if (moved := moves(times)) is not None:
        t = t.to(moved.device) + moved
    t = t.to(matrices)
    dt = (t[1:] - t[:-1]).abs()

    def integral(s: Tensor) -> Tensor:
        return (dt * torch.log2((s[..., 1:] + s[..., :-1]) / 2)).sum(-1)

    return {"squared": integral(matrices), "norm": 0.5 * integral(everything)}
