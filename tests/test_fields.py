"""Fields: the two forms agree, penalties and adjoints are what they say, bad input is refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import EXACT, FIELDS, control_gap, draw, gap, particles, refused, spd

from shooting import Affine, AutomaticField, Field, Term, UpDown
from shooting.activations import ACTIVATIONS

pytestmark = pytest.mark.usefixtures("float64")
CASES = {
    "kind": st.sampled_from(sorted(FIELDS)),
    "sigma": st.sampled_from(sorted(ACTIVATIONS)),
    "d": st.integers(1, 3),
    "alpha": st.integers(1, 3),
    "count": st.integers(1, 6),
    "runs": st.sampled_from([(), (1,), (3,), (2, 3)]),
    "seed": st.integers(0, 10**6),
}


@given(**CASES, rows=st.integers(0, 4))
def test_kernel_form_is_theta_form(kind, sigma, d, alpha, count, runs, seed, rows):
    field = FIELDS[kind](d, alpha, sigma)
    q, p = particles(field, count, runs=runs, seed=seed)
    z = draw(seed + 1, *runs, rows, field.size)
    theta = field.theta(q, p)
    assert gap(field.kernel_velocity(z, q, p), field.velocity(z, theta)) <= EXACT
    assert gap(field.kernel_pull_back(q, p), field.pull_back(q, p, theta)) <= EXACT
    assert gap(field.energy(q, p), field.penalty(theta)) <= EXACT


@given(**CASES)
def test_pull_back_is_the_transposed_derivative(kind, sigma, d, alpha, count, runs, seed):
    field = FIELDS[kind](d, alpha, sigma)
    q, p = particles(field, count, runs=runs, seed=seed)
    theta = {k: draw(seed + i, *runs, *s) for i, (k, s) in enumerate(field.shapes.items())}
    q.requires_grad_()
    value = (p * field.velocity(q, theta)).sum() + 0 * q.sum()
    (back,) = torch.autograd.grad(value, q)
    assert gap(field.pull_back(q, p, theta), back) <= EXACT


@given(**CASES)
def test_penalty_is_the_quadratic_form(kind, sigma, d, alpha, count, runs, seed):
    """R = 1/2 sum <theta, M theta>, with M written out as a matrix."""
    field = FIELDS[kind](d, alpha, sigma)
    theta = {k: draw(seed + i, *runs, *s) for i, (k, s) in enumerate(field.shapes.items())}
    want = torch.zeros(runs)
    for t in field.terms:
        out = field.shapes[t.name][0]
        m = t.metric.apply(torch.eye(out))
        want = want + 0.5 * torch.einsum("...ai,ab,...bi->...", theta[t.name], m, theta[t.name])
    assert gap(field.penalty(theta), want) <= EXACT


def test_updown_is_equation_3_9():
    """The five terms written out by hand, with the sum over particles and theta3 over 10."""
    field = UpDown(2, 3, sigma="tanh", theta3_weight=10.0)
    q, p = particles(field, 4)
    x, v, px, pv = q[:, :2], q[:, 2:], p[:, :2], p[:, 2:]
    s = torch.tanh(v)
    theta = {
        "theta1": sum(torch.outer(px[j], s[j]) for j in range(4)),
        "b1": sum(px[j] for j in range(4)).unsqueeze(-1),
        "theta2": sum(torch.outer(pv[j], x[j]) for j in range(4)),
        "b2": sum(pv[j] for j in range(4)).unsqueeze(-1),
        "theta3": sum(torch.outer(pv[j], s[j]) for j in range(4)) / 10,
    }
    assert control_gap(field.theta(q, p), theta) <= EXACT
    dx = torch.stack([theta["theta1"] @ s[j] + theta["b1"][:, 0] for j in range(4)])
    dv = torch.stack(
        [theta["theta2"] @ x[j] + theta["b2"][:, 0] + theta["theta3"] @ s[j] for j in range(4)]
    )
    assert gap(field.velocity(q, theta), torch.cat([dx, dv], -1)) <= EXACT


def test_affine_is_equation_3_6():
    m_a, m_b = spd(1, 3), spd(2, 3)
    field = Affine(3, sigma="softplus", weight=m_a, bias_weight=m_b)
    q, p = particles(field, 5)
    s = torch.nn.functional.softplus(q)
    want = {"A": torch.linalg.solve(m_a, p.T @ s), "b": torch.linalg.solve(m_b, p.sum(0)[:, None])}
    assert control_gap(field.theta(q, p), want) <= EXACT


def test_control_missing_weight_is_noticed():
    """Forgetting the weight 10 of theta3 must break the equality of the two forms."""
    q, p = particles(UpDown(2, 2, sigma="tanh"), 4)
    right, wrong = (UpDown(2, 2, sigma="tanh", theta3_weight=w) for w in (10.0, 1.0))
    theta = right.theta(q, p)
    assert gap(wrong.kernel_velocity(q, q, p), right.velocity(q, theta)) > 1e-2
    assert gap(wrong.kernel_pull_back(q, p), right.pull_back(q, p, theta)) > 1e-2
    assert gap(wrong.energy(q, p), right.penalty(theta)) > 1e-2


def test_control_transposed_metric_is_noticed():
    """M in place of its inverse must be noticed."""
    m = spd(3, 2)
    q, p = particles(Affine(2), 4)
    right = Affine(2, sigma="tanh", weight=m)
    wrong = Affine(2, sigma="tanh", weight=torch.linalg.inv(m))
    assert gap(wrong.kernel_velocity(q, q, p), right.velocity(q, right.theta(q, p))) > 1e-2


def test_runs_do_not_mix():
    field = UpDown(2, 2)
    q, p = particles(field, 3, runs=(4,))
    for r in range(4):
        alone = field.kernel_velocity(q[r], q[r], p[r])
        assert gap(field.kernel_velocity(q, q, p)[r], alone) <= EXACT


def test_float32_is_float64_rounded():
    """Weights given in one precision serve states in the other."""
    field = Affine(2, sigma="tanh", weight=spd(4, 2).float(), bias_weight=spd(5, 2))
    q, p = particles(field, 3)
    low = field.kernel_velocity(q.float(), q.float(), p.float())
    assert low.dtype == torch.float32
    # unit roundoff of float32 is 6e-8, a handful of products
    assert gap(low.double(), field.kernel_velocity(q, q, p)) < 1e-5
    # the inverse is taken in float64 whatever the weight's precision: the forms agree fully
    assert gap(field.energy(q, p), field.penalty(field.theta(q, p))) <= EXACT


@pytest.mark.parametrize("kind", sorted(FIELDS))
def test_split_and_pack_are_inverse(kind):
    field = FIELDS[kind](2, 3, "relu")
    z = draw(0, 4, field.size)
    assert torch.equal(field.pack(field.split(z)), z)
    assert [s.shape[-1] for s in field.split(z).values()] == list(field.slots.values())


def test_repr_shows_the_terms():
    text = repr(UpDown(1, 4, sigma="tanh"))
    assert text == ("UpDown(x ← tanh(v)/1, x ← 1/1, v ← x/1, v ← 1/1, v ← tanh(v)/10; S = 5)")
    assert "x ← relu(x)/M" in repr(Affine(2, weight=spd(0, 2)))


def test_flops_by_hand():
    """UpDown with d = 1, alpha = 2, K = 3, n = 5, counted on paper."""
    # theta: 8 matrix entries, each 2 (3 K + n) operations, and 3 bias entries, each 2 (2 K + n)
    theta = 8 * 2 * 14 + 3 * 2 * 11
    # kernel: features sigma(v) 2 and x 1, output slots x 1 and v 2, each 2 K (2 K + n) a unit
    kernel = 2 * 3 * 11 * 6
    assert UpDown(1, 2).flops(3, 5) == {"theta": theta, "kernel": kernel}


@settings(max_examples=20)
@given(count=st.integers(1, 4), rows=st.integers(0, 10))
def test_kernel_form_is_cheaper_for_few_particles_and_large_width(count, rows):
    cost = UpDown(2, 200).flops(count, rows)
    assert cost["kernel"] < cost["theta"]
    wide = UpDown(1, 1).flops(500, rows)
    assert wide["theta"] < wide["kernel"]


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "2", None])
def test_bad_sizes_are_refused(bad):
    with refused(repr(bad), "α"):
        UpDown(1, bad)
    with refused(repr(bad), "dimension d"):
        UpDown(bad, 1)
    with refused(repr(bad), "dimension d"):
        Affine(bad)
    with refused(repr(bad), "slot x"):
        Field({"x": bad}, [Term("b", "x")])


@pytest.mark.parametrize("bad", [0, -1.0, float("nan"), float("inf"), True, "10", None])
def test_bad_weight_is_refused(bad):
    with refused(repr(bad), "'theta3'", "positive"):
        UpDown(1, 2, theta3_weight=bad)


@pytest.mark.parametrize(
    "bad",
    [
        torch.tensor([[1.0, 2.0], [2.0, 1.0]]),  # indefinite
        torch.tensor([[1.0, 0.5], [0.0, 1.0]]),  # not symmetric
        torch.zeros(2, 2),
        torch.eye(3),
        torch.ones(2),
        torch.tensor(2.0),
        torch.tensor([[1.0, 0.0], [0.0, float("nan")]]),
        torch.eye(2, dtype=torch.int64),
    ],
)
def test_matrix_that_is_not_spd_is_refused(bad):
    with refused("'A'", "symmetric positive definite"):
        Affine(2, weight=bad)


def test_unknown_activation_is_refused():
    with refused("'swish'", "tanh"):
        UpDown(1, 2, sigma="swish")


@pytest.mark.parametrize("term", [Term("t", "w"), Term("t", "x", "w")])
def test_unknown_slot_is_refused(term):
    with refused("'w'", "['v', 'x']"):
        Field({"x": 1, "v": 2}, [term])


@pytest.mark.parametrize("terms", [[], [Term("t", "x"), Term("t", "x", "x")]])
def test_terms_need_distinct_names(terms):
    with refused(str([t.name for t in terms])):
        Field({"x": 1}, terms)


def test_state_of_wrong_length_is_refused():
    field = UpDown(2, 3)
    for call in (
        lambda: field.split(torch.zeros(4, 7)),
        lambda: field.theta(torch.zeros(4, 7), torch.zeros(4, 8)),
        lambda: field.theta(torch.zeros(4, 8), torch.zeros(4, 7)),
        lambda: field.kernel_velocity(torch.zeros(4, 7), torch.zeros(4, 8), torch.zeros(4, 8)),
    ):
        with refused("length 8", "(4, 7)"):
            call()


@pytest.mark.parametrize("name", ["", "a.b"])
def test_names_that_no_parameter_can_have_are_refused(name):
    with refused("without dots"):
        Term(name, "x", "x")
    with refused("without dots"):
        AutomaticField(lambda z, t: {"x": z["x"] @ t[name].T}, {"x": 2}, {name: (2, 2)})
