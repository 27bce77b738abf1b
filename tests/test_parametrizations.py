"""The four models: Tables 1 and 2, lifts, controls over depth, penalties, complexity."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import torch
import torch.nn.utils.parametrize
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import EXACT, control_gap, draw, fitted_order, flat, gap, refused, slopes, spd

from shooting import (
    Affine,
    ConvUpDown,
    DynamicDirect,
    DynamicParticles,
    Field,
    ParticleInit,
    Solver,
    StaticDirect,
    StaticParticles,
    Term,
    UpDown,
    carry,
    complexity,
)
from shooting.activations import ACTIVATIONS
from shooting.fit import count_parameters
from shooting.randomness import normal
from shooting.solvers import TABLEAUS, make_grid, runge_kutta

pytestmark = pytest.mark.usefixtures("float64")

# Table 1 (d = 1) and Table 2 (d = 2) as printed in the paper, K = 0 standing for no particles
TABLE_1 = {
    ("particles", 2): (28, 52, 100, 196, 388, 772),
    ("particles", 5): (58, 106, 202, 394, 778, 1546),
    ("particles", 15): (158, 286, 542, 1054, 2078, 4126),
    ("particles", 25): (258, 466, 882, 1714, 3378, 6706),
    ("dynamic direct", 0): (153, 461, 1557, 5669, 21573, 84101),
    ("static direct", 0): (37, 105, 337, 1185, 4417, 17025),
}
TABLE_2 = {
    ("particles", 15): (1116, 2172, 4284, 8508),
    ("particles", 25): (1796, 3492, 6884, 13668),
    ("particles", 50): (3496, 6792, 13384, 26568),
    ("static direct", 0): (1282, 4610, 17410, 67586),
    ("dynamic direct", 0): (6026, 22282, 85514, 334858),
}
ENTRIES = [
    (d, alpha, kind, k, want)
    for d, alphas, table in (
        (1, (4, 8, 16, 32, 64, 128), TABLE_1),
        (2, (16, 32, 64, 128), TABLE_2),
    )
    for (kind, k), row in table.items()
    for alpha, want in zip(alphas, row, strict=True)
]
MODELS = {
    "static direct": lambda field, **more: StaticDirect(field, **{"seed": 0, **more}),
    "static particles": lambda field, **more: StaticParticles(field, 4, **{"seed": 0, **more}),
    "dynamic particles": lambda field, **more: DynamicParticles(field, 4, **{"seed": 0, **more}),
    "dynamic direct": lambda field, **more: DynamicDirect(field, **{"seed": 0, **more}),
}
EVERY = pytest.mark.parametrize("name", MODELS)
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


def _field(sigma="tanh"):
    return UpDown(2, 3, sigma=sigma)


# --- Tables 1 and 2 ------------------------------------------------------------------------------


def test_there_are_56_entries():
    assert len(ENTRIES) == 56


@pytest.mark.parametrize(("d", "alpha", "kind", "k", "want"), ENTRIES)
def test_parameter_count_of_the_paper(d, alpha, kind, k, want):
    field = UpDown(d, alpha)
    models = {
        "particles": lambda: (
            DynamicParticles(field, k, seed=0),
            StaticParticles(field, k, seed=0),
        ),
        "static direct": lambda: (StaticDirect(field, seed=0),),
        "dynamic direct": lambda: (DynamicDirect(field, seed=0),),
    }[kind]()
    for model in models:
        assert model.count == want
        assert sum(w.numel() for w in model.parameters()) == want


def test_control_counts_depend_on_lift_and_blocks():
    """Dropping the lift, or taking ten blocks (the released code's default), is noticed."""
    field = UpDown(1, 16)
    assert DynamicParticles(field, 15, lift="zero", seed=0).count == 542 - 16 * 2
    assert DynamicDirect(field, blocks=10, seed=0).count != 1557


@EVERY
def test_count_is_of_one_run(name):
    one, three = MODELS[name](_field()), MODELS[name](_field(), seeds=range(3))
    assert one.count == three.count == count_parameters(three, 3) == flat(three).shape[-1]
    assert (one.runs, three.runs) == (1, 3)


# --- initial values and runs ---------------------------------------------------------------------


@EVERY
def test_run_of_an_ensemble_starts_as_it_would_alone(name):
    together = MODELS[name](_field(), seeds=[5, 2, 9])
    for i, s in enumerate((5, 2, 9)):
        assert torch.equal(flat(together)[i], flat(MODELS[name](_field(), seeds=[s]))[0])
        assert torch.equal(flat(together)[i], flat(MODELS[name](_field(), seed=s)))


@EVERY
def test_run_of_an_ensemble_predicts_as_it_would_alone(name):
    x = draw(0, 3, 6, 2)
    together = MODELS[name](_field(), seeds=[5, 2, 9])
    path = together(x, DEPTHS)
    assert path.shape == (3, 5, 6, 2)
    for i, s in enumerate((5, 2, 9)):
        alone = MODELS[name](_field(), seed=s)
        assert alone(x[i], DEPTHS).shape == (5, 6, 2)
        assert gap(alone(x[i], DEPTHS), path[i]) <= EXACT
        assert gap(alone.penalty(), together.penalty()[i]) <= EXACT
        one = {k: v[i] for k, v in together.theta(DEPTHS).items()}
        assert control_gap(alone.theta(DEPTHS), one) <= EXACT


@EVERY
def test_shared_data_serve_every_run(name):
    model, x = MODELS[name](_field(), seeds=range(3)), draw(0, 6, 2)
    assert gap(model(x, DEPTHS), model(x.expand(3, 6, 2), DEPTHS)) <= EXACT


@EVERY
def test_path_starts_at_the_data(name):
    model, x = MODELS[name](_field(), seed=1), draw(0, 6, 2)
    assert torch.equal(model(x, DEPTHS)[0], x)
    states = model.states(x, DEPTHS)
    assert states.shape == (5, 6, 8)
    assert torch.equal(states[..., :2], model(x, DEPTHS))
    assert torch.equal(states[0], model.lift(x))


def test_precision_changes_only_the_rounding():
    torch.set_default_dtype(torch.float32)
    try:
        low = flat(DynamicParticles(_field(), 4, seeds=[1, 2]))
    finally:
        torch.set_default_dtype(torch.float64)
    assert low.dtype == torch.float32
    assert torch.equal(low, flat(DynamicParticles(_field(), 4, seeds=[1, 2])).float())


def _replaced(part):
    part.data = 2 * part.data


def _updated(part):
    with torch.no_grad():
        part.mul_(2)


def _laid_out_otherwise(part):
    part.data = part.data.transpose(0, -1).contiguous().transpose(0, -1)


@EVERY
@pytest.mark.parametrize("change", [_replaced, _updated, _laid_out_otherwise])
def test_nothing_is_stale_after_a_change(name, change):
    """However the parameters change between two steps, values and gradients are the new ones."""
    model, x = MODELS[name](_field(), seeds=range(2)), draw(0, 2, 3, 2)
    (model(x, [0.0, 1.0]).sum() + model.penalty().sum()).backward()
    for part in model.parameters():
        change(part)
    fresh = copy.deepcopy(model)
    for one in (model, fresh):
        one.zero_grad()
        (one.penalty().sum() + one(x, [0.0, 1.0]).square().sum()).backward()
    assert torch.equal(flat(model), flat(fresh))
    # a copy lies elsewhere in memory, which may order the sums of a product otherwise
    assert gap(slopes(model), slopes(fresh)) <= EXACT
    assert float(slopes(fresh).abs().max()) > 0


# --- parameters by name --------------------------------------------------------------------------

NAMES = {
    "static direct": [*UpDown(2, 3).shapes],
    "dynamic direct": [*UpDown(2, 3).shapes],
    "static particles": ["x", "v", "p"],
    "dynamic particles": ["x", "v", "p"],
}


@EVERY
def test_a_state_names_its_parts(name):
    model = MODELS[name](_field(), seeds=range(2))
    assert [*model.state_dict()] == [*NAMES[name], "lift.weight", "lift.bias"]
    assert [*model.state_dict()] == [k for k, _ in model.named_parameters()]


def test_a_field_of_one_slot_has_no_v():
    assert [*DynamicParticles(Affine(2), 3, seed=0).state_dict()] == ["x", "p"]


def test_a_control_named_like_an_attribute_is_refused():
    field = Field({"x": 2}, [Term("theta", "x", "x")])
    with refused("a control whose name", "'theta'", "as in 'theta1'"):
        StaticDirect(field, seed=0)
    DynamicParticles(field, 3, seed=0)  # has no such parameter


@EVERY
def test_parts_have_their_own_weight_decay_and_rate_in_any_optimiser(name):
    model, x = MODELS[name](_field(), seed=0), draw(0, 5, 2)
    before = {k: w.detach().clone() for k, w in model.named_parameters()}
    first, *_ = NAMES[name]
    lift = [w for k, w in model.named_parameters() if k.startswith("lift")]
    rest = [w for k, w in model.named_parameters() if not k.startswith("lift") and k != first]
    optimiser = torch.optim.SGD(
        [
            {"params": [model.get_parameter(first)], "lr": 0.0},
            {"params": lift, "weight_decay": 1.0},
            {"params": rest},
        ],
        lr=0.1,
    )
    model(x, DEPTHS).square().sum().backward()
    grads = {k: w.grad.clone() for k, w in model.named_parameters()}
    optimiser.step()
    for k, w in model.named_parameters():
        rate, decay = (0.0, 0.0) if k == first else (0.1, 1.0 * k.startswith("lift"))
        assert gap(w, before[k] - rate * (grads[k] + decay * before[k])) <= EXACT


@EVERY
def test_a_part_can_be_held_by_requires_grad(name):
    """With PyTorch's L-BFGS the lift stays to the bit and the rest learns."""
    model, x = MODELS[name](_field(), seed=0), draw(0, 5, 2)
    model.lift.requires_grad_(False)
    lift, start = [w.clone() for w in model.lift.parameters()], flat(model)
    optimiser = torch.optim.LBFGS(w for w in model.parameters() if w.requires_grad)

    def loss():
        optimiser.zero_grad()
        value = (model(x, DEPTHS)[-1] + x).square().sum() + model.penalty()
        value.backward()
        return value

    first = float(loss().detach())
    optimiser.step(loss)
    assert float(loss().detach()) < first
    assert all(map(torch.equal, model.lift.parameters(), lift))
    assert not torch.equal(flat(model), start)


@EVERY
def test_parts_can_be_parametrised(name):
    """A constraint by `torch.nn.utils.parametrize` holds in the call, and its gradient arrives."""
    model, x = MODELS[name](_field(), seed=0), draw(0, 5, 2)
    part, count = NAMES[name][-1], model.count
    plain = model(x, DEPTHS).detach()
    torch.nn.utils.parametrize.register_parametrization(model, part, _Doubled())
    assert gap(model(x, DEPTHS), plain) > 1e-6
    model(x, DEPTHS).sum().backward()
    assert float(model.parametrizations[part].original.grad.abs().max()) > 0
    assert model.count == count


class _Doubled(torch.nn.Module):
    def forward(self, w):
        return 2 * w


# --- states that do not fit ----------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("seeds", [None, (0, 1)])
def test_a_state_goes_into_a_model_of_the_same_kind(name, seeds, tmp_path):
    """Through a file too, where PyTorch reads tensors and nothing else."""
    x, (one, two) = draw(0, 5, 2), (MODELS[name](_field(), seeds=seeds) for _ in range(2))
    with torch.no_grad():
        for w in one.parameters():
            w.mul_(3)
    torch.save(one.state_dict(), tmp_path / "state.pt")
    two.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(one(x, DEPTHS), two(x, DEPTHS))


def _refused(mine, other, *words):
    """Refused alone and inside another module, saved and loaded, and nothing is changed."""
    before = flat(mine)
    with refused(*words):
        mine.load_state_dict(other.state_dict())
    with refused(*words):
        torch.nn.Sequential(mine).load_state_dict(torch.nn.Sequential(other).state_dict())
    assert torch.equal(flat(mine), before)


def test_a_state_of_another_momentum_scale_is_refused():
    _refused(
        DynamicParticles(_field(), 4, seed=0),
        DynamicParticles(_field(), 4, momentum_scale=1.0, seed=0),
        "a model with momentum scale 0.25",
        "got one with 1.0",
        "build the model as it was",
    )


def test_a_state_of_another_field_is_refused():
    """UpDown(2, 1) and UpDown(1, 3) have equally many numbers, tanh and ReLU equal shapes."""
    mine = DynamicParticles(UpDown(2, 3), 4, seed=0)
    _refused(
        mine, DynamicParticles(UpDown(2, 3, sigma="tanh"), 4, seed=0), "with field", "relu", "tanh"
    )
    spaces = UpDown(2, 1), UpDown(1, 3)
    one, two = (DynamicParticles(f, 5, seed=0) for f in spaces)
    assert one.count == two.count
    _refused(one, two, "with field", "'v': 2", "'v': 3")
    heavy = UpDown(2, 3, theta3_weight=2.0)
    _refused(mine, DynamicParticles(heavy, 4, seed=0), "with field")


@EVERY
def test_a_state_of_another_number_of_runs_is_refused(name):
    mine, other = MODELS[name](_field(), seeds=[0, 1]), MODELS[name](_field(), seeds=[0, 1, 2])
    _refused(mine, other, "of shape (2, ", "got (3, ", "number of runs")


def test_a_state_of_another_size_is_refused_without_its_settings_too():
    """As after a detour through a plain dictionary, which forgets what PyTorch keeps beside it."""
    mine, other = DynamicParticles(_field(), 4, seed=0), DynamicParticles(_field(), 5, seed=0)
    with refused("x of shape (4, 2)", "got (5, 2)"):
        mine.load_state_dict(dict(other.state_dict()))
    direct = DynamicDirect(_field(), blocks=2, depth=1.0, seed=0)
    _refused(direct, DynamicDirect(_field(), blocks=3, depth=1.0, seed=0), "(2, ", "(3, ", "blocks")
    _refused(direct, DynamicDirect(_field(), blocks=2, depth=2.0, seed=0), "depth 1.0", "2.0")


@EVERY
def test_a_model_in_use_can_be_copied(name):
    model, x = MODELS[name](_field(), seeds=range(2)), draw(0, 2, 3, 2)
    wanted = model(x, [0.0, 1.0])
    again = copy.deepcopy(model)
    assert again.lift.bias.data_ptr() != model.lift.bias.data_ptr()
    assert gap(again(x, [0.0, 1.0]), wanted) <= EXACT


@pytest.mark.parametrize("sigma", sorted(ACTIVATIONS))
def test_a_model_can_be_pickled(sigma):
    model = DynamicParticles(UpDown(1, 2, sigma=sigma), 3, seed=0)
    again, x = pickle.loads(pickle.dumps(model)), draw(0, 4, 1)
    assert torch.equal(again(x, [0.0, 1.0]), model(x, [0.0, 1.0]))


def test_data_of_another_precision_are_refused_in_a_sentence():
    model = DynamicParticles(UpDown(1, 2), 3, seed=0)
    for other in (torch.float32, torch.int64):
        with refused("data x of the model's torch.float64", str(other), "x.float()"):
            model(torch.ones(4, 1, dtype=other), [0.0, 1.0])


def test_appendix_e_initial_values():
    model = DynamicParticles(UpDown(2, 50), 200, seed=0)
    parts = {k: t.detach() for k, t in model.named_parameters()}
    x, v, p = parts["x"], parts["v"], parts["p"]
    assert 1.4 < float(x.abs().max()) <= 1.5  # U(-1.5, 1.5), 400 draws
    # relative deviation of a standard deviation from n draws: 1 / sqrt(2 n) = 0.5%; four of them
    assert float(v.std()) == pytest.approx(0.5, rel=0.02)
    assert float(p.std()) == pytest.approx(0.1, rel=0.02)


def test_direct_initial_values_are_those_of_linear_layers():
    """A weight and its bias are U(±1/sqrt(fan in)), as torch.nn.Linear draws them."""
    model = DynamicDirect(UpDown(4, 25), seed=0)
    blocks = {k: v.detach() for k, v in model.theta_blocks().items()}
    fan_in = {"theta1": 100, "b1": 100, "theta2": 4, "b2": 4, "theta3": 100}
    for name, n in fan_in.items():
        top = float(blocks[name].abs().max()) * math.sqrt(n)
        assert 0.7 < top <= 1.0, name  # the largest of at least 20 draws


# --- momenta: mean and sum -----------------------------------------------------------------------


def test_published_mean_is_the_sum_over_k():
    """theta = mean_j of the learned momenta, by default; with scale 1 the sum, K times as much."""
    mean, total = (
        DynamicParticles(_field(), 5, seed=0),
        DynamicParticles(_field(), 5, momentum_scale=1.0, seed=0),
    )
    q, p = mean.start()[0], mean.p
    assert torch.equal(total.p, p)
    phi = mean.field.features(q)
    names = [t.name for t in mean.field.terms]
    parts = mean.field.split(p)
    for t, f, name in zip(mean.field.terms, phi, names, strict=True):
        published = (parts[t.out].unsqueeze(-1) * f.unsqueeze(-2)).mean(0) / float(t.metric)
        assert gap(mean.theta([0.0, 1.0])[name][0], published) <= EXACT
        assert gap(total.theta([0.0, 1.0])[name][0], 5 * published) <= EXACT


def test_published_dynamics_move_the_data_alike():
    """The released code evolves p_code = K p with means; the data follow the same path."""
    model, x = DynamicParticles(_field(), 5, solver=Solver(step=0.25), seed=0), draw(1, 7, 2)
    field = model.field

    def published(t, state):
        q, p, z = state
        theta = {k: v / 5 for k, v in field.theta(q, p).items()}  # mean_j in place of sum_j
        return field.velocity(q, theta), -field.pull_back(q, p, theta), field.velocity(z, theta)

    grid = make_grid(DEPTHS, step=0.25)
    start = (model.start()[0], model.p, model.lift(x))
    found = runge_kutta(published, start, grid, TABLEAUS["rk4"])
    assert gap(model.states(x, DEPTHS), torch.stack([s[2] for s in found])) <= EXACT
    assert gap(5 * model.particle_path(DEPTHS)[1], torch.stack([s[1] for s in found])) <= EXACT


# --- the control over depth ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["static direct", "static particles"])
@given(times=st.lists(st.floats(0, 3), min_size=2, max_size=6, unique=True).map(sorted))
@settings(max_examples=20)
def test_static_control_is_constant(name, times):
    model = MODELS[name](_field(), seeds=[0, 1])
    for k, v in model.theta(times).items():
        assert v.shape == (2, len(times), *model.field.shapes[k])
        assert torch.equal(v, v[:, :1].expand_as(v))


def test_control_dynamic_controls_are_not_constant():
    for name in ("dynamic direct", "dynamic particles"):
        theta = MODELS[name](_field(), seed=0).theta(DEPTHS)
        assert max(gap(v, v[:1].expand_as(v)) for v in theta.values()) > 1e-4, name


def test_static_particles_use_the_control_at_zero():
    static, dynamic = (MODELS[f"{k} particles"](_field(), seed=3) for k in ("static", "dynamic"))
    assert torch.equal(flat(static), flat(dynamic))
    first = {k: v[:1] for k, v in dynamic.theta(DEPTHS).items()}
    assert control_gap({k: v[:1] for k, v in static.theta(DEPTHS).items()}, first) <= EXACT
    assert gap(static.penalty(), dynamic.penalty()) == 0.0
    x = draw(0, 5, 2)
    assert gap(static(x, DEPTHS), dynamic(x, DEPTHS)) > 1e-6  # yet they move data differently


def test_dynamic_direct_is_right_continuous():
    model = DynamicDirect(_field(), blocks=5, seed=0)
    blocks, eps = model.theta_blocks(), 1e-3
    times = [0.0, 0.2 - eps, 0.2, 0.2 + eps, 0.4, 0.6 - eps, 0.6, 0.8, 1.0 - eps, 1.0]
    index = [0, 0, 1, 1, 2, 2, 3, 4, 4, 4]
    for k, v in model.theta(times).items():
        assert torch.equal(v, blocks[k][index])


def test_dynamic_direct_with_times_in_single_precision():
    model = DynamicDirect(_field(), blocks=5, seed=0)
    times = torch.linspace(0, 1, 11, dtype=torch.float32)
    for k, v in model.theta(times).items():
        assert torch.equal(v, model.theta_blocks()[k][[0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 4]])


@pytest.mark.parametrize("start", [0.0, 1.5])
def test_blocks_share_the_requested_interval(start):
    """Depth need not start at 0 nor end at 1."""
    model = DynamicDirect(_field(), blocks=2, seed=0)
    theta = model.theta([start, start + 1.0, start + 1.9, start + 2.0])
    for k, v in theta.items():
        assert torch.equal(v, model.theta_blocks()[k][[0, 1, 1, 1]])


def test_a_known_depth_holds_the_blocks_in_place():
    """Asked for half the way, a model of known depth answers with the first half of the whole."""
    field, x, short = _field(), draw(0, 4, 2), [0.0, 0.2, 0.5]
    model = DynamicDirect(field, depth=1.0, seed=0, solver=Solver(step=0.1))
    guess = DynamicDirect(field, seed=0, solver=Solver(step=0.1))
    whole = guess.theta([*short, 1.0])
    assert control_gap(model.theta(short), {k: v[:-1] for k, v in whole.items()}) == 0.0
    assert gap(model(x, short), guess(x, [*short, 1.0])[:-1]) <= EXACT
    assert gap(model(x, [*short, 1.0]), guess(x, [*short, 1.0])) == 0.0
    # the wrong version: without the depth all five blocks are squeezed into the half asked for
    assert gap(guess(x, short), guess(x, [*short, 1.0])[:-1]) > 1e-3


def test_times_outside_a_known_depth_are_refused():
    model, x = DynamicDirect(_field(), depth=0.2, seed=0), draw(0, 4, 2)
    with refused("[0, 0.2]", "0 to 1"):
        model(x, [0.0, 1.0])
    with refused("-0.1 to 0.2"):
        model.theta([-0.1, 0.2])
    assert model(x, [0.1, 0.2]).shape == (2, 4, 2)  # data that enter halfway
    assert model.theta([0.1, 0.2])["b1"].shape == (2, 2, 1)
    model(x, torch.tensor([0.0, 0.2], dtype=torch.float32))  # 0.2 rounds upwards


@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan])
def test_bad_depth_is_refused(bad):
    with refused(repr(bad), "depth"):
        DynamicDirect(_field(), depth=bad, seed=0)


