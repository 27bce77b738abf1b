"""Metrics: M, its inverse, its root and its square agree; what may change later is copied."""

from __future__ import annotations

import pytest
import torch
from problems import EXACT, draw, gap, refused, spd

from shooting import Affine, DynamicParticles, Metric
from shooting.metrics import MatrixMetric, metric

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("kind", ["number", "matrix"])
@pytest.mark.parametrize("runs", [(), (2, 3)])
def test_all_readings_are_of_one_matrix(kind, runs):
    matrix = 3.0 * torch.eye(4) if kind == "number" else spd(0, 4)
    m = metric(3.0 if kind == "number" else matrix)
    theta = draw(1, *runs, 4, 5)
    assert gap(m.apply(theta), matrix @ theta) <= EXACT
    assert gap(m.solve(theta), torch.linalg.solve(matrix, theta)) <= EXACT
    assert gap(m.solve_rows(theta.mT), torch.linalg.solve(matrix, theta).mT) <= EXACT
    assert gap(m.square(theta), (theta * (matrix @ theta)).sum((-1, -2))) <= EXACT
    assert gap((m.root(theta) ** 2).sum((-1, -2)), m.square(theta)) <= EXACT
    wrong = m.square(2 * theta)  # control: quadratic, not linear
    assert gap(wrong, 2 * m.square(theta)) > 0.5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_matrix_of_half_precision_is_a_metric(dtype):
    matrix = torch.tensor([[2.0, 1.0], [1.0, 2.0]])  # without rounding in any precision
    m, theta = MatrixMetric(matrix.to(dtype)), draw(1, 2, 5)
    assert gap((m.root(theta) ** 2).sum(), m.square(theta)) <= 1e-6  # a root in single precision
    with refused("positive definite"):  # the control
        MatrixMetric(torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=dtype))


def test_numbers_and_matrices_say_what_they_are():
    assert (metric(2).number, float(metric(2)), str(metric(10.0))) == (2.0, 2.0, "10")
    assert (MatrixMetric(torch.eye(2)).number, MatrixMetric(torch.eye(2)).size) == (None, 2)
    same = Metric(2.0)
    assert metric(same) is same
    with pytest.raises(TypeError, match=r"expected a scalar weight, got a matrix; use"):
        float(MatrixMetric(torch.eye(2)))


def test_a_matrix_changed_after_building_changes_nothing():
    """Values of a model with W = 2, before and after W is doubled in place."""
    weight = 2 * torch.eye(2)
    field = Affine(2, sigma="tanh", weight=weight)
    model, x = DynamicParticles(field, particles=4, seed=0).double(), draw(0, 3, 2)
    before = model(x, [0.0, 1.0]).detach(), model.penalty().detach()
    weight.mul_(2)
    assert torch.equal(model(x, [0.0, 1.0]), before[0])
    assert torch.equal(model.penalty(), before[1])
    start = model.start()
    assert gap(field.penalty(field.theta(*start)), field.energy(*start)) <= EXACT
    other = Affine(2, sigma="tanh", weight=weight)  # control: the doubled matrix is another field
    assert gap(other.energy(*start), before[1]) > 1e-6


def test_a_trained_matrix_is_refused():
    with refused("'A'", "trained", "detach"):
        Affine(2, weight=torch.nn.Parameter(torch.eye(2)))


def test_a_field_does_not_change():
    field = Affine(2)
    for name in ("terms", "sigma", "drift", "shapes", "new"):
        with refused(repr(name), error=AttributeError):
            setattr(field, name, ())
