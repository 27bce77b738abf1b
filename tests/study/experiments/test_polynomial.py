"""The ridge finds polynomial fields again, and only these."""

from __future__ import annotations

import pytest
import torch

from shooting.study.data.systems import snippets, system, velocity
from shooting.study.experiments.polynomial import (
    PolynomialField,
    exponents,
    features,
    quadrature,
    ridge,
)

pytestmark = pytest.mark.usefixtures("float64")
TIMES = (0.0, 0.25, 0.5, 0.75, 1.0)


def test_features_are_all_monomials():
    assert exponents(2, 2) == [(), (0,), (1,), (0, 0), (0, 1), (1, 1)]
    found = features(torch.tensor([[2.0, 3.0]]), 2)
    assert found.tolist() == [[1, 2, 3, 4, 6, 9]]
    assert [len(exponents(d, 3)) for d in (2, 3, 4)] == [10, 20, 35]


def test_quadrature_is_exact_for_polynomials_up_to_the_number_of_samples():
    t = torch.tensor(TIMES)
    weights = quadrature(TIMES)
    for n in range(5):
        # rounding of an inverse of condition number some 1e3
        torch.testing.assert_close(weights @ t**n, t ** (n + 1) / (n + 1), atol=1e-11, rtol=0)
    assert (weights @ t**6 - t**7 / 7).abs().max() > 1e-4  # control


@pytest.mark.parametrize("name", ["lotka_volterra", "van_der_pol", "duffing", "lorenz", "pendulum"])
def test_polynomial_fields_are_found_and_the_pendulum_is_not(name):
    data = snippets(name, (0, 1), 100, "train")
    model = ridge(data, TIMES, penalty=1e-10)
    test = snippets(name, (5,), 50, "other")[:, 0]
    found = features(test, 3) @ model.coefficients[0] / 4  # per sample, a quarter of a snippet
    true = velocity(name, test)
    miss = (found - true).norm() / true.norm()
    # the quadrature's error of order h^6; a sine is 2 % off a cubic
    assert (miss < 0.01) == system(name).polynomial, float(miss)


def test_the_call_is_that_of_the_other_models():
    model = PolynomialField(torch.tensor([[[0.0], [-1.0]], [[0.0], [1.0]]]), 1)
    path = model(torch.ones(1, 1), [0.0, 1.0])
    assert path.shape == (2, 2, 1, 1)
    # RK4 at step 0.05: error some 1e-8
    torch.testing.assert_close(path[:, 1, 0, 0], torch.tensor([-1.0, 1.0]).exp(), atol=1e-6, rtol=0)
    assert model.count == 2
