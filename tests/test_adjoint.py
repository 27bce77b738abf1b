"""The discrete adjoint is autograd's gradient, from every output to every input."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import EXACT, FIELDS, draw, gap, particles
from torch.autograd import gradcheck, gradgradcheck

from shooting import Activated, Solver, Term, UpDown, adjoint, carry, shoot
from shooting.activations import ACTIVATIONS
from shooting.fields import Field
from shooting.solvers import TABLEAUS, make_grid

pytestmark = pytest.mark.usefixtures("float64")
TIMES = [0, 0.3, 0.5, 1]
# three slots; "w" is fed by a bias alone and "u" read both plain and activated
MIXED = {
    "mixed": lambda d, alpha, sigma: Field(
        {"x": d, "u": alpha, "w": 2},
        [
            Term("A", "x", Activated("u", sigma), 2.0),
            Term("B", "u", "u", weight=0.5),
            Term("C", "u", Activated("x", sigma)),
            Term("D", "x", Activated("u", sigma), 3.0),
            Term("c", "w"),
        ],
    )
}
SCALAR = {k: f for k, f in {**FIELDS, **MIXED}.items() if k in ("updown", "affine", "mixed")}
CASES = {
    "kind": st.sampled_from(sorted(SCALAR)),
    "sigma": st.sampled_from(sorted(ACTIVATIONS)),
    "method": st.sampled_from(sorted(TABLEAUS)),
    "d": st.integers(1, 3),
    "alpha": st.integers(1, 4),
    "runs": st.sampled_from([(), (2,), (2, 2)]),
    "rows": st.integers(1, 5),
    "seed": st.integers(0, 10**6),
}


def weighted(outputs, seed):
    """A scalar that depends on every output at every time."""
    return sum((o * draw(seed + i, *o.shape)).sum() for i, o in enumerate(outputs))


def shoot_gradients(field, route, method, runs, count, rows, seed):
    scale = 0.5 if field.size <= 12 else 0.1  # paths grow with the width
    q, p = particles(field, count, runs=runs, seed=seed, scale=scale / count)
    wrt = [q, p, draw(seed + 9, *runs, rows, field.size)]
    wrt = [t.requires_grad_() for t in wrt]
    path = shoot(field, *wrt, TIMES, solver=Solver(method, 0.25, route=route, form="auto"))
    return torch.autograd.grad(weighted(path, seed), wrt)


def carry_gradients(field, route, method, runs, blocks, rows, seed):
    z = draw(seed + 9, *runs, rows, field.size)
    shapes = field.shapes.values()
    theta = [draw(seed + i, *runs, blocks, *s, scale=0.5) for i, s in enumerate(shapes)]
    wrt = [t.requires_grad_() for t in (z, *theta)]
    solver = Solver(method, 0.25, route=route)
    path = carry(field, dict(zip(field.shapes, theta, strict=True)), z, TIMES, solver=solver)
    return torch.autograd.grad(weighted([path], seed), wrt)


def relative(found, wanted):
    return max(gap(a, b) for a, b in zip(found, wanted, strict=True))


@settings(max_examples=60)
@given(**CASES, count=st.integers(1, 6))
def test_shoot_gradient_is_autograds(kind, sigma, method, d, alpha, runs, count, rows, seed):
    case = (method, runs, count, rows, seed)
    field = SCALAR[kind](d, alpha, sigma)
    wanted = shoot_gradients(field, "autograd", *case)
    assert relative(shoot_gradients(field, "adjoint", *case), wanted) <= EXACT


@settings(max_examples=60)
@given(**CASES, blocks=st.integers(1, 5))
def test_carry_gradient_is_autograds(kind, sigma, method, d, alpha, runs, blocks, rows, seed):
    case = (method, runs, blocks, rows, seed)
    field = SCALAR[kind](d, alpha, sigma)
    wanted = carry_gradients(field, "autograd", *case)
    assert relative(carry_gradients(field, "adjoint", *case), wanted) <= EXACT


@pytest.mark.parametrize("broken", ["curvature", "slope"])
def test_a_wrong_derivative_of_sigma_is_noticed(broken):
    """Control: with a wrong sigma'' or sigma' in the transpose the gradients part."""
    field, case = UpDown(1, 4, sigma="tanh"), ("rk4", (), 3, 4, 0)
    wanted = shoot_gradients(field, "autograd", *case)
    original = adjoint.Shooting._pull_back

    class Wrong(adjoint.Shooting):
        def _pull_back(self, j, y, c, f, pull, gram_bar, w_bar):
            before = w_bar.clone()
            result = original(self, j, y, c, f, pull, gram_bar, w_bar)
            if self.merged.features[j][1]:
                w_bar.copy_(before + (w_bar - before) * (0.5 if broken == "slope" else 1))
                if broken == "curvature":
                    n, s = self.particles, self.merged.slots[self.merged.features[j][0]]
                    bend = self.merged.features[j][1].curvature(y[:, :n, s])
                    w_bar[:, :n, s] += bend * c[..., s] * (pull @ f[:, :n])
            return result

    q, p = particles(field, 3, seed=0, scale=0.5 / 3)
    wrt = [t.requires_grad_() for t in (q, p, draw(9, 4, field.size))]
    w = torch.cat([wrt[0], wrt[2], wrt[1]])[None]
    path = adjoint.run(Wrong(field, 3, make_grid(TIMES, step=0.25), TABLEAUS["rk4"]), w)[0]
    outputs = path[:, :3], path[:, 7:], path[:, 3:7]
    found = torch.autograd.grad(weighted(outputs, 0), wrt)
    assert relative(found, wanted) > 1e-5


