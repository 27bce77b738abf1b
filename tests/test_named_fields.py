"""Every shipped and open field: autodiff = theta-form = kernel form, energy, orders, gradients."""

from __future__ import annotations

import pytest
import torch
from problems import EXACT, FIELDS, OPEN_FIELDS, draw, fitted_order, gap, particles, slopes
from torch import nn
from torch.autograd import gradcheck

from shooting import (
    Activated,
    ConvUpDown,
    DynamicDirect,
    DynamicParticles,
    Field,
    Function,
    Identity,
    SecondOrder,
    Solver,
    StaticDirect,
    StaticParticles,
    Term,
    carry,
    native,
    routes,
    shoot,
)
from shooting.hamiltonian import autodiff_system, hamiltonian, kernel_system, theta_system

pytestmark = pytest.mark.usefixtures("float64")
ALL = {**{k: (lambda s, f=f: f(2, 3, s)) for k, f in FIELDS.items()}, **OPEN_FIELDS}
MODELS = (DynamicParticles, StaticParticles, DynamicDirect, StaticDirect)


@pytest.mark.parametrize("kind", sorted(ALL))
@pytest.mark.parametrize("sigma", ["tanh", "relu"])
@pytest.mark.parametrize("runs", [(), (2,)])
def test_autodiff_is_theta_form_is_kernel_form(kind, sigma, runs):
    field = ALL[kind](sigma)
    q, p = particles(field, 3, runs=runs, seed=4)
    wanted = autodiff_system(lambda q, p: hamiltonian(field, q, p))(q, p)
    for system in (theta_system(field), kernel_system(field), autodiff_system(field.energy)):
        for found, want in zip(system(q, p), wanted, strict=True):
            assert gap(found, want) <= EXACT
    assert gap(field.energy(q, p), hamiltonian(field, q, p)) <= EXACT


def wrong(field):
    """The same field with one pull-back that is off by a factor of 1.1."""

    class Bent(Activated):
        def pull_back(self, parts, bar):
            return {k: 1.1 * b for k, b in super().pull_back(parts, bar).items()}

    class Stretched(Identity):
        def pull_back(self, parts, bar):
            return {k: 1.1 * b for k, b in super().pull_back(parts, bar).items()}

    def swap(phi):
        if isinstance(phi, Activated):
            return Bent(phi.slot, phi.sigma)
        return Stretched(phi.slot) if isinstance(phi, Identity) else phi

    terms = [Term(t.name, t.out, swap(t.phi), t.metric) for t in field.terms]
    return Field(field.spaces, terms, drift=field.drift)


@pytest.mark.parametrize("kind", ["updown", "second-order", "affine-spd"])
def test_control_a_wrong_pull_back_is_noticed(kind):
    field = wrong(ALL[kind]("tanh"))
    q, p = particles(field, 3, seed=4)
    wanted = autodiff_system(lambda q, p: hamiltonian(field, q, p))(q, p)
    assert gap(theta_system(field)(q, p)[1], wanted[1]) > 1e-3
    assert gap(kernel_system(field)(q, p)[1], wanted[1]) > 1e-3


def lost(field, steps, form="theta"):
    """Largest change of H over depth 1, for particles of moderate size."""
    q, p = particles(field, 3, seed=2, scale=0.3 / field.size**0.5)
    solver = Solver(step=1 / steps, route="autograd", form=form)
    path = shoot(field, q, p, q[:0], [0, 0.5, 1], solver=solver)
    h = field.energy(path.q, path.p)
    return float((h - h[0]).abs().max())


@pytest.mark.parametrize("kind", sorted(ALL))
def test_the_hamiltonian_is_conserved_to_order_four(kind):
    """Smooth sigma; the order fitted over three halvings lies in [3.7, 4.5], or H is exact."""
    field, steps = ALL[kind]("tanh"), (16, 32, 64, 128)
    drifts = [lost(field, n) for n in steps]
    # below 1e-12 the changes are rounding of some hundred operations
    assert 3.7 <= fitted_order(drifts, steps) <= 4.5 or max(drifts) < 1e-12


