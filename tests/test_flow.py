"""The two verbs: every route gives the same path, and choosing a route is never silent."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import EXACT, FIELDS, draw, fitted_order, gap, particles, refused
from torch.autograd import gradcheck

from shooting import Affine, DynamicParticles, Solver, UpDown, adjoint, carry, native, shoot
from shooting.activations import Activation
from shooting.flow import ROUTES
from shooting.hamiltonian import autodiff_system, hamiltonian
from shooting.solvers import TABLEAUS, Tableau, make_grid, runge_kutta

pytestmark = pytest.mark.usefixtures("float64")
SMALL = UpDown(2, 3, sigma="tanh")


def start(field, *, runs=(), count=3, rows=4, seed=0):
    q, p = particles(field, count, runs=runs, seed=seed, scale=0.3)
    return q, p, draw(seed + 77, *runs, rows, field.size)


def control(field, *, runs=(), blocks=1, seed=0):
    shapes = field.shapes.items()
    return {k: draw(seed + i, *runs, blocks, *s, scale=0.5) for i, (k, s) in enumerate(shapes)}


# --- the verbs -------------------------------------------------------------------------------


def test_shoot_solves_the_autodiff_system():
    """The reference: torchdiffeq on q' = dH/dp, p' = -dH/dq by autograd, and z along."""
    q, p, z = start(SMALL)
    path = shoot(SMALL, q, p, z, [0, 0.5, 1], solver=Solver(route="autograd", step=0.1))
    system = autodiff_system(lambda q, p: hamiltonian(SMALL, q, p))

    def rhs(t, s):
        return *system(s[0], s[1]), SMALL.kernel_velocity(s[2], s[0], s[1])

    wanted = runge_kutta(rhs, (q, p, z), make_grid([0, 0.5, 1], step=0.1), TABLEAUS["rk4"])
    for found, parts in zip(path, zip(*wanted, strict=True), strict=True):
        assert gap(found, torch.stack(parts, -3)) <= EXACT


def test_adaptive_method_agrees_with_small_steps():
    q, p, z = start(SMALL)
    fine = shoot(SMALL, q, p, z, [0, 1], solver=Solver(step=0.01)).z
    adaptive = shoot(SMALL, q, p, z, [0, 1], solver=Solver(method="dopri5", rtol=1e-9)).z
    assert gap(adaptive, fine) < 1e-7  # the fourth power of the step, and rtol times condition


def test_particles_ride_like_data():
    """Data placed on the particles move with them."""
    q, p, _ = start(SMALL)
    path = shoot(SMALL, q, p, q, [0, 0.3, 1])
    assert gap(path.z, path.q) <= EXACT


def test_single_step_shapes_and_no_data():
    q, p, z = start(SMALL, runs=(2, 2))
    path = shoot(SMALL, q, p, z[..., :0, :], [0, 0.5, 1])
    assert path.q.shape == (2, 2, 3, 3, SMALL.size)
    assert path.z.shape == (2, 2, 3, 0, SMALL.size)
    assert carry(SMALL, control(SMALL), z[0, 0, :0], [0, 1]).shape == (2, 0, SMALL.size)


@pytest.mark.parametrize("route", ["autograd", "adjoint", "native"])
def test_run_in_an_ensemble_equals_run_alone(route):
    q, p, z = start(SMALL, runs=(3,))
    solver = Solver(route=route)
    together = shoot(SMALL, q, p, z, [0, 1], solver=solver)
    alone = shoot(SMALL, q[1], p[1], z[1], [0, 1], solver=solver)
    assert all(gap(a[1], b) <= EXACT for a, b in zip(together, alone, strict=True))
    theta = control(SMALL, runs=(3,), blocks=2)
    carried = carry(SMALL, theta, z, [0, 1], solver=solver)
    one = carry(SMALL, {k: v[1] for k, v in theta.items()}, z[1], [0, 1], solver=solver)
    assert gap(carried[1], one) <= EXACT


# --- what does not fit ---------------------------------------------------------------------

EVERY_ROUTE = pytest.mark.parametrize("route", ["autograd", "adjoint", "native", "torchdiffeq"])


@EVERY_ROUTE
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"z": (4, 2)}, r"expected states z with trailing shape \(any, 8\), got \(4, 2\)"),
        ({"z": (4, 9)}, r"expected states z with trailing shape \(any, 8\)"),
        ({"q": (3, 7)}, r"expected states q with trailing shape \(any, 8\)"),
        ({"p": (2, 8)}, "expected a costate for each of 3 particles, got 2"),
        ({"p": (4, 8)}, "expected a costate for each of 3 particles, got 4"),
        ({"q": (2, 3, 8), "z": (5, 4, 8)}, r"expected run axes that agree, got \(2,\) of q"),
    ],
)
def test_shoot_refuses_what_does_not_fit_in_a_sentence(route, change, told):
    """Compiled code would read past the end of what is too short."""
    shapes = {"q": (3, 8), "p": (3, 8), "z": (4, 8)} | change
    states = {name: torch.zeros(shape) for name, shape in shapes.items()}
    with pytest.raises(ValueError, match=told):
        shoot(SMALL, **states, times=[0, 1], solver=Solver(route=route))


@EVERY_ROUTE
@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda theta: theta.pop("b1"), "expected controls .* got"),
        (lambda theta: theta.update(b1=theta["b1"][:1]), "same runs and blocks in all controls"),
        (lambda theta: theta.update(b1=theta["b1"].mT), r"control b1 with trailing shape \(any, 2"),
        (lambda theta: theta.update({k: v[0] for k, v in theta.items()}), "axis for the blocks"),
    ],
)
def test_carry_refuses_controls_that_do_not_fit(route, spoil, told):
    theta = control(SMALL, blocks=2)
    spoil(theta)
    with pytest.raises(ValueError, match=told):
        carry(SMALL, theta, torch.zeros(4, 8), [0, 1], solver=Solver(route=route))


@EVERY_ROUTE
def test_carry_refuses_states_without_their_lift(route):
    with pytest.raises(ValueError, match="pack all slots into one axis"):
        carry(SMALL, control(SMALL), torch.zeros(4, 2), [0, 1], solver=Solver(route=route))


@EVERY_ROUTE
def test_run_axes_are_shared_on_every_route(route):
    """Data given once go to every run; particles given once carry the data of every run."""
    q, p, z = start(SMALL, runs=(2,))
    solver = Solver(route=route)
    for once in ((q, p, z[0]), (q[0], p[0], z)):
        found = shoot(SMALL, *once, [0, 1], solver=solver)
        whole = [t.expand(2, *t.shape[-2:]) for t in once]
        wanted = shoot(SMALL, *whole, [0, 1], solver=solver)
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
        assert found.q.shape == found.p.shape == (2, 2, 3, 8)
    theta = control(SMALL, runs=(2,), blocks=2)
    carried = carry(SMALL, theta, z[0], [0, 1], solver=solver)
    assert torch.equal(carried, carry(SMALL, theta, z[0].expand(2, 4, 8), [0, 1], solver=solver))


@EVERY_ROUTE
def test_without_particles_nothing_moves(route):
    q, p, z = start(SMALL)
    z.requires_grad_()
    path = shoot(SMALL, q[:0], p[:0], z, [0, 1], solver=Solver(route=route))
    assert torch.equal(path.z[-1], z)
    (bar,) = torch.autograd.grad(path.z[-1].sum(), z)
    assert torch.equal(bar, torch.ones_like(z))


def test_torchdiffeq_is_not_asked_for_a_method_it_lacks(monkeypatch):
    q, p, z = start(SMALL)
    with refused("torchdiffeq", "try 'rk4'"):
        shoot(SMALL, q, p, z, [0, 1], solver=Solver("classical", route="torchdiffeq"))
    monkeypatch.setenv("SHOOTING_ROUTE", "torchdiffeq")
    assert Solver("classical").active_route(SMALL, q, p, z) == "native"
    assert Solver("rk4").active_route(SMALL, q, p, z) == "torchdiffeq"


# --- all routes, all forms -------------------------------------------------------------------


@settings(max_examples=40)
@given(
    kind=st.sampled_from([k for k in sorted(FIELDS) if "spd" not in k and k != "custom"]),
    sigma=st.sampled_from(["relu", "tanh", "softplus", "identity"]),
    method=st.sampled_from(sorted(TABLEAUS)),
    route=st.sampled_from(["adjoint", "native", "torchdiffeq"]),
    d=st.integers(1, 3),
    alpha=st.integers(1, 6),
    count=st.integers(1, 18),
    rows=st.integers(1, 20),
    runs=st.sampled_from([(), (1,), (3,), (2, 2)]),
    seed=st.integers(0, 10**6),
)
def test_routes_agree(kind, sigma, method, route, d, alpha, count, rows, runs, seed):
    if route == "torchdiffeq" and method == "classical":
        return  # torchdiffeq has no such method
    field = FIELDS[kind](d, alpha, sigma)
    q, p, z = start(field, runs=runs, count=count, rows=rows, seed=seed)
    p, times = p / count, [0, 0.3, 0.5, 1]
    found = shoot(field, q, p, z, times, solver=Solver(method, 0.25, route=route))
    for form in ("theta", "kernel"):
        solver = Solver(method, 0.25, route="autograd", form=form)
        wanted = shoot(field, q, p, z, times, solver=solver)
        assert all(gap(a, b) <= EXACT for a, b in zip(found, wanted, strict=True))
    theta = control(field, runs=runs, blocks=2, seed=seed)
    found = carry(field, theta, z, times, solver=Solver(method, 0.25, route=route))
    wanted = carry(field, theta, z, times, solver=Solver(method, 0.25, route="autograd"))
    assert gap(found, wanted) <= EXACT


@pytest.mark.parametrize("route", ["autograd", "adjoint", "native", "torchdiffeq"])
def test_gradcheck(route):
    solver, field = Solver(step=0.5, route=route), UpDown(1, 2, sigma="tanh")
    q, p, z = (t.requires_grad_() for t in start(field, runs=(2,), count=2, rows=1))
    assert gradcheck(lambda *s: tuple(shoot(field, *s, [0, 0.5, 1], solver=solver)), (q, p, z))
    theta = control(field, runs=(2,), blocks=2)
    names = list(theta)

    def carried(z, *values):
        return carry(field, dict(zip(names, values, strict=True)), z, [0, 0.3, 1], solver=solver)

    assert gradcheck(carried, (z, *(v.requires_grad_() for v in theta.values())))


# --- block ends ------------------------------------------------------------------------------


def block_end_errors(solve):
    """Errors at t = 1 against a fine solve, for steps 1/10, 1/20, 1/40 and 5 blocks."""
    field = UpDown(1, 8, sigma="tanh")
    theta, z = control(field, blocks=5), draw(5, 6, field.size)
    theta = {k: 2 * v for k, v in theta.items()}
    exact = carry(field, theta, z, [0, 1], solver=Solver(step=1 / 640))[-1]
    return [gap(solve(field, theta, z, 1 / n), exact) for n in (10, 20, 40)]


def test_order_survives_block_ends():
    errors = block_end_errors(
        lambda f, th, z, h: carry(f, th, z, [0, 1], solver=Solver(step=h))[-1]
    )
    assert fitted_order(errors, [10, 20, 40]) > 3.7  # order 4, met from step 0.1 on


def test_looking_the_block_up_by_time_loses_the_order():
    """Control: floor(t / length) gives the last stage of a block the next block's control."""

    def by_time(field, theta, z, h):
        def rhs(t, state):
            b = min(4, int(5 * t + 1e-9))
            return (field.velocity(state[0], {k: v[b] for k, v in theta.items()}),)

        return runge_kutta(rhs, (z,), make_grid([0, 1], step=h), TABLEAUS["rk4"])[-1][0]

    errors = block_end_errors(by_time)
    assert errors[0] > 1e-2  # the jump of the control times h / 8, at each of four block ends
    assert fitted_order(errors, [10, 20, 40]) < 1.3