def test_dynamic_direct_is_static_solves_chained():
    model, x = DynamicDirect(_field(), blocks=2, seed=0, solver=Solver(step=0.25)), draw(0, 4, 2)
    z = model.lift(x)
    for b in range(2):
        theta = {k: v[b] for k, v in model.theta_blocks().items()}
        grid = make_grid([0.0, 0.5], step=0.25)
        field = model.field

        def rhs(t, y, now=theta, field=field):
            return (field.velocity(y[0], now),)

        z = runge_kutta(rhs, (z,), grid, TABLEAUS["rk4"])[-1][0]
    assert gap(model.states(x, [0.0, 1.0])[-1], z) <= EXACT


def test_dynamic_particles_control_follows_the_particles():
    model = DynamicParticles(_field(), 4, seeds=[0, 1])
    q, p = model.particle_path(DEPTHS)
    assert q.shape == p.shape == (2, 5, 4, 8)
    assert control_gap(model.theta(DEPTHS), model.field.theta(q, p)) == 0.0


def _fine(name, **more):
    return MODELS[name](_field(), solver=Solver(step=0.02), **more)


DEPTH_KNOWN = {
    **MODELS,
    "known depth": lambda f, **more: DynamicDirect(f, depth=2.0, **{"seed": 0, **more}),
}
MODELS_AND_DEPTH = pytest.mark.parametrize("name", DEPTH_KNOWN)