def test_control_a_wrong_pull_back_loses_the_hamiltonian():
    field = wrong(ALL["second-order"]("tanh"))
    drifts = [lost(field, n) for n in (8, 16, 32)]
    assert fitted_order(drifts, (8, 16, 32)) < 0.5
    assert drifts[-1] > 1e-6


@pytest.mark.parametrize("kind", sorted(OPEN_FIELDS))
@pytest.mark.parametrize("form", ["theta", "kernel"])
def test_the_discrete_adjoint_of_any_field_is_autograds_gradient(kind, form):
    field = OPEN_FIELDS[kind]("tanh")
    q, p = particles(field, 3, runs=(2,), seed=1, scale=0.2)
    wrt = [t.requires_grad_() for t in (q, p, draw(9, 2, 4, field.size))]
    found = []
    for route in ("autograd", "adjoint"):
        solver = Solver("rk4", 0.25, route=route, form=form)
        path = shoot(field, *wrt, [0, 0.3, 1], solver=solver)
        loss = sum((o * draw(i, *o.shape)).sum() for i, o in enumerate(path))
        found.append(torch.autograd.grad(loss, wrt))
    for a, b in zip(*found, strict=True):
        assert gap(a, b) <= EXACT


@pytest.mark.parametrize("kind", sorted(OPEN_FIELDS))
def test_carrying_any_field_has_autograds_gradient(kind):
    field = OPEN_FIELDS[kind]("tanh")
    z = draw(0, 2, 4, field.size).requires_grad_()
    shapes = enumerate(field.shapes.items())
    theta = {k: draw(i + 1, 2, 3, *s, scale=0.3).requires_grad_() for i, (k, s) in shapes}
    found = []
    for route in ("autograd", "adjoint"):
        path = carry(field, theta, z, [0, 0.3, 1], solver=Solver(step=0.25, route=route))
        loss = (path * draw(7, *path.shape)).sum()
        found.append(torch.autograd.grad(loss, [z, *theta.values()]))
    for a, b in zip(*found, strict=True):
        assert gap(a, b) <= EXACT


@pytest.mark.parametrize("kind", sorted(OPEN_FIELDS))
@pytest.mark.parametrize("route", ["autograd", "adjoint"])
def test_gradcheck_of_a_solve(kind, route):
    field = OPEN_FIELDS[kind]("softplus")
    q, p = particles(field, 1, seed=3, scale=0.2)
    solver = Solver("midpoint", 0.5, route=route)

    def end(q, p):
        return shoot(field, q, p, q, [0, 0.5], solver=solver).z[-1]

    assert gradcheck(end, [q.requires_grad_(), p.requires_grad_()])


@pytest.mark.parametrize("kind", sorted(OPEN_FIELDS))
@pytest.mark.parametrize("model", MODELS)
def test_every_model_takes_every_field_and_an_ensemble_is_its_runs(kind, model):
    field = OPEN_FIELDS[kind]("tanh")
    how = {"particles": 3} if issubclass(model, DynamicParticles) else {}
    both, times = model(field, **how, seeds=(0, 5)), [0.0, 0.4, 1.0]
    alone = [model(field, **how, seeds=(s,)) for s in (0, 5)]
    slot = next(iter(field.spaces.values()))
    x = draw(1, 4, slot.width, *slot.sites)
    path = both(x, times)
    assert path.shape == (2, 3, 4, slot.width, *slot.sites)
    for k, one in enumerate(alone):
        assert gap(path[k], one(x, times)[0]) <= EXACT
    asked = (times,) if isinstance(both, DynamicParticles) else ()
    loss = (path**2).sum() + both.penalty(*asked).sum()
    loss.backward()
    grad = slopes(both)
    assert bool(grad.isfinite().all())
    assert float(grad.abs().amax(-1).min()) > 0
    controls = both.theta(times)
    assert {k: tuple(v.shape) for k, v in controls.items()} == {
        k: (2, 3, *s) for k, s in field.shapes.items()
    }


