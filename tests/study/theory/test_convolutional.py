"""C18: convolutional shooting: explicit equations, energy, order, and particles of another size."""

from __future__ import annotations

import math

import pytest
import torch

from shooting.hamiltonian import autodiff_system
from shooting.study.theory import convolutional as cv
from shooting.study.theory.invariants import march


def images(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=g, dtype=torch.float64)


@pytest.mark.parametrize(("channels", "kernel"), [(1, 3), (3, 3), (2, 5)])
def test_explicit_equations_are_the_canonical_ones(channels, kernel):
    field = cv.ConvField(channels, kernel, weight=2.0, bias_weight=3.0)
    q, p = images(2, channels, 6, 7), images(2, channels, 6, 7, seed=1, scale=0.1)
    explicit = cv.conv_system(field)(q, p)
    canonical = [t.detach() for t in autodiff_system(field.energy)(q, p)]
    assert max(float((a - b).abs().max()) for a, b in zip(explicit, canonical, strict=True)) < 1e-12
    w, b = field.theta(q, p)
    unflipped = field.pull_back(q, p, (w.flip((2, 3)), b))  # control: correlation, not its adjoint
    assert float((unflipped + canonical[1]).abs().max()) > 1e-3


def test_energy_equals_penalty_and_is_conserved_to_fourth_order():
    field = cv.ConvField(3)
    q, p = images(2, 3, 6, 6), images(2, 3, 6, 6, seed=1, scale=0.08)
    start = float(field.energy(q, p))
    assert abs(start - float(field.penalty(field.theta(q, p)))) < 1e-12
    drift = []
    for steps in (10, 20, 40):
        end = cv.conv_shoot(field, q, p, q[:0], steps=steps)
        drift.append(abs(float(field.energy(end[0], end[1])) - start))
    assert min(math.log2(a / b) for a, b in zip(drift, drift[1:], strict=False)) > 3.7

    def unflipped(q, p):
        w, b = field.theta(q, p)
        return field.velocity(q, (w, b)), -field.pull_back(q, p, (w.flip((2, 3)), b))

    for steps in (20, 40):  # control: another equation has no order at all
        end = march(unflipped, q, p, steps)
        assert abs(float(field.energy(end[0][-1], end[1][-1])) - start) > 1


def test_small_periodic_particles_move_large_images_like_tiled_ones():
    field = cv.ConvField(2)
    q, p, x = images(2, 2, 5, 5), images(2, 2, 5, 5, seed=1, scale=0.1), images(1, 2, 15, 15)
    small = cv.conv_shoot(field, q, p, x, steps=5)[2]
    large = cv.conv_shoot(field, *cv.tile(q, p, 3), x, steps=5)[2]
    assert float((small - large).abs().max()) < 1e-12
    wrong = cv.conv_shoot(field, q.repeat(1, 1, 3, 3), p.repeat(1, 1, 3, 3), x, steps=5)[2]
    assert float((small - wrong).abs().max()) > 1e-2  # control: momenta not divided


def test_one_image_makes_a_kernel_of_full_rank_and_one_pixel_does_not():
    field = cv.ConvField(6)
    image, _ = field.theta(images(1, 6, 8, 8), images(1, 6, 8, 8, seed=1))
    pixel, _ = field.theta(images(1, 6, 1, 1).expand(1, 6, 3, 3), images(1, 6, 3, 3, seed=1))
    assert int(torch.linalg.matrix_rank(image.flatten(1))) == 6
    assert int(torch.linalg.matrix_rank(pixel.flatten(1))) == 1
