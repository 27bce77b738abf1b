"""Appendix C is the definition: autograd of H against both closed forms; what H conserves."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from problems import (
    EXACT,
    FIELDS,
    control_gap,
    draw,
    drift,
    fitted_order,
    gap,
    particles,
    refused,
    spd,
)

from shooting import (
    Activated,
    Affine,
    AutomaticField,
    ConvUpDown,
    Drift,
    Field,
    Function,
    Solver,
    Term,
    UpDown,
    shoot,
)
from shooting.activations import ACTIVATIONS
from shooting.hamiltonian import (
    autodiff_system,
    compatibility_residual,
    hamiltonian,
    kernel_system,
    momentum_map,
    pontryagin,
    theta_system,
)
from shooting.solvers import TABLEAUS, make_grid, runge_kutta

pytestmark = pytest.mark.usefixtures("float64")
SMOOTH = [name for name, a in ACTIVATIONS.items() if a.smooth]
CASES = {
    "kind": st.sampled_from(sorted(FIELDS)),
    "sigma": st.sampled_from(sorted(ACTIVATIONS)),
    "d": st.integers(1, 3),
    "alpha": st.integers(1, 3),
    "count": st.integers(1, 6),
    "runs": st.sampled_from([(), (1,), (3,), (2, 3)]),
    "seed": st.integers(0, 10**6),
}


def _system(field):
    return autodiff_system(lambda q, p: hamiltonian(field, q, p))


# --- three derivations of one system -------------------------------------------------------------


@given(**CASES)
def test_autodiff_closed_form_and_kernel_agree(kind, sigma, d, alpha, count, runs, seed):
    field = FIELDS[kind](d, alpha, sigma)
    q, p = particles(field, count, runs=runs, seed=seed)
    dq, dp = _system(field)(q, p)
    for system in (theta_system(field), kernel_system(field)):
        found_q, found_p = system(q, p)
        assert gap(found_q, dq) <= EXACT
        assert gap(found_p, dp) <= EXACT
    energy = autodiff_system(field.energy)(q, p)
    assert gap(energy[0], dq) <= EXACT
    assert gap(energy[1], dp) <= EXACT


@settings(max_examples=30)
@given(**CASES)
def test_second_derivatives_agree(kind, sigma, d, alpha, count, runs, seed):
    """All three can be differentiated again, which training through a solve needs."""
    field = FIELDS[kind](d, alpha, sigma)
    q, p = particles(field, count, runs=runs, seed=seed)
    a, b = draw(seed + 5, *q.shape), draw(seed + 6, *p.shape)

    def gradient(system):
        at = (q.clone().requires_grad_(), p.clone().requires_grad_())
        dq, dp = system(*at)
        # + 0 q: where nothing depends on q (identity features of one particle) the gradient is 0
        return torch.autograd.grad((a * dq + b * dp).sum() + 0 * at[0].sum(), at)

    want = gradient(_system(field))
    for system in (theta_system(field), kernel_system(field)):
        for found, right in zip(gradient(system), want, strict=True):
            assert gap(found, right) <= EXACT


@pytest.mark.parametrize("kind", ["updown", "updown-spd", "affine", "affine-spd"])
@pytest.mark.parametrize("sigma", sorted(ACTIVATIONS))
def test_control_wrong_sign_fails(kind, sigma):
    """theta of the opposite sign (minimised where it should be maximised) is far off."""
    field = FIELDS[kind](2, 2, sigma)
    q, p = particles(field, 4)
    dq, dp = _system(field)(q, p)
    wrong = {k: -v for k, v in field.theta(q, p).items()}
    assert gap(field.velocity(q, wrong), dq) > 0.1
    assert gap(-field.pull_back(q, p, wrong), dp) > 0.1
    # the adjoint equation with the sign of q' = +dH/dp, p' = +dH/dq
    assert gap(field.kernel_pull_back(q, p), dp) > 0.1


def test_control_missing_weight_fails():
    """Closed forms that forget theta3's weight 10 differ from the autograd of the right H."""
    right, wrong = (UpDown(2, 2, sigma="tanh", theta3_weight=w) for w in (10.0, 1.0))
    q, p = particles(right, 4)
    dq, dp = _system(right)(q, p)
    for system in (theta_system(wrong), kernel_system(wrong)):
        assert gap(system(q, p)[0], dq) > 1e-2
        assert gap(system(q, p)[1], dp) > 1e-2