def test_the_compiled_route_says_why_it_steps_back(caplog):
    caplog.set_level("INFO", logger="shooting")
    routes._say.cache_clear()
    for kind, reason in (("second-order", "no drift"), ("convolution, zero", "plain vectors")):
        field = OPEN_FIELDS[kind]("relu")
        q, p = particles(field, 2)
        with pytest.raises(ValueError, match=f"route 'native' can do, but .*{reason}"):
            shoot(field, q, p, q, [0, 1], solver=Solver(route="native"))
        for _ in range(2):
            assert Solver().active_route(field, q, p, q) == "autograd"
        assert reason in caplog.text
    assert len(caplog.records) == 2  # each reason once
    dense = FIELDS["updown"](1, 2, "relu")  # control: a field that it knows
    assert Solver().active_route(dense, *particles(dense, 2)) in ("native", "autograd")
    assert len(caplog.records) == 2 or native.library_error()


def test_a_second_order_field_is_newtons():
    """x' = v and x'' = theta sigma(x) + b, by differences along a path with constant control."""
    field = SecondOrder(1, sigma="tanh")
    theta = {"theta1": torch.tensor([[[-2.0]]]), "b": torch.tensor([[[0.3]]])}
    h = 1e-3
    times = [k * h for k in range(5)]
    z = carry(field, theta, torch.tensor([[0.7, -0.4]]), times, solver=Solver(step=h))
    x, v = z[:, 0, 0], z[:, 0, 1]
    second = (x[2:] - 2 * x[1:-1] + x[:-2]) / h**2
    # central differences miss by h^2 / 12 of the fourth derivative, about 1e-6
    assert gap(second, -2 * torch.tanh(x[1:-1]) + 0.3) < 1e-5
    assert gap((x[2:] - x[:-2]) / (2 * h), v[1:-1]) < 1e-5


def test_the_penalty_of_a_field_with_drift_needs_times():
    """R varies there; the trapezoidal mean has order two and differs from R at t = 0."""
    model = DynamicParticles(SecondOrder(2, sigma="tanh"), particles=3, momentum_scale=1.0, seed=0)
    for part in model.parameters():
        part.data.mul_(2)
    with pytest.raises(ValueError, match=r"expected times .* got none; try model.penalty\(times\)"):
        model.penalty()
    fine, *errors = (
        float(model.penalty([k / n for k in range(n + 1)]).detach()) for n in (512, 8, 16, 32)
    )
    order = fitted_order([abs(e - fine) for e in errors], (8, 16, 32))
    assert 1.8 < order < 2.2
    start = float(model.field.penalty(model.field.theta(*model.start())).detach())
    assert abs(start - fine) > 1e-4 * abs(fine)  # control: R at t = 0 is not the mean


def test_a_convolutional_block_inside_a_network_trains():
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = DynamicParticles(ConvUpDown(2, 2, sites=(6, 6)), particles=2, seed=0)
            self.head = nn.Linear(72, 1)

        def forward(self, x):
            return self.head(self.block(x, [0.0, 1.0])[-1].flatten(1))

    net = Net()
    x = torch.randn(8, 2, 6, 6)
    y = x.roll(1, 3).amax((1, 2, 3)).unsqueeze(-1)
    adam = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(10):
        adam.zero_grad()
        loss = ((net(x) - y) ** 2).mean()
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_images_of_the_wrong_shape_are_refused():
    model = DynamicParticles(ConvUpDown(2, 2, sites=(6, 5)), particles=2, seed=0)
    for bad in (torch.zeros(4, 60), torch.zeros(4, 2, 5, 6), torch.zeros(2, 6, 5)):
        with pytest.raises(ValueError, match=r"expected data x"):
            model(bad, [0.0, 1.0])


def test_slots_of_several_sizes_cannot_be_lifted():
    from shooting import Slot

    field = Field({"x": Slot(1, (2, 2)), "v": 3}, [Term("b", "x"), Term("c", "v")])
    with pytest.raises(ValueError, match=r"expected all slots to have the same sites"):
        DynamicParticles(field, particles=2, seed=0)


class Doubled(Activated):
    """A user's activation of a slot, twice as large as its parent's."""

    def value(self, parts):
        return 2 * super().value(parts)

    def pull_back(self, parts, bar):
        return {k: 2 * b for k, b in super().pull_back(parts, bar).items()}