@MODELS_AND_DEPTH
@pytest.mark.parametrize("seeds", [None, [0, 1]])
def test_theta_is_at_the_depths_named(name, seeds):
    """One depth or several, in any order, repeated: each as on the whole path from 0."""
    model = DEPTH_KNOWN[name](_field(), seeds=seeds, solver=Solver(step=0.02))
    whole = model.theta(DEPTHS)
    for asked, index in (
        ([1.0, 0.25, 0.25, 0.0], [4, 1, 1, 0]),
        ([1.0, 0.75, 0.5, 0.25, 0.0], [4, 3, 2, 1, 0]),
        (torch.tensor([0.0, 0.5, 1.0]), [0, 2, 4]),
    ):
        found = model.theta(asked)
        # steps of the same length with other nodes: h^4 = 2e-7 times derivatives below one
        assert control_gap(found, {k: v[..., index, :, :] for k, v in whole.items()}) < 1e-7
    if name == "dynamic direct":
        with refused("depth=1.0", "[0.5]"):
            model.theta([0.5])
    else:
        for asked, index in (([0.5], [2]), ([0.5, 1.0], [2, 4]), ([0.0], [0])):
            found = model.theta(asked)
            assert control_gap(found, {k: v[..., index, :, :] for k, v in whole.items()}) < 1e-7