@pytest.mark.parametrize("output", ["q", "p", "z"])
@pytest.mark.parametrize("route", ["adjoint", "native"])
def test_each_output_alone(output, route):
    field = UpDown(2, 3, sigma="tanh")
    q, p = particles(field, 3, scale=0.2)
    wrt = [t.requires_grad_() for t in (q, p, draw(5, 4, field.size))]

    def gradients(route):
        path = getattr(shoot(field, *wrt, TIMES, solver=Solver(route=route)), output)
        found = torch.autograd.grad(
            path.square().sum(), wrt, materialize_grads=True, allow_unused=True
        )
        assert output == "z" or not bool(found[2].any())  # data do not move particles
        return found

    assert relative(gradients(route), gradients("autograd")) <= EXACT


@pytest.mark.parametrize("needed", [0, 1, 2])
def test_a_gradient_for_one_input_alone(needed):
    field = UpDown(1, 3, sigma="tanh")
    q, p = particles(field, 3, scale=0.2)
    inputs = [q, p, draw(5, 4, field.size)]
    inputs[needed].requires_grad_()
    assert gradcheck(
        lambda t: shoot(field, *inputs[:needed], t, *inputs[needed + 1 :], [0, 1]).z,
        inputs[needed],
    )


@pytest.mark.parametrize("route", ["adjoint", "native"])
def test_second_derivatives_come_from_the_reference(route):
    field, solver = UpDown(1, 2, sigma="tanh"), Solver(step=0.5, route=route)
    q, p = particles(field, 2, scale=0.3)
    wrt = [t.requires_grad_() for t in (q, p, draw(5, 2, field.size))]
    assert gradgradcheck(lambda *s: tuple(shoot(field, *s, [0, 1], solver=solver)), wrt)
    z = wrt[2]
    theta = {k: draw(i, 2, *s).requires_grad_() for i, (k, s) in enumerate(field.shapes.items())}

    def carried(*values):
        control = dict(zip(theta, values, strict=True))
        return carry(field, control, z, [0, 1], solver=solver)

    assert gradgradcheck(carried, tuple(theta.values()))