# --- choosing a route ------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_wish(monkeypatch):
    monkeypatch.delenv("SHOOTING_ROUTE", raising=False)


def test_auto_takes_the_fastest_that_applies(monkeypatch):
    q, p, z = start(SMALL)
    learned = q.clone().requires_grad_()
    auto = Solver()
    assert auto.active_route(SMALL, q, p, z) == auto.active_route() == "native"
    monkeypatch.setattr(native, "library_error", lambda dtype=None: "no compiler; get one")
    assert auto.active_route(SMALL, learned, p, z) == auto.active_route() == "adjoint"
    assert auto.active_route(SMALL, q, p, z) == "autograd"
    with torch.no_grad():
        assert auto.active_route(SMALL, learned, p, z) == "autograd"
    assert Solver(method="dopri5").active_route(SMALL, q, p, z) == "torchdiffeq"


def test_auto_steps_back_where_the_fast_routes_do_not_apply():
    q, p, z = (t.requires_grad_() for t in start(SMALL))
    swish = Activation(
        "swish",
        torch.nn.functional.silu,
        lambda v: torch.autograd.functional.jvp(torch.nn.functional.silu, v, torch.ones_like(v))[1],
        torch.zeros_like,
    )
    own = UpDown(2, 3, sigma=swish)
    assert Solver().active_route(own, q, p, z) == "adjoint"
    matrix = FIELDS["updown-spd"](2, 3, "tanh")
    assert Solver().active_route(matrix, q, p, z) == "autograd"
    assert Solver().active_route(matrix, z, verb="carry") == "native"
    assert Solver(form="theta").active_route(SMALL, q, p, z) == "autograd"
    assert Solver().active_route(SMALL, q.half(), p.half(), z.half()) == "adjoint"
    assert Solver().active_route(SMALL, q.float(), p, z) == "autograd"


