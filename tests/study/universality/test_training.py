"""A short training: better than the identity, and its energy is the conserved Hamiltonian."""

import pytest
import torch

from shooting.study.universality.bounds import ball_cover
from shooting.study.universality.targets import pulsating_rotation
from shooting.study.universality.training import FlowTask, sup_error, train_particles

pytestmark = pytest.mark.usefixtures("float64")


def test_particles_learn_a_rotation():
    target, x = pulsating_rotation(), ball_cover(2, 0.9, 0.2)
    still = float((target.flow(x)[-1] - x).norm(dim=1).max())
    model, result = train_particles(target, x, epochs=40, seeds=(0, 1))
    assert bool(result.alive.all())
    worst = float(sup_error(model, x, target.flow(x)[-1]).max())
    assert worst < still / 2  # the identity map is the control
    q, p = model.particle_path([0.0, 0.5, 1.0])
    energies = model.field.energy(q, p).detach()
    assert energies.dtype == torch.float32
    # RK4 with ten steps: H is conserved to fourth order
    assert torch.allclose(energies, model.penalty().detach().unsqueeze(1), rtol=1e-3)


def test_objective_is_energy_plus_weighted_error():
    target, x = pulsating_rotation(), ball_cover(2, 0.9, 0.3)
    model, _ = train_particles(target, x, epochs=1, seeds=(0,), dtype=torch.float64)
    gap = model(x, [0.0, 1.0])[:, -1] - target.flow(x)[-1]
    sought = model.penalty() + 7 * (gap**2).sum(-1).mean(-1)
    assert torch.allclose(FlowTask(target, x, 7.0).monitor(model), sought)