def test_autograd_through_theta_needs_the_penalty():
    """Without R, H = sum p f(q, theta(q, p)) is twice too large: so is its gradient."""
    field = UpDown(1, 3, sigma="tanh")
    q, p = particles(field, 4)
    wrong = autodiff_system(lambda q, p: (p * field.velocity(q, field.theta(q, p))).sum((-1, -2)))
    right = _system(field)(q, p)
    assert gap(wrong(q, p)[0], 2 * right[0]) <= EXACT
    assert gap(wrong(q, p)[0], right[0]) > 0.1


@settings(max_examples=40)
@given(**{k: v for k, v in CASES.items() if k != "runs"})
def test_system_is_the_difference_quotient_of_h(kind, sigma, d, alpha, count, seed):
    field = FIELDS[kind](d, alpha, sigma)
    q, p = particles(field, count, seed=seed)
    a, b, h = draw(seed + 3, *q.shape), draw(seed + 4, *p.shape), 1e-5
    assume(sigma != "relu" or bool((q.abs() > 10 * h * a.abs()).all()))  # stay off the kink
    up, down = (hamiltonian(field, q + s * a, p + s * b) for s in (h, -h))
    dq, dp = theta_system(field)(q, p)
    rate = (b * dq - a * dp).sum()
    # truncation h^2 = 1e-10 and rounding 1e-16 / h = 1e-11, each times derivatives up to 1e3
    scale = 1 + float(abs(up)) + float(abs(rate))
    assert float(abs((up - down) / (2 * h) - rate)) < 1e-7 * scale


def test_autodiff_system_outside_autograd_leaves_no_graph():
    field = Affine(2)
    q, p = particles(field, 3)
    with torch.no_grad():
        assert not any(t.requires_grad for t in _system(field)(q, p))
    q.requires_grad_()
    assert all(t.requires_grad for t in _system(field)(q, p))


def test_autodiff_system_of_a_hamiltonian_that_ignores_a_variable():
    """Free particles: H = |p|^2 / 2 does not depend on q, a potential not on p."""
    q, p = draw(0, 3, 2), draw(1, 3, 2)
    moved, pushed = autodiff_system(lambda q, p: 0.5 * (p**2).sum((-1, -2)))(q, p)
    assert torch.equal(moved, p)
    assert torch.equal(pushed, torch.zeros_like(p))
    moved, pushed = autodiff_system(lambda q, p: 0.5 * (q**2).sum((-1, -2)))(q, p)
    assert torch.equal(moved, torch.zeros_like(q))
    assert torch.equal(pushed, -q)


# --- theta maximises -----------------------------------------------------------------------------


@given(**CASES)
def test_theta_is_the_argmax(kind, sigma, d, alpha, count, runs, seed):
    """H is quadratic in theta, so H(theta) - H(theta + e) = R(e) exactly, and R(e) > 0."""
    field = FIELDS[kind](d, alpha, sigma)
    q, p = particles(field, count, runs=runs, seed=seed)
    theta = field.theta(q, p)
    e = {k: draw(seed + i, *v.shape) for i, (k, v) in enumerate(theta.items())}
    moved = {k: theta[k] + e[k] for k in theta}
    best, there = pontryagin(field, q, p, theta), pontryagin(field, q, p, moved)
    assert bool((there < best).all())
    size = max(1.0, float(best.abs().max()))
    assert gap((best - there) / size, field.penalty(e) / size) <= EXACT
    assert float(compatibility_residual(field, q, p, theta).max()) == 0.0
    assert float(compatibility_residual(field, q, p, moved).min()) > 0.0


@given(**CASES)
def test_gradient_in_theta_vanishes(kind, sigma, d, alpha, count, runs, seed):
    field = FIELDS[kind](d, alpha, sigma)
    q, p = particles(field, count, runs=runs, seed=seed)
    theta = {k: v.requires_grad_() for k, v in field.theta(q, p).items()}
    slope = torch.autograd.grad(pontryagin(field, q, p, theta).sum(), list(theta.values()))
    size = max(1.0, *(float(v.detach().abs().max()) for v in theta.values()))
    assert max(float(g.abs().max()) for g in slope) <= 10 * EXACT * size  # the weight 10 of theta3


@given(**CASES)
def test_h_at_the_argmax_is_the_penalty(kind, sigma, d, alpha, count, runs, seed):
    field = FIELDS[kind](d, alpha, sigma)
    q, p = particles(field, count, runs=runs, seed=seed)
    h = hamiltonian(field, q, p)
    assert h.shape == torch.Size(runs)
    assert gap(h, field.penalty(field.theta(q, p))) <= EXACT
    assert gap(h, field.energy(q, p)) <= EXACT


