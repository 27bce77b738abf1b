"""C30: discrete Pontryagin: a trained network, its shot, its order, its conserved momentum."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from shooting import Affine, Solver, UpDown, shoot
from shooting.hamiltonian import kernel_system, momentum_map
from shooting.study.theory import discrete as dc
from shooting.study.theory.direct import Optimum, Problem, solve_direct
from shooting.study.theory.invariants import march

LAYERS = 8


def problem() -> Problem:
    angle = torch.arange(6, dtype=torch.float64) * math.pi / 3
    x = torch.stack([angle.cos(), angle.sin()], dim=1)
    y = torch.stack([0.4 * x[:, 0], 1.3 * x[:, 1] + 0.3 * x[:, 0] ** 2], dim=1)
    return Problem(Affine(2, sigma="tanh"), x, y, 10.0, float(LAYERS))  # h = 1: a plain ResNet


@pytest.fixture(scope="module")
def network() -> Optimum:
    return solve_direct(problem(), LAYERS, seed=0, tolerance=1e-10)


def ensemble(seed: int = 0, scale: float = 0.4) -> tuple[UpDown, torch.Tensor, torch.Tensor]:
    field, g = UpDown(2, 3, sigma="tanh"), torch.Generator().manual_seed(seed)
    q, p = torch.randn(2, 4, 8, generator=g, dtype=torch.float64)
    return field, q, scale * p


def test_trained_weights_are_sums_over_costates(network):
    field = problem().field
    late = dc.weights_from_costates(field, network.states, network.costates)
    early = dc.weights_from_costates(field, network.states, network.costates, late=False)
    for name, theta in network.theta.items():
        assert float((late[name] - theta[:, 0]).abs().max()) < 1e-6  # L-BFGS stops near 1e-8
    assert float((early["A"] - network.theta["A"][:, 0]).abs().max()) > 1e-2  # control: p_k


@pytest.mark.parametrize("rule", dc.RULES)
def test_shooting_returns_all_layers_of_the_network(network, rule):
    q, p = network.states[0], network.costates[0]
    path = dc.discrete_shoot(problem().field, q, p, layers=LAYERS, h=1.0, rule=rule)
    assert path.residual < 1e-11
    # errors of the optimiser (1e-8) grow along the layers
    assert float((path.theta["A"] - network.theta["A"][:, 0]).abs().max()) < 1e-5
    assert float((path.q[-1] - network.states[-1]).abs().max()) < 1e-4
    other = dc.discrete_shoot(problem().field, q, 1.1 * p, layers=LAYERS, h=1.0, rule=rule)
    assert float((other.q[-1] - network.states[-1]).abs().max()) > 1e-3  # control


def test_order_one_and_exact_momentum():
    field, q, p = ensemble()
    reference = shoot(field, q, p, q[:0], [0.0, 1.0], solver=Solver(step=0.005)).q[-1]
    errors = []
    for layers in (40, 80, 160):
        path = dc.discrete_shoot(field, q, p, layers=layers, h=1 / layers, rule="fixed point")
        errors.append(float((path.q[-1] - reference).abs().max()))
        j = momentum_map(field, path.q, path.p)
        assert float((j - j[0]).abs().max()) < 1e-12
        energy = field.energy(path.q, path.p)
        assert float((energy - energy[0]).abs().max()) > 1e-3  # control: H is not exact
    plain = march(kernel_system(field), q, p, 160, method="euler")
    j = momentum_map(field, *plain)
    assert float((j - j[0]).abs().max()) > 0.1  # control: p_k in place of p_(k+1)
    for a, b in zip(errors, errors[1:], strict=False):
        assert 0.9 < math.log2(a / b) < 1.1


def radii(network: Optimum) -> list[float]:
    at = zip(network.states[:-1], network.costates[1:], strict=True)
    return [float(dc.multipliers(problem().field, x, r, 1.0).abs().max()) for x, r in at]


def largest_multipliers(network: Optimum) -> list[float]:
    at = zip(network.states[:-1], network.costates[1:], strict=True)
    return [dc.largest_real(dc.multipliers(problem().field, x, r, 1.0)) for x, r in at]


def test_before_the_turn_no_multiplier_passes_one(network):
    assert max(largest_multipliers(network)) < 1


def test_largest_real_looks_at_real_eigenvalues_only():
    values = torch.tensor([0.5 + 0j, 2 + 1j, 2 - 1j, -3 + 0j])
    assert dc.largest_real(values) == 0.5
    assert dc.largest_real(values[1:3]) == -math.inf


def test_multipliers_are_those_of_the_map():
    """Against differences of the map itself; the sign tells a turn from a mere oscillation."""
    field, q, p = ensemble()
    h, eps = 0.3, 1e-6

    def image(r: torch.Tensor) -> torch.Tensor:
        return r - dc.layer_equation(field, q, p, r, h)

    moves = eps * torch.eye(p.numel(), dtype=p.dtype)
    columns = [(image(p + m.view_as(p)) - image(p - m.view_as(p))).flatten() for m in moves]
    expected = torch.linalg.eigvals(torch.stack(columns, 1) / (2 * eps))
    found = dc.multipliers(field, q, p, h)
    distance = (found[:, None] - expected[None]).abs()
    # central differences with step 1e-6: error about 1e-10, eigenvalues are no worse than its root
    assert float(distance.min(0).values.max()) < 1e-5
    assert float(distance.min(1).values.max()) < 1e-5
    turned = (found[:, None] + expected[None]).abs()
    assert float(turned.min(0).values.max()) > 1e-3  # control: the other sign


def test_contraction_predicts_the_iterations(network):
    found = radii(network)
    assert max(found) < 1
    worst = found.index(max(found))
    _, count = dc.next_costate(
        problem().field, network.states[worst], network.costates[worst], 1.0, rule="fixed point"
    )
    # linear convergence to 1e-13 at the rate of the spectral radius, up to a constant factor
    assert 0.7 < count * math.log(max(found)) / math.log(1e-13) < 1.3


def test_a_strongly_trained_network_is_not_determined_by_its_first_costates():
    strong = replace(problem(), weight=20.0)
    network = solve_direct(strong, LAYERS, seed=0, tolerance=1e-10)
    assert max(largest_multipliers(network)) > 1  # past +1, not merely large: the branch has turned
    for k in range(LAYERS):  # the network's own costates solve every layer's equation ...
        pair = network.costates[k], network.costates[k + 1]
        gap = dc.layer_equation(strong.field, network.states[k], *pair, 1.0)
        assert float(gap.abs().max()) < 1e-6  # up to where L-BFGS stopped
    start = network.states[0], network.costates[0]
    path = dc.discrete_shoot(strong.field, *start, layers=LAYERS, h=1.0)
    assert path.residual < 1e-11  # ... and so do those of another network
    assert float((path.q[-1] - network.states[-1]).abs().max()) > 0.1


def test_coarse_steps_lose_the_solution_and_fine_steps_find_it():
    field, q, p = ensemble(scale=0.4)
    for rule in dc.RULES:
        coarse = dc.discrete_shoot(field, q, p, layers=3, h=1 / 3, rule=rule)
        fine = dc.discrete_shoot(field, q, p, layers=10, h=0.1, rule=rule)
        assert not coarse.residual < 1e-6
        assert fine.residual < 1e-10


def test_unknown_rule_is_refused():
    field, q, p = ensemble()
    with pytest.raises(ValueError, match="expected a rule among"):
        dc.next_costate(field, q, p, 0.1, rule="guess")