@pytest.mark.parametrize("route", ["adjoint", "native"])
def test_backward_twice_and_two_solves_at_once(route):
    """Kept graphs stay valid when other solves run in between: stages are not overwritten."""
    field, solver = UpDown(1, 4), Solver(route=route)
    q, p = particles(field, 3, scale=0.2)
    wrt = [t.requires_grad_() for t in (q, p, draw(5, 4, field.size))]
    loss = shoot(field, *wrt, [0, 1], solver=solver).z.square().sum()
    other = shoot(field, q * 2, p, wrt[2], [0, 1], solver=solver).z.square().sum()
    first = torch.autograd.grad(loss, wrt, retain_graph=True)
    torch.autograd.grad(other, wrt)
    shoot(field, q * 3, p, wrt[2], [0, 1], solver=solver).z.sum().backward()
    second = torch.autograd.grad(loss, wrt)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_without_gradient_no_stage_is_kept():
    field = UpDown(1, 2)
    w = draw(0, 1, 7, field.size)
    engine = adjoint.Shooting(field, 2, make_grid([0, 1], step=0.1), TABLEAUS["rk4"])
    assert engine.forward(w, None, False)[1] == ()
    stages = 10 * 4
    assert len(engine.forward(w, None, True)[1]) == stages * (1 + 2 + 2)  # w, kernels, pulls


def test_merge_adds_up_terms_that_share_a_feature():
    merged = adjoint.merge(MIXED["mixed"](2, 3, "tanh"))
    tanh = ACTIVATIONS["tanh"]
    assert merged.features == ((1, tanh), (1, None), (0, tanh))
    assert merged.gain[0] == (1 / 2 + 1 / 3, 0.0, 0.0)
    assert merged.gain[1] == (0.0, 2.0, 1.0)
    assert merged.bias == (0.0, 0.0, 1.0)


def test_fuse_is_the_velocity_in_one_matrix():
    field = MIXED["mixed"](2, 3, "tanh")
    theta = {k: draw(i, 2, 1, *s) for i, (k, s) in enumerate(field.shapes.items())}
    z = draw(9, 2, 4, field.size)
    found = adjoint.stacked(field, z) @ adjoint.fuse(field, theta)[:, 0].mT
    assert gap(found, field.velocity(z, {k: v[:, 0] for k, v in theta.items()})) <= EXACT


@given(**{k: CASES[k] for k in ("sigma", "d", "alpha", "runs", "seed")}, count=st.integers(1, 6))
def test_energy_is_the_fields(sigma, d, alpha, runs, seed, count):
    for make in {**FIELDS, **MIXED}.values():
        field = make(d, alpha, sigma)
        wrt = [t.requires_grad_() for t in particles(field, count, runs=runs, seed=seed)]
        values = [adjoint.energy(field, *wrt), field.energy(*wrt)]
        bar = draw(seed, *runs)
        grads = [torch.autograd.grad((v * bar).sum(), wrt) for v in values]
        assert gap(*values) <= EXACT
        assert relative(*grads) <= EXACT


def test_energy_twice_differentiable():
    field = UpDown(1, 2, sigma="tanh")
    wrt = [t.requires_grad_() for t in particles(field, 2, scale=0.3)]
    assert gradcheck(lambda q, p: adjoint.energy(field, q, p), wrt)
    assert gradgradcheck(lambda q, p: adjoint.energy(field, q, p), wrt)
    fixed = wrt[1].detach()
    assert gradgradcheck(lambda q: adjoint.energy(field, q, fixed), wrt[0])


# --- inputs that depend on each other --------------------------------------------------------


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_path_from_one_input_to_the_other_counts_once(create_graph):
    """Costates made of states, controls made of data: autograd alone adds what lies outside."""
    field = UpDown(2, 2, sigma="tanh")
    q, z = draw(0, 3, field.size).requires_grad_(), draw(1, 4, field.size).requires_grad_()

    def energy(value):
        return torch.autograd.grad(value(q, q.sin()), q, create_graph=create_graph)[0]

    def carried(route):
        theta = {k: z.mean() * draw(2, 1, *shape) for k, shape in field.shapes.items()}
        end = carry(field, theta, z, [0, 1], solver=Solver(route=route))[-1]
        return torch.autograd.grad(end.square().sum(), z, create_graph=create_graph)[0]

    assert gap(energy(lambda *y: adjoint.energy(field, *y)), energy(field.energy)) <= EXACT
    assert gap(carried("adjoint"), carried("autograd")) <= EXACT
    fixed = torch.autograd.grad(field.energy(q, q.detach().sin()), q)[0]
    assert gap(energy(field.energy), fixed) > 1e-2  # the path matters