# --- conservation --------------------------------------------------------------------------------

STEPS = (16, 32, 64, 128)


def _drifts(field, measure, *, seed=3):
    q, p = particles(field, 6, seed=seed, scale=0.4)
    found = []
    for n in STEPS:
        path = shoot(field, q, p, q[:0], [k / 16 for k in range(17)], solver=Solver(step=1 / n))
        value = measure(field, path.q, path.p)
        found.append(float((value - value[0]).abs().max()))
    return found


@pytest.mark.parametrize("kind", ["updown", "updown-spd", "affine-spd"])
@pytest.mark.parametrize("sigma", SMOOTH)
def test_h_is_conserved_to_fourth_order(kind, sigma):
    """The median over three starts: one start may have a small leading coefficient."""
    assert 3.7 <= _median_order(FIELDS[kind](2, 2, sigma)) <= 4.5


def test_control_relu_has_no_fourth_order():
    """Kinks crossed on the way break the order: what is asserted above can fail."""
    assert _median_order(UpDown(2, 2, sigma="relu")) < 2.5


def _median_order(field):
    found = []
    for seed in (3, 4, 5):
        errors = _drifts(field, hamiltonian, seed=seed)
        assert errors[-1] > 1e-12  # above rounding, so that the fit means something
        assert errors[-1] < 1e-5 or not field.sigma.smooth
        found.append(fitted_order(errors, STEPS))
    return sorted(found)[1]


def test_control_wrong_adjoint_does_not_conserve():
    """p' = +(d_q f)^T p keeps no H: the drift does not fall with the step."""
    field = UpDown(2, 2, sigma="tanh")
    q, p = particles(field, 6, seed=3, scale=0.4)

    def wrong(t, state):
        dq, dp = kernel_system(field)(*state)
        return dq, -dp

    found = runge_kutta(wrong, (q, p), make_grid([0, 1], step=1 / 128), TABLEAUS["rk4"])
    assert drift(field, *(torch.stack(s) for s in zip(*found, strict=True))) > 1e-2


@pytest.mark.parametrize("sigma", SMOOTH)
def test_momentum_map_is_conserved_to_fourth_order(sigma):
    """Rotations of x leave H unchanged, hence J = X^T P - P^T X stays (Noether)."""
    field = UpDown(3, 2, sigma=sigma)
    errors = _drifts(field, momentum_map)
    assert 1e-14 < errors[-1] < 1e-5
    assert 3.7 <= fitted_order(errors, STEPS) <= 4.5


def test_momentum_map_is_antisymmetric_and_per_run():
    field = UpDown(3, 2)
    q, p = particles(field, 4, runs=(2,))
    j = momentum_map(field, q, p)
    assert j.shape == (2, 3, 3)
    assert gap(j, -j.transpose(-1, -2)) <= EXACT
    assert gap(j[1], momentum_map(field, q[1], p[1])) <= EXACT


def test_an_image_slot_turns_its_channels_at_all_sites_alike():
    field = ConvUpDown(2, 1, sites=(3, 3), padding="periodic", sigma="tanh")
    # order four at a step of 1/32, and small momenta
    assert _lost(field, scale=0.05) < 1e-6
    assert _lost(field, scale=0.05, slot="v") > 1e-4  # the control
    q, p = particles(field, 4, runs=(2,))
    x, px = (field.split(y)["x"].flatten(1, 3) for y in (q, p))
    by_hand = x.mT @ px - px.mT @ x
    assert gap(momentum_map(field, q, p), by_hand) <= EXACT


def _lost(field, *, seed=3, scale=0.1, slot="x"):
    """By how much J moves along a path, whether it may or not."""
    q, p = particles(field, 5, seed=seed, scale=scale)
    path = shoot(field, q, p, q[:0], [k / 4 for k in range(5)], solver=Solver(step=1 / 32))
    rows = field.spaces[slot].rows
    x, px = (rows(field.split(y)[slot]) for y in (path.q, path.p))
    j = x.mT @ px - px.mT @ x
    return float((j - j[0]).abs().max())


def far(x):
    return torch.relu(x - 20)


def length(x):
    return torch.tanh(x.square().sum(-1, keepdim=True))


def first(x):
    return x[..., :1]


