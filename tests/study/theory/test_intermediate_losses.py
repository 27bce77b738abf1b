"""C15: costates jump at observations: direct optimum, kicked shooting, smooth shooting."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from shooting import Affine, DynamicParticles, ParticleInit, UpDown, normal
from shooting.fields import Field
from shooting.study.theory import intermediate_losses as k


def turned(x: torch.Tensor, angle: float) -> torch.Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return x @ torch.tensor([[c, s], [-s, c]], dtype=x.dtype)


def there_and_back(points: int = 5, weight: float = 10.0) -> k.Watched:
    angle = torch.arange(points, dtype=torch.float64) * 2 * math.pi / points
    x = torch.stack([angle.cos(), angle.sin()], dim=1)
    field = Affine(2, sigma="tanh")
    return k.Watched(field, x, (0.5, 1.0), torch.stack([turned(x, math.pi / 3), x]), weight)


def random_state(field: Field, rows: int, seed: int, scale: float = 1.0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, field.size, generator=g, dtype=torch.float64)


@pytest.fixture(scope="module")
def problem() -> k.Watched:
    return there_and_back()


@pytest.fixture(scope="module")
def direct(problem):
    return k.solve_watched(problem, 20)


@pytest.fixture(scope="module")
def costates(problem):
    return k.solve_kicked(problem, step=0.05)


def test_kicked_shooting_is_the_direct_optimum(problem, direct, costates):
    assert direct.residual < 1e-6  # L-BFGS stops at 1e-7
    # a square system: the residual is at rounding level, times the condition number
    assert float(k.end_gap(problem, costates, step=0.05).abs().max()) < 1e-9
    shot = k.shoot_with_kicks(problem, problem.start, costates, k.exact_kick(problem), step=0.05)
    kicked = float(k.value(problem, shot))
    assert abs(kicked / direct.value - 1) < 1e-4  # both are of fourth order in 1/20
    # control: the same costates without the kick miss by far
    smooth = k.shoot_with_kicks(problem, problem.start, costates, None, step=0.05)
    assert float(k.value(problem, smooth)) > 1.2 * direct.value


def test_a_search_that_does_not_arrive_is_an_error(problem, costates):
    """At lambda = 30 Newton's method from zero ends with |F| above 1000."""
    far = replace(problem, weight=30.0)
    with pytest.raises(ArithmeticError, match=r"expected .* at lambda = 30, got .*; try first="):
        k.solve_kicked(far, step=0.05)
    p = costates
    for weight in (12.0, 15.0, 20.0, 30.0):  # control: the same lambda, reached in small steps
        p = k.solve_kicked(replace(problem, weight=weight), first=p, step=0.05)
    # the residual is at rounding level, times the condition number
    assert float(k.end_gap(far, p, step=0.05).abs().max()) < 1e-9


def test_direct_control_jumps_as_predicted(problem, direct):
    half = direct.states.shape[0] // 2
    predicted = k.jump(problem, 0, direct.states[half])
    for name, theta in direct.theta.items():
        # stages of the 3/8 rule sit at 0, 1/3, 2/3, 1: last before and first after t_1
        found = theta[half, 0] - theta[half - 1, -1]
        # stage controls approximate theta(t) to about h^2 = 2.5e-3
        assert float((found - predicted[name]).norm()) < 1e-2 * float(predicted["A"].norm())
    wrong = theta_sign_error(direct, half, predicted)
    assert wrong > 1  # control: the jump with the other sign


def test_learned_kicks_of_the_library_are_the_predicted_jumps(problem, direct):
    """p(0) and kicks learned from zero: nothing tells the model of costates."""
    model = k.learn_kicks(problem, step=0.1, iterations=250)
    found = float(k.objective(problem, model).detach())
    # both are of fourth order in 1/10 or 1/20, and L-BFGS is stopped early
    assert abs(found / direct.value - 1) < 1e-3
    half = direct.states.shape[0] // 2
    predicted = problem.weight * problem.gradient(0, direct.states[half])
    size = float(predicted.norm())
    assert float((model.kicks[0].detach() - predicted).norm()) < 2e-2 * size
    assert float((model.kicks[0].detach() + predicted).norm()) > size  # control: the sign
    with torch.no_grad():
        model.kicks.zero_()
    assert float(k.objective(problem, model).detach()) > 1.2 * direct.value  # control: no kick


