"""Shallow networks x -> A sigma(W x + c) + b (Eq. 3.7 at one time), their slopes and bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shooting.activations import Activation, activation
from shooting.errors import require_finite, require_shape

# sup |sigma''| over the line: tanh has it where tanh^2 = 1/3, softplus at 0
MAX_CURVATURE = {"tanh": 4 / (3 * math.sqrt(3)), "softplus": 0.25, "identity": 0.0}


@dataclass(frozen=True)
class ShallowNet:
    """The vector field shl(x) = A sigma(W x + c) + b of Appendix D, at one time.

    Attributes:
        A: Outer weights theta1 ``(d, N)``.
        W: Inner weights theta2 ``(N, d)``.
        c: Inner biases b2 ``(N,)``.
        b: Outer bias b1 ``(d,)``.
        sigma: Activation.

    Raises:
        ValueError: If the shapes do not fit together or a weight is not finite.
    """

    A: Tensor
    W: Tensor
    c: Tensor
    b: Tensor
    sigma: Activation

    def __post_init__(self) -> None:
        n, d = self.W.shape
        advice = "N neurons in dimension d need A (d, N), W (N, d), c (N,), b (d,)"
        for value, shape, what in (
            (self.A, (d, n), "A"),
            (self.c, (n,), "c"),
            (self.b, (d,), "b"),
        ):
            require_shape(value, shape, f"weight {what}", advice)
            require_finite(value, f"weight {what}")
        require_finite(self.W, "weight W")

    @property
    def dim(self) -> int:
        """Dimension d."""
        return self.W.shape[1]

    @property
    def neurons(self) -> int:
        """Number N of neurons."""
        return self.W.shape[0]

    def inner(self, x: Tensor) -> Tensor:
        """W x + c, shape ``(n, N)`` for x ``(n, d)``."""
        return x @ self.W.T + self.c

    def __call__(self, x: Tensor) -> Tensor:
        """The velocity at x ``(n, d)``, same shape."""
        return self.sigma.value(self.inner(x)) @ self.A.T + self.b

    def jacobian(self, x: Tensor) -> Tensor:
        """A diag(sigma'(W x + c)) W at each row of x, shape ``(n, d, d)``."""
        outer: Tensor = torch.einsum("in,nj->nij", self.A, self.W).flatten(1)
        flat: Tensor = self.sigma.slope(self.inner(x)) @ outer
        return flat.view(-1, self.dim, self.dim)

    def lipschitz(self) -> float:
        """The bound |A| |W| sup|sigma'| on the Lipschitz constant over all of R^d (sup is 1)."""
        return float(torch.linalg.matrix_norm(self.A, 2) * torch.linalg.matrix_norm(self.W, 2))

    @property
    def smooth(self) -> bool:
        """Whether `curvature` is known: sigma is twice differentiable."""
        return self.sigma.name in MAX_CURVATURE

    def curvature(self) -> float:
        """A bound on |D^2 shl| over all of R^d.

        D^2 shl[h, h] = sum_j A_j sigma''(.) (W_j . h)^2, hence at most sup|sigma''| times both
        sum_j |A_j| |W_j|^2 and |A| (sum_j |W_j|^4)^(1/2).

        Raises:
            ValueError: If sigma is not twice differentiable.
        """
        if not self.smooth:
            raise ValueError(
                f"expected an activation with bounded second derivative, got {self.sigma.name!r}; "
                f"use one of {sorted(MAX_CURVATURE)} where a certified bound is wanted"
            )
        square = (self.W**2).sum(1)
        first = (torch.linalg.vector_norm(self.A, dim=0) * square).sum()
        second = torch.linalg.matrix_norm(self.A, 2) * torch.linalg.vector_norm(square)
        return MAX_CURVATURE[self.sigma.name] * float(torch.minimum(first, second))

    def padded(self, neurons: int) -> ShallowNet:
        """The same function with dead neurons added up to a total of `neurons`."""
        extra = neurons - self.neurons
        if extra < 0:
            raise ValueError(
                f"expected room for the {self.neurons} neurons of the network, got {neurons}; "
                "raise the inflation factor α, since α d must be at least the number of neurons"
            )
        a = torch.cat([self.A, self.A.new_zeros(self.dim, extra)], 1)
        w = torch.cat([self.W, self.W.new_zeros(extra, self.dim)])
        return ShallowNet(a, w, torch.cat([self.c, self.c.new_zeros(extra)]), self.b, self.sigma)


def random_features(
    dim: int, neurons: int, radius: float, generator: torch.Generator, *, slope: float = 1.5
) -> tuple[Tensor, Tensor]:
    """Inner weights (W, c) whose hyperplanes W_j x + c_j = 0 meet the ball B(0, radius).

    Args:
        dim: Dimension d.
        neurons: Number N.
        radius: Radius of the ball to be covered.
        generator: Source of randomness.
        slope: Length of the rows of W; small is smooth, large is local.

    Returns:
        W ``(N, d)`` and c ``(N,)``.
    """
    g = torch.randn(neurons, dim, generator=generator, dtype=torch.float64)
    w = slope * g / torch.linalg.vector_norm(g, dim=1, keepdim=True)
    offset = torch.rand(neurons, generator=generator, dtype=torch.float64)
    return w, slope * radius * (2 * offset - 1)


def fit_outer(
    features: tuple[Tensor, Tensor],
    x: Tensor,
    values: Sequence[Tensor],
    *,
    sigma: str | Activation = "tanh",
    ridge: float = 1e-6,
) -> list[ShallowNet]:
    """Least-squares outer weights (A, b) for given inner ones, one network per list of values.

    Args:
        features: Inner weights (W, c).
        x: Sample points ``(m, d)``.
        values: For each network the values to fit ``(m, d)``.
        sigma: Activation.
        ridge: Penalty on (A, b) relative to m: larger gives smaller weights and a worse fit.

    Returns:
        One network for each entry of `values`, all with the same (W, c).
    """
    (w, c), act = features, activation(sigma)
    phi = torch.cat([act.value(x @ w.T + c), torch.ones_like(x[:, :1])], 1)
    rows = math.sqrt(ridge * len(x)) * torch.eye(phi.shape[1], dtype=x.dtype)
    rhs = torch.cat(list(values), 1)
    target = torch.cat([rhs, rhs.new_zeros(len(rows), rhs.shape[1])])
    # the stacked system, not the normal equations, which would square the condition number
    outer = torch.linalg.lstsq(torch.cat([phi, rows]), target).solution
    parts = outer.T.split([v.shape[1] for v in values])
    return [ShallowNet(part[:, :-1], w, c, part[:, -1], act) for part in parts]