def test_autograd_is_not_silently_replaced_by_torchdiffeq():
    q, p, z = start(SMALL)
    with refused("autograd", "try route='torchdiffeq'"):
        shoot(SMALL, q, p, z, [0, 1], solver=Solver(route="autograd", method="dopri5"))
    assert Solver(method="dopri5").active_route(SMALL, q, p, z) == "torchdiffeq"


@pytest.mark.parametrize("route", ["native", "adjoint"])
def test_a_route_that_does_not_apply_is_refused(route, monkeypatch):
    q, p, z = start(SMALL)
    matrix = FIELDS["affine-spd"](2, 4, "tanh")
    cases = [(Solver(route=route, method="dopri5"), SMALL, "dopri5")]
    if route == "native":  # the discrete adjoint of any field has no such limits
        cases += [
            (Solver(route=route), matrix, "weight is a matrix"),
            (Solver(route=route, form="theta"), SMALL, "kernel form"),
        ]
    for solver, field, reason in cases:
        with refused(route, reason):
            shoot(field, q, p, z, [0, 1], solver=solver)
    with refused(route, "differ in dtype"):
        Solver(route=route).active_route(SMALL, q.float(), p, z)


def test_native_refuses_what_it_does_not_know(monkeypatch):
    q, p, z = (t.half() for t in start(SMALL))
    with refused("native", "float16"):
        shoot(SMALL, q, p, z, [0, 1], solver=Solver(route="native"))
    own = Affine(8, sigma=Activation("own", torch.sin, torch.cos, lambda v: -torch.sin(v)))
    with refused("native", "'own'"):
        shoot(own, *start(own), [0, 1], solver=Solver(route="native"))
    monkeypatch.setattr(native, "library_error", lambda dtype=None: "no compiler; get one")
    with refused("native", "no compiler"):
        Solver(route="native").active_route()


