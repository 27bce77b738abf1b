"""The fields of the paper, and two that show what a list of terms can say."""

from __future__ import annotations

from shooting.activations import Sigma, activation
from shooting.errors import require_count
from shooting.features import Activated, Patches
from shooting.fields import Drift, Field, Term, Weight
from shooting.spaces import Slot


class UpDown(Field):
    r"""The UpDown model (3.9).

    $$\dot x = \theta_1\sigma(v) + b_1, \qquad \dot v = \theta_2 x + b_2 + \theta_3\sigma(v).$$

    Example:
        >>> field = UpDown(2, 8, sigma="tanh")

    Args:
        dim: Dimension d of x.
        inflation: Inflation factor alpha; v has dimension alpha d.
        sigma: Activation: a name, an `Activation`, or any function that acts entry by entry.
        theta3_weight: Penalty weight of theta3 (Appendix E: 10).
        weight: Penalty weight of the other four terms.

    Raises:
        ValueError: If dim or inflation is not a positive integer, or a weight is not positive.
    """

    def __init__(
        self,
        dim: int,
        inflation: int,
        *,
        sigma: Sigma = "relu",
        theta3_weight: Weight = 10.0,
        weight: Weight = 1.0,
    ) -> None:
        self.dim = require_count(dim, "the dimension d")
        self.inflation = require_count(inflation, "the inflation factor α")
        self.sigma = activation(sigma)
        super().__init__(
            {"x": self.dim, "v": self.inflation * self.dim},
            [
                Term("theta1", "x", Activated("v", self.sigma), weight),
                Term("b1", "x", weight=weight),
                Term("theta2", "v", "x", weight),
                Term("b2", "v", weight=weight),
                Term("theta3", "v", Activated("v", self.sigma), theta3_weight),
            ],
        )


class Affine(Field):
    r"""The affine model (3.5): $\dot x = A\sigma(x) + b$.

    The penalty is $\tfrac12\langle A, M_A A\rangle + \tfrac12\langle b, M_b b\rangle$.

    Example:
        >>> field = Affine(2, sigma="tanh")

    Args:
        dim: Dimension d of x.
        sigma: Activation.
        weight: M_A: a positive number or a symmetric positive definite ``(d, d)`` matrix.
        bias_weight: M_b, likewise.
    """

    def __init__(
        self,
        dim: int,
        *,
        sigma: Sigma = "relu",
        weight: Weight = 1.0,
        bias_weight: Weight = 1.0,
    ) -> None:
        self.dim = require_count(dim, "the dimension d")
        self.sigma = activation(sigma)
        terms = [
            Term("A", "x", Activated("x", self.sigma), weight),
            Term("b", "x", weight=bias_weight),
        ]
        super().__init__({"x": self.dim}, terms)


class SecondOrder(Field):
    r"""A second-order field: $\dot x = v$ without control, $\dot v = \theta_1\sigma(x) + b$.

    Example:
        >>> field = SecondOrder(3, sigma="tanh")

    Args:
        dim: Dimension d of x and of v.
        sigma: Activation.
        weight: Penalty weight of both terms.
    """

    def __init__(self, dim: int, *, sigma: Sigma = "relu", weight: Weight = 1.0) -> None:
        self.dim = require_count(dim, "the dimension d")
        self.sigma = activation(sigma)
        terms = [
            Term("theta1", "v", Activated("x", self.sigma), weight),
            Term("b", "v", weight=weight),
        ]
        super().__init__({"x": self.dim, "v": self.dim}, terms, drift=[Drift("x", "v")])


class ConvUpDown(Field):
    r"""UpDown on images: every matrix becomes a convolution, with weights shared over sites.

    $$\dot x = \theta_1 * \sigma(v) + b_1, \quad
    \dot v = \theta_2 * x + b_2 + \theta_3 * \sigma(v).$$

    Example:
        >>> field = ConvUpDown(channels=1, inflation=2, sites=(8, 8))

    Args:
        channels: Number C of channels of x.
        inflation: Inflation factor alpha; v has alpha C channels.
        sites: Height and width of the images.
        kernel: Odd side length of the kernels.
        padding: ``periodic`` or ``zero``.
        sigma: Activation.
        theta3_weight: Penalty weight of theta3.
        weight: Penalty weight of the other four terms.
    """

    def __init__(
        self,
        channels: int,
        inflation: int,
        *,
        sites: tuple[int, int],
        kernel: int = 3,
        padding: str = "zero",
        sigma: Sigma = "relu",
        theta3_weight: Weight = 10.0,
        weight: Weight = 1.0,
    ) -> None:
        self.channels = require_count(channels, "the number of channels")
        self.inflation = require_count(inflation, "the inflation factor α")
        if len(Slot(1, sites).sites) != 2:
            raise ValueError(f"expected height and width of images, got {sites}; try (28, 28)")
        self.sigma = activation(sigma)
        x = Patches("x", kernel, None, padding)
        v = Patches("v", kernel, self.sigma, padding)
        super().__init__(
            {"x": Slot(self.channels, sites), "v": Slot(self.inflation * self.channels, sites)},
            [
                Term("theta1", "x", v, weight),
                Term("b1", "x", weight=weight),
                Term("theta2", "v", x, weight),
                Term("b2", "v", weight=weight),
                Term("theta3", "v", v, theta3_weight),
            ],
        )