def test_control_theta_of_shifted_times_is_another():
    """As it once was: the first time named was taken for depth 0."""
    model = _fine("dynamic particles", momentum_scale=1.0)
    first, later = (model.theta([t]) for t in (0.0, 0.5))
    assert control_gap(first, later) > 1e-3


# dynamic direct without a known depth does not know that there was more before
@pytest.mark.parametrize("name", [name for name in DEPTH_KNOWN if name != "dynamic direct"])
@pytest.mark.parametrize("seeds", [None, [0, 1]])
def test_data_enter_at_the_first_time(name, seeds):
    """What is carried from 0.5 on is the second half of what is carried from 0 on."""
    model = DEPTH_KNOWN[name](_field(), seeds=seeds, solver=Solver(step=0.02))
    whole = model.states(draw(0, 5, 2), [0.0, 0.5, 1.0, 2.0])
    late = model.flow(whole[..., 1, :, :], [0.5, 1.0, 2.0])
    assert gap(late, whole[..., 1:, :, :]) < 1e-7  # as above
    if name in ("dynamic particles", "known depth"):
        early = model.flow(whole[..., 1, :, :], [0.0, 0.5, 1.5])  # the control
        assert gap(early, whole[..., 1:, :, :]) > 1e-5


@MODELS_AND_DEPTH
@pytest.mark.parametrize("seeds", [None, [0, 1]])
def test_backward_is_the_inverse_of_forward(name, seeds):
    """Through the same theta(t), so that the last block of a direct model comes first."""
    strong = {"momentum_scale": 2.0} if "particles" in name else {}
    steps, errors = [10, 20, 40], []
    for n in steps:
        model = DEPTH_KNOWN[name](_field(), seeds=seeds, **strong)
        model.solver = Solver(step=1 / n)
        whole = model.states(draw(0, 5, 2), [0.0, 0.3, 1.0])
        model.solver = Solver(step=0.7 / n)  # else the errors there and back may cancel
        back = model.flow(whole[..., -1, :, :], [1.0, 0.3, 0.0])
        errors.append(gap(back.flip(-3), whole))
        assert torch.equal(back[..., 0, :, :], whole[..., -1, :, :])
    assert fitted_order(errors, steps) > 3.5  # order 4, met from step 0.1 on
    assert errors[-1] < 1e-6  # (1/40)^4 = 4e-7 times derivatives of order one