def test_the_variable_replaces_auto_where_it_applies(monkeypatch):
    q, p, z = start(SMALL)
    matrix = FIELDS["updown-spd"](2, 3, "tanh")
    for wish in ("adjoint", "autograd", "torchdiffeq", "native"):
        monkeypatch.setenv("SHOOTING_ROUTE", wish)
        assert Solver().active_route(SMALL, q, p, z) == wish
        assert Solver(route="autograd").active_route(SMALL, q, p, z) == "autograd"
        assert Solver(method="dopri5").active_route(SMALL, q, p, z) == "torchdiffeq"
    assert Solver().active_route(matrix, q, p, z) == "autograd"  # of the last wish, native
    monkeypatch.setattr(native, "library_error", lambda dtype=None: "no compiler; get one")
    with refused("SHOOTING_ROUTE=native", "no compiler"):
        Solver().active_route(SMALL, q, p, z)
    monkeypatch.setenv("SHOOTING_ROUTE", "fastest")
    with refused("'fastest'"):
        Solver().active_route(SMALL, q, p, z)


@pytest.mark.parametrize("route", ["native", "adjoint"])
def test_the_route_reported_is_the_route_taken(route, monkeypatch):
    """Each engine is replaced by one that says its name."""
    model = DynamicParticles(SMALL, 3, seeds=[0], solver=Solver(route=route))
    calls = []
    for name, module in (("native", native), ("adjoint", adjoint)):

        def forward(self, *arguments, name=name, original=module.Shooting.forward):
            calls.append(name)
            return original(self, *arguments)

        monkeypatch.setattr(module.Shooting, "forward", forward)
    model(draw(1, 4, 2), [0, 1])
    assert calls == [model.solver.active_route(model.field, *model.parameters())] == [route]