# each piece, and whether the rotations of x leave its part of H unchanged
PIECES = {
    "fed by sigma(v)": (Term("A", "x", Activated("v", "tanh")), True),
    "fed with a multiple of the identity": (Term("B", "x", "v", 3 * torch.eye(2)), True),
    "a bias": (Term("b", "x"), True),
    "read as itself": (Term("C", "v", "x", spd(3, 2)), True),
    "read and fed": (Term("D", "x", "x", 2.0), True),
    "its length": (Term("E", "v", Function(length, reads=("x",))), True),
    "of the other slot": (Term("F", "v", Activated("v", "tanh"), spd(4, 2)), True),
    "a scalar drift": (Drift("x", "x", -0.3), True),
    "a drift of the other slot": (Drift("v", Activated("v", "tanh")), True),
    "a matrix weight": (Term("G", "x", Activated("v", "tanh"), spd(5, 2)), False),
    "a bias of matrix weight": (Term("g", "x", weight=spd(6, 2)), False),
    "read through sigma": (Term("H", "v", Activated("x", "tanh")), False),
    "read far out": (Term("I", "v", Activated("x", far)), False),
    "its first entry": (Term("J", "v", Function(first, reads=("x",))), False),
    "a drift with the other slot": (Drift("x", "v"), False),
    "a drift into the other slot": (Drift("v", "x", 0.5), False),
    "a drift through sigma": (Drift("x", Activated("x", "tanh"), 0.1), False),
}


@settings(max_examples=60)
@given(names=st.sets(st.sampled_from(sorted(PIECES)), min_size=1, max_size=5))
def test_every_field_that_is_accepted_conserves_its_momentum_map(names):
    chosen = [PIECES[name] for name in sorted(names)]
    terms = [piece for piece, _ in chosen if isinstance(piece, Term)] or [PIECES["a bias"][0]]
    drift = [piece for piece, _ in chosen if isinstance(piece, Drift)]
    field = Field({"x": 2, "v": 2}, terms, drift=drift)
    q, p = particles(field, 3)
    if all(kept for _, kept in chosen):
        momentum_map(field, q, p)
        assert _lost(field) < 1e-6  # order four at a step of 1/32: 1e-6
        return
    with refused("rotations leave H unchanged", "'x'"):
        momentum_map(field, q, p)
    if [n for n in names if not PIECES[n][1]] != ["read far out"]:  # which no path here meets
        assert _lost(field) > 1e-6  # the control: what is refused is not conserved


@pytest.mark.parametrize("function", [torch.tanh, lambda x: x])
def test_a_field_without_a_list_of_terms_is_tried_as_well(function):
    def moved(z, theta):
        return {"x": function(z["x"]) @ theta["A"].mT}

    field = AutomaticField(moved, {"x": 2}, {"A": (2, 2)})
    q, p = particles(field, 3)
    if function is torch.tanh:
        with refused("directions"):
            momentum_map(field, q, p)
    else:
        momentum_map(field, q, p)
        assert _lost(field) < 1e-6


def test_what_no_momentum_map_is_made_of():
    field = UpDown(2, 2)
    q, p = particles(field, 3)
    with refused("relu(v)/10", "'v'"):
        momentum_map(field, q, p, slot="v")
    assert _lost(field, slot="v") > 1e-2  # the control: for v the same J moves
    with refused("a slot among", "'w'"):
        momentum_map(field, q, p, slot="w")
    with refused("one shape", "(2, 6)"):
        momentum_map(field, q, p[:2])


# --- symmetries ----------------------------------------------------------------------------------


def _end(field, q, p, z):
    return shoot(field, q, p, z, [0.0, 0.5, 1.0], solver=Solver(step=0.25))


PROBLEMS = {k: v for k, v in CASES.items() if k not in ("kind", "runs")} | {
    "kind": st.sampled_from(["updown", "updown-spd", "affine", "affine-spd"])
}
SHORT = settings(max_examples=25)


def _problem(kind, sigma, d, alpha, count, seed):
    """A field, particles with momenta small enough for tame paths, and three data rows."""
    field = FIELDS[kind](d, alpha, sigma)
    return field, *particles(field, count, seed=seed, scale=0.2), draw(seed + 9, 3, field.size)