def test_control_backward_through_another_theta_is_no_inverse():
    model = _fine("dynamic particles", momentum_scale=4.0)
    z = model.states(draw(0, 5, 2), [0.0, 1.0])
    there = model.flow(z[-1], [2.0, 1.0])[-1]  # through theta on [1, 2]
    assert gap(there, z[0]) > 1e-2
    direct = _fine("dynamic direct")
    z = direct.states(draw(0, 5, 2), [0.0, 1.0])
    first_again = {k: -v for k, v in direct.theta_blocks().items()}  # blocks in the order of before
    assert gap(carry(_field(), first_again, z[-1], [0.0, 1.0])[-1], z[0]) > 1e-3


def test_data_of_a_field_without_hidden_slots_go_back_by_the_call():
    model, x = (
        DynamicParticles(Affine(2, sigma="tanh"), 4, solver=Solver(step=0.02), seed=0),
        draw(0, 5, 2),
    )
    assert gap(model(model(x, [0.0, 1.0])[-1], [1.0, 0.0])[-1], x) < 1e-6  # h^4 = 2e-7


# --- batches -------------------------------------------------------------------------------------


@MODELS_AND_DEPTH
@pytest.mark.parametrize("batch", [(3,), (2, 3), (1,), (0,)])
def test_leading_axes_of_a_single_run_are_batches(name, batch):
    """``(*batch, n, d)`` gives ``(*batch, times, n, d)``, each as alone."""
    model, x = DEPTH_KNOWN[name](_field()), draw(0, *batch, 6, 2)
    path, states = model(x, DEPTHS), model.states(x, DEPTHS)
    assert path.shape == (*batch, 5, 6, 2)
    assert states.shape == (*batch, 5, 6, 8)
    for index in np.ndindex(*batch):
        assert gap(path[index], model(x[index], DEPTHS)) <= EXACT
        assert gap(states[index], model.states(x[index], DEPTHS)) <= EXACT
    if batch == (3,):
        assert gap(path[0], model(x[1], DEPTHS)) > 1e-2  # the control