@EVERY_ROUTE
def test_mixed_dtypes_are_refused_in_a_sentence(route):
    q, p, z = start(SMALL)
    for one in ({"q": q.float()}, {"p": p.float()}, {"z": z.half()}):
        states = {"q": q, "p": p, "z": z} | one
        with refused("float64", str(next(iter(one.values())).dtype)):
            shoot(SMALL, **states, times=[0, 1], solver=Solver(route=route))
    with refused("float32", "of b1"):
        theta = control(SMALL)
        carry(SMALL, theta | {"b1": theta["b1"].float()}, z, [0, 1], solver=Solver(route=route))


def test_what_is_no_tensor_and_no_solver_is_refused_in_a_sentence():
    q, p, z = start(SMALL)
    with refused("states z as a tensor", "ndarray"):
        shoot(SMALL, q, p, z.numpy(), [0, 1])
    with refused("states z as a tensor", "list"):
        carry(SMALL, control(SMALL), z.tolist(), [0, 1])
    with refused("a Solver", "'rk4'"):
        shoot(SMALL, q, p, z, [0, 1], solver="rk4")
    with refused("a Solver", "'rk4'"):
        carry(SMALL, control(SMALL), z, [0, 1], solver="rk4")


# --- backward in depth -----------------------------------------------------------------------


def returned(verb: str, solver: Solver, times: list[float]) -> float:
    """How far states are from their start after a solve and its inverse, in steps of another."""
    other = Solver(solver.method, 0.7 * solver.step, route=solver.route)  # else errors may cancel
    q, p, z = start(SMALL)
    if verb == "carry":
        theta = {k: 2 * v for k, v in control(SMALL, blocks=3).items()}
        there = carry(SMALL, theta, z, times, solver=solver)
        back = carry(SMALL, theta, there[-1], times[::-1], solver=other)
        return gap(back[-1], z)
    there = shoot(SMALL, q, 2 * p, z, times, solver=solver)
    back = shoot(SMALL, *(part[-1] for part in there), times[::-1], solver=other)
    return max(gap(b[-1], a) for a, b in zip((q, 2 * p, z), back, strict=True))


@EVERY_ROUTE
@pytest.mark.parametrize("verb", ["shoot", "carry"])
def test_there_and_back_is_the_identity_up_to_the_methods_error(verb, route):
    steps = [10, 20, 40]
    errors = [returned(verb, Solver(step=1 / n, route=route), [0.0, 0.4, 1.0]) for n in steps]
    assert fitted_order(errors, steps) > 3.5  # order 4, met from step 0.1 on
    assert errors[-1] < 1e-5  # (1/40)^4 = 4e-7 times derivatives of order ten


@EVERY_ROUTE
def test_decreasing_times_are_a_field_of_the_other_sign(route):
    """Step by step: momenta of the other sign turn the shooting system round."""
    q, p, z = start(SMALL)
    solver = Solver(step=0.1, route=route)
    back = shoot(SMALL, q, p, z, [1.0, 0.6, 0.0], solver=solver)
    turned = shoot(SMALL, q, -p, z, [0.0, 0.4, 1.0], solver=solver)
    assert gap(back.z, turned.z) <= EXACT
    assert gap(back.q, turned.q) <= EXACT
    assert gap(back.p, -turned.p) <= EXACT
    assert gap(back.z, shoot(SMALL, q, p, z, [0.0, 0.4, 1.0], solver=solver).z) > 1e-2


@EVERY_ROUTE
def test_going_back_the_last_block_comes_first(route):
    theta, solver = control(SMALL, blocks=3), Solver(step=0.1, route=route)
    z = start(SMALL)[2]
    found = carry(SMALL, theta, z, [3.0, 2.5, 1.0, 0.0], solver=solver)
    mirrored = {k: -v.flip(-3) for k, v in theta.items()}
    assert gap(found, carry(SMALL, mirrored, z, [0.0, 0.5, 2.0, 3.0], solver=solver)) <= EXACT
    wrong = {k: -v for k, v in theta.items()}
    assert gap(found, carry(SMALL, wrong, z, [0.0, 0.5, 2.0, 3.0], solver=solver)) > 1e-2


