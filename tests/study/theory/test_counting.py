"""C1, C31: counts of Appendix B against the models themselves, and the rank of theta(.)."""

from __future__ import annotations

import pytest
import torch

from shooting import UpDown
from shooting.fields import Field
from shooting.parametrizations import DynamicDirect, DynamicParticles, StaticDirect, StaticParticles
from shooting.study.theory import counting as c
from shooting.study.theory.rank_scan import all_on, mixings

TABLES = [(1, c.TABLE_1_INFLATION, c.TABLE_1), (2, c.TABLE_2_INFLATION, c.TABLE_2)]
ENTRIES = [
    (dim, alpha, row, count)
    for dim, inflations, table in TABLES
    for row, counts in table.items()
    for alpha, count in zip(inflations, counts, strict=True)
]


def model_counts(dim: int, alpha: int, row: str) -> set[int]:
    """What the models of that row count themselves: one number if all agree."""
    field = UpDown(dim, alpha)
    if row == "static direct":
        return {StaticDirect(field, seed=0).count}
    if row == "dynamic direct":
        return {DynamicDirect(field, blocks=5, seed=0).count}
    k = int(row.split("=")[1])
    return {StaticParticles(field, k, seed=0).count, DynamicParticles(field, k, seed=0).count}


def formula(dim: int, alpha: int, row: str) -> int:
    if row.endswith("direct"):
        return c.direct_count(dim, alpha, blocks=5 if row.startswith("dynamic") else 1)
    return c.particle_count(dim, alpha, particles=int(row.split("=")[1]))


def test_there_are_56_printed_entries():
    assert len(ENTRIES) == 56


@pytest.mark.parametrize(("dim", "alpha", "row", "count"), ENTRIES)
def test_printed_count_is_the_formula_and_the_model(dim, alpha, row, count):
    assert formula(dim, alpha, row) == count
    assert model_counts(dim, alpha, row) == {count}


def test_control_without_lift_no_entry_matches():
    assert not any(formula(d, a, row) - c.lift_count(d, a) == count for d, a, row, count in ENTRIES)


@pytest.mark.parametrize("dim", [1, 2, 5])
@pytest.mark.parametrize("particles", [1, 2, 15, 50])
@pytest.mark.parametrize("blocks", [1, 5])
def test_break_even_is_where_the_counts_cross_for_good(dim, particles, blocks):
    start = c.break_even(dim, particles=particles, blocks=blocks)
    fewer = [
        c.particle_count(dim, a, particles=particles) < c.direct_count(dim, a, blocks=blocks)
        for a in range(1, 120)
    ]
    assert start == 1 + next(i for i in range(119) if all(fewer[i:]))


def test_convolutional_estimate():
    weights = c.conv_count(100, 4, depth=50)
    assert weights == 8_000_000
    assert weights / (2 * 40) == 1e5  # reading S = 40
    assert weights / 40 == 2e5  # reading 2 S = 40
    assert c.conv_state(100, 1, 1) > 40  # the smallest image already exceeds it


def ensemble(field: Field, k: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    draw = [torch.randn(k, field.size, generator=g, dtype=torch.float64) for _ in range(2)]
    return draw[0], 0.7 * draw[1]


TIMES = torch.linspace(0, 1, 41, dtype=torch.float64)


@pytest.mark.parametrize("sigma", ["tanh", "softplus"])
@pytest.mark.parametrize(("dim", "alpha"), [(2, 1), (1, 3)])
def test_smooth_activations_use_all_numbers(sigma, dim, alpha):
    field = UpDown(dim, alpha, sigma=sigma)
    q, p = ensemble(field, 3, 0)
    assert c.numerical_rank(c.control_jacobian(field, q, p, TIMES)) == 24


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize(("dim", "alpha", "k"), [(2, 1, 3), (1, 3, 3), (2, 2, 3), (1, 2, 4)])
def test_relu_rank_follows_from_the_firing(biased, dim, alpha, k):
    field = UpDown(dim, alpha) if biased else c.without_biases(UpDown(dim, alpha))
    for seed in range(3):
        q, p = ensemble(field, k, seed)
        rank = c.numerical_rank(c.control_jacobian(field, q, p, TIMES, step=0.025))
        fires = c.firing(field, q, p, TIMES, step=0.025)
        assert rank == c.relu_rank(field, fires)
        assert rank < 2 * q.numel()  # control: 2 K S is not the answer here


@pytest.mark.parametrize(
    ("dim", "alpha", "m", "biased", "rank"),
    [
        (1, 1, 3, False, 4),
        (1, 1, 4, False, 4),
        (1, 2, 5, False, 9),
        (1, 1, 4, True, 6),
        (1, 2, 5, True, 12),
        (2, 1, 6, True, 20),
    ],
)
def test_more_particles_than_entries_fill_a_matrix_and_no_more(dim, alpha, m, biased, rank):
    """All units fire: S^2 numbers act, or S (S + 1) with biases, whatever m is."""
    e = all_on(dim, alpha, m, biases=biased)
    fires = c.firing(e.field, e.q, e.p, TIMES, step=0.025)
    assert c.firing_groups(fires) == [(m, alpha * dim)]
    jacobian = c.control_jacobian(e.field, e.q, e.p, TIMES, step=0.025)
    assert c.numerical_rank(jacobian) == c.relu_rank(e.field, fires) == rank
    assert mixings(e.field, fires) != rank  # control: the count of mixings


def test_dead_particles_act_by_the_sum_of_their_momenta():
    """Two dead particles with biases: p_x acts by its sum, and p_v (x, 1)^T has rank two."""
    field = UpDown(2, 2)
    q, p = ensemble(field, 2, 0)
    q[:, 2:] = -4 - q[:, 2:].abs()
    fires = c.firing(field, q, 0.3 * p, TIMES, step=0.025)
    assert c.firing_groups(fires) == [(2, 0)]
    jacobian = c.control_jacobian(field, q, 0.3 * p, TIMES, step=0.025)
    assert c.numerical_rank(jacobian) == c.relu_rank(field, fires) == 2 + 2 * (4 + 3 - 2)
    assert mixings(field, fires) > 12  # control: it lets each p_x act


def test_low_rank_dimension_is_that_of_the_tangent_space():
    g = torch.Generator().manual_seed(0)
    for rank, rows, columns in ((1, 3, 4), (2, 3, 4), (3, 3, 4), (5, 3, 4)):
        left = torch.randn(rank, rows, generator=g, dtype=torch.float64)
        right = torch.randn(rank, columns, generator=g, dtype=torch.float64)
        slope = torch.autograd.functional.jacobian(lambda a, b: a.T @ b, (left, right))
        flat = torch.cat([s.reshape(rows * columns, -1) for s in slope], 1)
        assert c.numerical_rank(flat) == c.low_rank_dimension(rank, rows, columns)


def test_control_rank_prediction_of_the_biased_field_fails_without_biases():
    field = UpDown(2, 1)
    bare = c.without_biases(field)
    q, p = ensemble(bare, 3, 0)
    rank = c.numerical_rank(c.control_jacobian(bare, q, p, TIMES, step=0.025))
    assert rank != c.relu_rank(field, c.firing(bare, q, p, TIMES, step=0.025))


def test_control_matrices_have_rank_at_most_k():
    field = UpDown(2, 8, sigma="tanh")
    q, p = ensemble(field, 3, 1)
    theta = field.theta(q, p)
    assert c.numerical_rank(theta["theta3"]) == 3  # of 16
    assert c.numerical_rank(theta["theta1"]) == 2  # min(d, K)