def test_batches_of_images():
    model = DynamicParticles(
        ConvUpDown(2, 1, sites=(3, 4), padding="zero", sigma="tanh"), 3, seed=0
    )
    x = draw(0, 2, 5, 2, 3, 4)
    path = model(x, [0.0, 1.0])
    assert path.shape == (2, 2, 5, 2, 3, 4)
    assert gap(path[1], model(x[1], [0.0, 1.0])) <= EXACT


def test_data_of_another_precision_are_converted_under_autocast_only():
    model = DynamicParticles(_field(), 4, solver=Solver(route="autograd"), seed=0).float()
    with torch.autocast("cpu", torch.bfloat16):
        assert model(torch.zeros(5, 2, dtype=torch.bfloat16), [0.0, 1.0]).shape == (2, 5, 2)
    with refused("bfloat16"):
        model(torch.zeros(5, 2, dtype=torch.bfloat16), [0.0, 1.0])


# --- shown ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (
            lambda: DynamicParticles(UpDown(2, 3), 5, seed=0),
            "UpDown(d=2, alpha=3, relu), K=5, 98 numbers",
        ),
        (
            lambda: StaticParticles(Affine(2, sigma="tanh"), 5, seeds=range(7)),
            "Affine(x=2, tanh), K=5, 20 numbers, runs=7",
        ),
        (
            lambda: DynamicDirect(UpDown(1, 2, sigma=torch.sin), depth=2.0, seed=0),
            "UpDown(d=1, alpha=2, sin), blocks=5, depth=2, 59 numbers",
        ),
        (
            lambda: DynamicParticles(ConvUpDown(1, 2, sites=(3, 4), padding="zero"), 3, seed=0),
            "ConvUpDown(x=12, v=24, relu), K=3, 220 numbers",
        ),
    ],
)
def test_a_model_shows_field_sizes_and_count(model, told):
    assert told in " ".join(repr(model()).split())


# --- penalties -----------------------------------------------------------------------------------


@EVERY
def test_penalty_is_r_of_the_control_averaged_over_depth(name):
    """R at 0 for static and particle models, the mean over blocks for dynamic direct."""
    model = MODELS[name](_field(), seeds=[0, 1])
    mids = [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0]  # 0.1, ..., 0.9: one in each block
    each = model.field.penalty(model.theta(mids))
    want = each[:, 1:6].mean(-1) if name == "dynamic direct" else each[:, 0]
    assert model.penalty().shape == (2,)
    assert gap(model.penalty(), want) <= EXACT


def test_penalty_of_particles_is_conserved():
    model = DynamicParticles(_field(), 4, seed=0, momentum_scale=1.0, solver=Solver(step=0.025))
    each = model.field.penalty(model.theta(DEPTHS))
    # drift of a fourth-order method, h^4 = 4e-7 times derivatives of order one
    assert gap(each, model.penalty().expand_as(each)) < 1e-6


def test_control_mean_over_blocks_is_not_the_sum():
    model = DynamicDirect(_field(), blocks=5, seed=0)
    total = sum(
        model.field.penalty({k: v[b] for k, v in model.theta_blocks().items()}) for b in range(5)
    )
    assert gap(5 * model.penalty(), total) <= EXACT
    assert gap(model.penalty(), total) > 0.1


# --- lifts ---------------------------------------------------------------------------------------