@EVERY_ROUTE
def test_gradients_of_backward_solves_are_those_of_autograd(route):
    q, p, z = (t.requires_grad_() for t in start(SMALL))
    theta = {k: v.requires_grad_() for k, v in control(SMALL, blocks=3).items()}
    inputs, found = [q, p, z, *theta.values()], []
    for name in (route, "autograd"):
        solver = Solver(route=name)
        loss = shoot(SMALL, q, p, z, [1.0, 0.2], solver=solver).z.square().sum()
        loss = (
            loss + carry(SMALL, theta, z, [1.0, 0.2], span=(0, 1.2), solver=solver).square().sum()
        )
        found.append(torch.autograd.grad(loss, inputs))
    assert all(gap(a, b) <= EXACT for a, b in zip(*found, strict=True))


def test_blocks_of_a_span_stay_in_place():
    theta, z = control(SMALL, blocks=3), start(SMALL)[2]
    whole = carry(SMALL, theta, z, [0.0, 0.5, 1.5, 3.0], solver=Solver(step=0.05))
    part = carry(SMALL, theta, whole[1], [0.5, 1.5], span=(0.0, 3.0), solver=Solver(step=0.05))
    assert gap(part[-1], whole[2]) < 1e-6  # other nodes: 0.05^4 = 6e-6 of small derivatives
    assert gap(carry(SMALL, theta, whole[1], [0.5, 1.5])[-1], whole[2]) > 1e-3  # the control


# --- a solver's settings ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"route": "gpu"}, "gpu"),
        ({"form": "gram"}, "gram"),
        ({"method": "rk5"}, "dopri5"),  # torchdiffeq's are in the list
        ({"method": "rk5"}, "'rk5'; try 'rk4'"),
        ({"method": "scipy_solver"}, "scipy_solver"),  # it needs options
        ({"method": None}, "None"),
        ({"step": 0.0}, "0.0"),
        ({"step": float("nan")}, "nan"),
        ({"step": "0.1"}, "'0.1'"),
        ({"rtol": -1}, "rtol"),
        ({"atol": float("inf")}, "atol"),
        ({"atol": None}, "atol"),
        ({"atol": 0, "rtol": 0.0}, "above 0"),
    ],
)
def test_bad_settings_are_refused_at_once(settings, told):
    with refused(told):
        Solver(**settings)


def test_numbers_of_numpy_are_numbers():
    solver = Solver(step=np.float32(0.25), rtol=np.float64(1e-5), atol=0)
    q, p, z = start(SMALL)
    wanted = shoot(SMALL, q, p, z, [0, 1], solver=Solver(step=0.25))
    assert torch.equal(shoot(SMALL, q, p, z, [0, 1], solver=solver).z, wanted.z)


def test_all_routes_are_listed():
    assert set(ROUTES) == {"auto", "native", "adjoint", "autograd", "torchdiffeq"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_the_adjoint_runs_on_a_gpu():
    q, p, z = (t.cuda().requires_grad_() for t in start(SMALL, runs=(2,)))
    assert Solver().active_route(SMALL, q, p, z) == "adjoint"
    loss = shoot(SMALL, q, p, z, [0, 1]).z.square().sum()
    found = torch.autograd.grad(loss, (q, p, z))
    cpu = [t.detach().cpu().requires_grad_() for t in (q, p, z)]
    wanted = torch.autograd.grad(shoot(SMALL, *cpu, [0, 1]).z.square().sum(), cpu)
    assert all(gap(a.cpu(), b) <= EXACT for a, b in zip(found, wanted, strict=True))


def test_a_solver_is_one_entry_of_the_tableaus(monkeypatch):
    """Ralston's method, known nowhere else: every route takes it, with order two."""
    ralston = Tableau("ralston", ((), (2 / 3,)), (1 / 4, 3 / 4), 2)
    monkeypatch.setitem(TABLEAUS, "ralston", ralston)
    q, p, z = start(SMALL)
    wanted = shoot(SMALL, q, p, z, [0, 1], solver=Solver("classical", 0.01)).z[-1]
    for route in ("autograd", "adjoint", "native"):
        errors = [
            gap(
                shoot(SMALL, q, p, z, [0, 1], solver=Solver("ralston", h, route=route)).z[-1],
                wanted,
            )
            for h in (0.1, 0.05, 0.025)
        ]
        assert 1.7 < fitted_order(errors, (10, 20, 40)) < 2.3