def test_a_subclass_of_a_shipped_feature_is_taken_at_its_word():
    """No route replaces it by what its parent would compute."""
    terms = [Term("A", "v", Doubled("x", "tanh")), Term("b", "x", "v")]
    field = Field({"x": 2, "v": 2}, terms)
    q, p = particles(field, 3, seed=1, scale=0.3)
    wanted = shoot(field, q, p, q, [0, 1], solver=Solver(route="torchdiffeq")).z
    theta = {k: t[None] for k, t in field.theta(q, p).items()}
    carried = carry(field, theta, q, [0, 1], solver=Solver(route="torchdiffeq"))
    for route in ("auto", "adjoint", "autograd"):
        solver = Solver(route=route)
        assert gap(shoot(field, q, p, q, [0, 1], solver=solver).z, wanted) <= EXACT
        assert gap(carry(field, theta, q, [0, 1], solver=solver), carried) <= EXACT
    plain = Field({"x": 2, "v": 2}, [Term("A", "v", Activated("x", "tanh")), terms[1]])
    assert gap(shoot(plain, q, p, q, [0, 1]).z, wanted) > 1e-2  # control


def test_learned_numbers_inside_a_feature_get_their_gradient_or_a_refusal():
    """By central differences on the default route; the discrete adjoint would return none."""
    w = torch.tensor(0.7, requires_grad=True)
    phi = Function(lambda x: torch.sin(w * x), reads=("x",))
    field = Field({"x": 2}, [Term("A", "x", phi), Term("b", "x")])
    q, p = particles(field, 3, seed=1, scale=0.3)

    def end(solver=None):
        return shoot(field, q, p, q, [0, 1], solver=solver).z[-1].square().sum()

    (found,) = torch.autograd.grad(end(), w)
    h, values = 1e-5, []
    for sign in (1, -1):
        with torch.no_grad():
            w.add_(sign * h)
            values.append(float(end()))
            w.sub_(sign * h)
    # central differences miss by h^2 times a third derivative of the order of ten
    assert abs(float(found) - (values[0] - values[1]) / (2 * h)) < 1e-7 * max(1, abs(float(found)))
    with pytest.raises(ValueError, match=r"expected a field without learned numbers .*autograd"):
        end(Solver(route="adjoint"))


def test_two_activations_in_one_field_are_two_on_every_route():
    terms = [Term("A", "v", Activated("x", "tanh")), Term("B", "x", Activated("v", "relu"))]
    field = Field({"x": 2, "v": 3}, terms)
    q, p = particles(field, 3, seed=1, scale=0.3)
    wanted = shoot(field, q, p, q, [0, 1], solver=Solver(route="torchdiffeq")).z
    for route in ("auto", "adjoint", "autograd"):
        assert gap(shoot(field, q, p, q, [0, 1], solver=Solver(route=route)).z, wanted) <= EXACT
    with pytest.raises(ValueError, match=r"one activation at a time, not \['relu', 'tanh'\]"):
        shoot(field, q, p, q, [0, 1], solver=Solver(route="native"))


def test_the_penalty_of_static_particles_is_r_also_where_the_field_drifts():
    model = StaticParticles(SecondOrder(2, sigma="tanh"), 3, momentum_scale=1.0, seed=0)
    wanted = model.field.penalty({k: v[0] for k, v in model.theta([0.0]).items()})
    assert gap(model.penalty(), wanted) <= EXACT
    assert gap(model.field.energy(*model.start()), wanted) > 1e-3  # control: H is not R here


def test_the_penalty_of_a_field_that_drifts_is_a_mean_over_any_depth():
    model = DynamicParticles(SecondOrder(2, sigma="tanh"), 3, seed=0)
    times = [k / 100 for k in range(201)]
    theta = model.theta([(a + b) / 2 for a, b in zip(times, times[1:], strict=False)])
    # trapezoidal against midpoint rule, both of second order in 0.01
    assert gap(model.penalty(times), model.field.penalty(theta).mean()) <= 1e-3