@EVERY
def test_lift_kinds(name):
    learned, fixed, zero = (
        MODELS[name](_field(), seeds=[0, 1], lift=k) for k in ("learned", "fixed", "zero")
    )
    x = draw(0, 5, 2)
    parts = dict(learned.named_parameters())
    v = x @ parts["lift.weight"].mT + parts["lift.bias"].unsqueeze(-2)
    assert gap(learned.lift(x.expand(2, 5, 2))[..., 2:], v) <= EXACT
    assert gap(fixed.lift(x.expand(2, 5, 2))[..., 2:], v) <= EXACT  # where training starts from
    assert not zero.lift(x.expand(2, 5, 2))[..., 2:].any()
    assert learned.count - fixed.count == learned.count - zero.count == 6 * (2 + 1)
    assert "lift.weight" not in dict(fixed.named_parameters())
    square = (parts["lift.weight"] ** 2).sum((-1, -2)) + (parts["lift.bias"] ** 2).sum(-1)
    assert gap(learned.lift_square(), square) <= EXACT
    assert torch.equal(fixed.lift_square(), torch.zeros(2))
    assert torch.equal(zero.lift_square(), torch.zeros(2))


def test_fixed_lift_is_saved_with_the_model():
    fixed, other = (DynamicParticles(_field(), 3, seed=s, lift="fixed") for s in (0, 1))
    other.load_state_dict(fixed.state_dict())
    x = draw(0, 5, 2)
    assert torch.equal(other(x, DEPTHS), fixed(x, DEPTHS))


@EVERY
def test_affine_field_needs_no_lift(name):
    model, x = MODELS[name](Affine(2, weight=spd(0, 2)), seeds=[0, 1]), draw(0, 2, 5, 2)
    assert torch.equal(model.lift(x), x)
    assert torch.equal(model.lift_square(), torch.zeros(2))
    assert model(x, DEPTHS).shape == (2, 5, 5, 2)


# --- complexity ----------------------------------------------------------------------------------


def test_complexity_by_hand():
    """One block of known entries: squared = T log2 S, norm = T log2 sqrt(S + biases)."""
    model = StaticDirect(UpDown(1, 2), seed=0)
    entries = {"theta1": 1.0, "b1": 3.0, "theta2": 2.0, "b2": 1.0, "theta3": 1.0}
    with torch.no_grad():
        for k, v in model.theta_blocks().items():
            v.fill_(entries[k])
    # matrices: 2 * 1 + 2 * 4 + 4 * 1 = 14; with biases 9 + 2 * 1: 25
    found = complexity(model, [0.0, 0.5, 2.0])
    assert float(found["squared"].detach()) == pytest.approx(2 * math.log2(14), rel=1e-14)
    assert float(found["norm"].detach()) == pytest.approx(2 * math.log2(5), rel=1e-14)


def test_complexity_takes_means_inside_the_logarithm():
    model = DynamicDirect(UpDown(1, 1), blocks=2, seed=0)
    with torch.no_grad():
        for k, v in model.theta_blocks().items():
            v[0], v[1] = (1.0, 2.0) if k.startswith("theta") else (0.0, 0.0)
    # matrices square to 3, then 12; theta is right-continuous: nodes at 0, 1/2, 1 see 3, 12, 12
    found = complexity(model, [0.0, 0.5, 1.0])
    want = 0.5 * math.log2(7.5) + 0.5 * math.log2(12)
    assert float(found["squared"].detach()) == pytest.approx(want, rel=1e-14)
    assert float(found["norm"].detach()) == pytest.approx(want / 2, rel=1e-14)
    outside = 0.25 * (math.log2(3) + math.log2(12)) + 0.5 * math.log2(12)
    assert abs(want - outside) > 0.1  # the control: means outside would differ


@EVERY
def test_complexity_is_per_run_and_scales(name):
    """Doubling theta adds 2 T to the squared reading and T to the norm (direct models)."""
    model = MODELS[name](_field(), seeds=[0, 1])
    with torch.no_grad():
        found = complexity(model, DEPTHS)
        assert found["squared"].shape == found["norm"].shape == (2,)
        if name.endswith("direct"):
            for part in model.theta_blocks().values():
                part.mul_(2)
            twice = complexity(model, DEPTHS)
            assert gap(twice["squared"] - found["squared"], torch.full((2,), 2.0)) <= EXACT
            assert gap(twice["norm"] - found["norm"], torch.ones(2)) <= EXACT


@EVERY
def test_complexity_keeps_the_gradient_of_times_in_a_list(name):
    model = MODELS[name](_field(), seed=0)
    at = torch.tensor([0.0, 0.4, 1.0], requires_grad=True)

    def slope(times):
        return torch.autograd.grad(complexity(model, times)["squared"], at)[0]

    found = slope(at)
    assert torch.equal(slope(list(at)), found)
    assert float(found.abs().max()) > 1e-3  # a gradient that is lost is zero, or none


# --- inside other modules ------------------------------------------------------------------------


@EVERY
def test_single_run_drops_into_a_module(name):
    """No run axis anywhere, gradients reach every entry, and state_dict restores."""
    net = torch.nn.Sequential(torch.nn.Linear(3, 2))
    net.add_module("flow", MODELS[name](_field(), seed=0))
    x = net.get_submodule("flow")(net[0](draw(0, 5, 3)), DEPTHS)[-1]
    assert x.shape == (5, 2)
    loss = (x**2).sum() + net.get_submodule("flow").penalty()
    loss.backward()
    grad = slopes(net.get_submodule("flow"))
    assert bool(torch.isfinite(grad).all())
    assert float((grad != 0).double().mean()) > 0.9


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0, -3, 2.0, True, "15", None])
def test_bad_number_of_particles_is_refused(bad):
    for kind in (DynamicParticles, StaticParticles):
        with refused(repr(bad), "K"):
            kind(_field(), bad)