@SHORT
@given(**PROBLEMS)
def test_permuting_particles_changes_nothing(kind, sigma, d, alpha, count, seed):
    field, q, p, z = _problem(kind, sigma, d, alpha, count, seed)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    want, found = _end(field, q, p, z), _end(field, q[order], p[order], z)
    assert gap(found.z, want.z) <= EXACT
    assert gap(found.q, want.q[:, order]) <= EXACT
    assert gap(found.p, want.p[:, order]) <= EXACT


@SHORT
@given(**PROBLEMS)
def test_duplicating_a_particle_with_halved_momentum_changes_nothing(
    kind, sigma, d, alpha, count, seed
):
    field, q, p, z = _problem(kind, sigma, d, alpha, count, seed)
    twice_q, twice_p = torch.cat([q, q[:1]]), torch.cat([p[:1] / 2, p[1:], p[:1] / 2])
    want, found = _end(field, q, p, z), _end(field, twice_q, twice_p, z)
    assert gap(found.z, want.z) <= EXACT
    assert gap(found.p[:, 0] + found.p[:, -1], want.p[:, 0]) <= EXACT


@SHORT
@given(**PROBLEMS)
def test_without_momentum_nothing_moves(kind, sigma, d, alpha, count, seed):
    field, q, p, z = _problem(kind, sigma, d, alpha, count, seed)
    path = _end(field, q, 0 * p, z)
    assert torch.equal(path.z, z.expand_as(path.z))
    assert torch.equal(path.q, q.expand_as(path.q))
    assert float(hamiltonian(field, q, 0 * p)) == 0.0


@SHORT
@given(**PROBLEMS)
def test_relabelling_the_sign_changes_nothing(kind, sigma, d, alpha, count, seed):
    """The paper's other convention: theta = -M^-1 sum p phi^T with p -> -p moves data alike."""
    field, q, p, z = _problem(kind, sigma, d, alpha, count, seed)

    def other(t, state):
        q, m, z = state
        theta = {k: -v for k, v in field.theta(q, m).items()}
        return field.velocity(q, theta), -field.pull_back(q, m, theta), field.velocity(z, theta)

    grid = make_grid([0.0, 0.5, 1.0], step=0.25)
    found = runge_kutta(other, (q, -p, z), grid, TABLEAUS["rk4"])
    want = _end(field, q, p, z)
    for k, (found_q, found_m, found_z) in enumerate(found):
        assert gap(found_q, want.q[k]) <= EXACT
        assert gap(-found_m, want.p[k]) <= EXACT
        assert gap(found_z, want.z[k]) <= EXACT


@SHORT
@given(**PROBLEMS)
def test_rotating_x_rotates_the_path(kind, sigma, d, alpha, count, seed):
    """x enters UpDown through inner products alone."""
    field = UpDown(d, alpha, sigma=sigma)
    q, p = particles(field, count, seed=seed, scale=0.2)
    turn = torch.eye(field.size)
    turn[:d, :d] = torch.linalg.qr(draw(seed, d, d))[0]
    want, found = _end(field, q, p, q), _end(field, q @ turn.T, p @ turn.T, q @ turn.T)
    assert gap(found.q, want.q @ turn.T) <= EXACT
    assert gap(found.p, want.p @ turn.T) <= EXACT


def test_particles_are_data_with_a_costate():
    """A data row that starts at a particle stays with it."""
    field, q, p, _ = _problem("updown", "tanh", 2, 2, 4, 0)
    path = _end(field, q, p, q)
    assert gap(path.z, path.q) <= EXACT


def test_residual_measures_the_distance_by_hand():
    field = Affine(2, sigma="tanh", weight=2.0)
    q, p = particles(field, 3, runs=(2,))
    theta = field.theta(q, p)
    moved = {**theta, "A": theta["A"] + torch.tensor([0.5, 0.25]).reshape(2, 1, 1)}
    found = compatibility_residual(field, q, p, moved)
    assert gap(found, torch.tensor([0.5, 0.25])) <= EXACT
    assert control_gap(field.theta(q, p), theta) == 0.0


def test_wrong_state_is_refused():
    field = UpDown(1, 2)
    with refused("length 3", "(4, 2)"):
        hamiltonian(field, torch.zeros(4, 2), torch.zeros(4, 3))


def test_costates_that_were_computed_from_the_states_are_not_differentiated():
    field = UpDown(2, 3, sigma="tanh")
    q = draw(0, 4, field.size).requires_grad_()
    pair = q, torch.sin(q)
    for a, b in zip(autodiff_system(field.energy)(*pair), theta_system(field)(*pair), strict=True):
        assert gap(a, b) <= EXACT