def test_the_objective_integrates_over_the_whole_depth():
    long = replace(there_and_back(), times=(1.0, 2.0))
    model = DynamicParticles(
        long.field, 5, init=ParticleInit(p=normal(1.0)), seed=0, kicks=(1.0,)
    ).to(long.start)
    nodes = torch.linspace(0, 2, 201, dtype=torch.float64)
    with torch.no_grad():
        path = model(long.start, (0.0, *long.times))[1:]
        cost = float(k.objective(long, model) - long.weight * long.loss(path.unbind(0)))
        rates = long.field.penalty(model.theta(nodes))
    # of one level, since the kicks are zero; the solver of default step keeps it to 1e-4
    assert cost == pytest.approx(float(torch.trapezoid(rates, nodes)), rel=1e-3)


def theta_sign_error(direct, half, predicted) -> float:
    found = direct.theta["A"][half, 0] - direct.theta["A"][half - 1, -1]
    return float((found + predicted["A"]).norm() / predicted["A"].norm())


def test_penalty_is_piecewise_constant(problem, costates):
    shot = k.shoot_with_kicks(problem, problem.start, costates, k.exact_kick(problem), step=0.05)
    before, after = (float(r) for r in k.levels(problem, shot))
    end = float(problem.field.energy(*shot.ends[0]))
    assert abs(end - before) < 1e-5 * before  # drift of RK4 over one segment
    assert abs(after - before) > 0.1 * before  # control: T H(0) is not the penalty


@pytest.mark.parametrize("name", ["affine", "updown"])
def test_every_kicked_ensemble_is_critical_for_its_own_data(name):
    field = Affine(2, sigma="tanh") if name == "affine" else UpDown(1, 2, sigma="tanh")
    q, p = random_state(field, 3, 0), random_state(field, 3, 1, 0.5)
    kick = random_state(field, 3, 2, 0.5)[None]
    d, weight = field.size, 2.0  # the losses see the whole state
    blank = k.Watched(field, q, (0.4, 1.0), torch.zeros(2, 3, d, dtype=q.dtype), weight)
    shot = k.shoot_with_kicks(blank, q, p, kick, step=0.025)
    (middle, _), (end, costate) = shot.ends
    own = torch.stack([middle - kick[0] / weight, end + costate / weight])
    slope = k.first_variation(replace(blank, targets=own), q, p, kick, step=0.025)
    assert float(slope.abs().max()) < 1e-6  # fourth order in 0.025
    wrong = torch.stack([middle + kick[0] / weight, end + costate / weight])
    off = k.first_variation(replace(blank, targets=wrong), q, p, kick, step=0.025)
    assert float(off.abs().max()) > 1e-2  # control: a kick of the other sign


def test_smooth_ensembles_stay_above_and_are_not_critical(problem, direct):
    p = random_state(problem.field, 5, 1, 0.3)
    shot, value = k.fit_ensemble(problem, problem.start, p, kicked=False)
    assert value > 1.2 * direct.value
    q, p = shot.starts[0]
    slope = k.first_variation(problem, q, p, None)
    assert float(slope.abs().max()) > 0.1


def test_learned_kicks_repair_a_small_ensemble(problem, direct):
    q, p = random_state(problem.field, 4, 0), random_state(problem.field, 4, 1, 0.3)
    _, kicked = k.fit_ensemble(problem, q, p, kicked=True)
    _, smooth = k.fit_ensemble(problem, q, p, kicked=False)
    assert -1e-4 < kicked / direct.value - 1 < 0.02
    assert smooth / direct.value - 1 > 0.2  # control


def test_exact_and_learned_kicks_are_the_same_shot(problem, costates):
    rule = k.exact_kick(problem)
    one = k.shoot_with_kicks(problem, problem.start, costates, rule)
    kick = rule(0, one.ends[0][0])[None]
    two = k.shoot_with_kicks(problem, problem.start, costates, kick)
    assert torch.equal(one.data[-1], two.data[-1])


def test_residuals_square_to_the_objective(problem, costates):
    shot = k.shoot_with_kicks(problem, problem.start, costates, k.exact_kick(problem))
    r = k.residuals(problem, shot)
    assert torch.isclose(0.5 * (r**2).sum(), k.value(problem, shot), rtol=1e-12)


def test_observation_between_nodes_is_refused(problem):
    with pytest.raises(ValueError, match="divides every gap"):
        k.solve_watched(problem, 15)


def test_entries_that_rest_at_the_kink_are_counted():
    t = torch.linspace(-1, 1, 41)
    crossing = torch.stack([t, t + 0.02], dim=-1)  # through zero, at a node and between two
    assert k.resting(crossing) == 0
    stuck = crossing.clone()
    stuck[10:13, 0] = 0.0
    assert k.resting(stuck) == 2  # control: three nodes in turn