@pytest.mark.parametrize("bad", [0, -1, 2.5, True])
def test_bad_number_of_blocks_is_refused(bad):
    with refused(repr(bad), "block"):
        DynamicDirect(_field(), blocks=bad, seed=0)


@EVERY
def test_bad_lift_and_seeds_are_refused(name):
    with refused("'affine'", "learned"):
        MODELS[name](_field(), lift="affine")
    with refused("[]", "seeds"):
        MODELS[name](_field(), seeds=[])
    with refused("[1, 2, 1]", "seeds"):
        MODELS[name](_field(), seeds=[1, 2, 1])


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_momentum_scale_is_refused(bad):
    with refused(repr(bad), "momentum scale"):
        DynamicParticles(_field(), 3, momentum_scale=bad, seed=0)


@EVERY
@pytest.mark.parametrize("shape", [(2,), (5, 3), (4, 5, 2), (2, 5, 3), (1, 2, 5, 2)])
def test_data_of_wrong_shape_are_refused(name, shape):
    with refused(str(shape), "data x"):
        MODELS[name](_field(), seeds=[0, 1])(torch.zeros(shape), DEPTHS)


@EVERY
@pytest.mark.parametrize("shape", [(2,), (5, 3), (4, 5, 3)])
def test_data_of_wrong_shape_for_a_single_run_are_refused(name, shape):
    with refused(f"trailing shape (any, 2), got {shape}", "pass (n, 2), or (batch, n, 2)"):
        MODELS[name](_field())(torch.zeros(shape), DEPTHS)


@EVERY
def test_what_is_no_tensor_is_refused(name):
    for x in (np.zeros((5, 2), dtype=np.float32), [[0.0, 1.0]], None):
        with refused(f"as a tensor, got {type(x).__name__}", "dtype=torch.float64"):
            MODELS[name](_field())(x, DEPTHS)


@EVERY
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_in_data_is_refused(name, bad):
    x = torch.zeros(5, 2)
    x[3, 1] = bad
    with refused("(3, 1)", "got 1 NaN"):
        MODELS[name](_field())(x, DEPTHS)


@EVERY
@pytest.mark.parametrize("times", [[0.0], [], [0.0, 0.0], [1.0, 0.0, 0.5], [0.0, math.nan], 1.0])
def test_bad_times_are_refused(name, times):
    model = MODELS[name](_field())
    with refused("times"):
        model(torch.zeros(5, 2), times)
    if times in ([], 1.0) or math.nan in times:
        with refused("times"):
            model.theta(times)
    with refused("times"):
        complexity(model, times)


def test_depths_before_the_entrance_are_refused():
    model = DynamicParticles(_field(), 4, seed=0)
    with refused("depth 0", "-0.5"):
        model.theta([0.1, -0.5])
    with refused("depth 0", "-1"):
        model(torch.zeros(5, 2), [-1.0, 0.0])


def test_particles_of_wrong_shape_are_refused():
    """An initial distribution that returns another shape, be it only by a leading axis."""
    whole = {name: lambda g, shape: torch.zeros(2, *shape) for name in ("x", "v", "p")}
    with refused("(2, 4, 2)", "(4, 2)"):
        DynamicParticles(_field(), 4, init=ParticleInit(**whole), seed=0)
    init = ParticleInit(x=lambda g, shape: normal(1.0)(g, (shape[0] + 1, shape[1])))
    with refused("(5, 2)", "(4, 2)"):
        DynamicParticles(_field(), 4, init=init, seed=0)


@EVERY
def test_blocks_without_a_seed_ask_the_generator_of_pytorch(name):
    kind = {**MODELS}[name]
    torch.manual_seed(1)
    one, two = kind(_field(), seed=None), kind(_field(), seed=None)
    torch.manual_seed(1)
    again = kind(_field(), seed=None)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True))
    assert not torch.equal(flat(one), flat(two))
    assert torch.equal(flat(kind(_field(), seed=two.seed)), flat(two))
    before = torch.get_rng_state()
    kind(_field(), seed=3), kind(_field(), seeds=[3, 4])
    assert torch.equal(torch.get_rng_state(), before)


def test_a_state_of_another_kind_is_refused():
    one, other = (MODELS[f"{kind} particles"](_field()) for kind in ("dynamic", "static"))
    with pytest.raises(
        ValueError, match="with kind StaticParticles, got one with DynamicParticles"
    ):
        other.load_state_dict(one.state_dict())


@pytest.mark.parametrize("seed", ["", 0.5, [], "one"])
def test_a_seed_that_is_no_whole_number_is_refused_also_if_it_is_empty(seed):
    with pytest.raises(ValueError, match="expected a seed that is a whole number"):
        StaticDirect(_field(), seed=seed)


def test_a_state_with_another_matrix_metric_is_refused():
    one, other = (DynamicParticles(Affine(2, weight=spd(s, 2)), 3, seed=0) for s in (0, 1))
    with refused("with field"):
        one.load_state_dict(other.state_dict())


def test_complexity_of_decreasing_times_is_that_of_increasing_ones():
    model = StaticDirect(UpDown(1, 2), seed=0)
    forward, back = (complexity(model, t) for t in ([0.0, 0.5, 1.0], [1.0, 0.5, 0.0]))
    assert all(gap(back[name], forward[name]) <= EXACT for name in forward)
