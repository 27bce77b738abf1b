"""Who looks on: torch.func, forward mode, compilers, traces, autocast, tensors without values.

Every right value is a loop of plain calls and `torch.autograd.grad`, one sample or run at a time.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from problems import EXACT, FIELDS, OPEN_FIELDS, draw, gap, refused
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad
from torch.autograd.graph import saved_tensors_hooks
from torch.func import (
    functional_call,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    stack_module_state,
    vmap,
)
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

from shooting import (
    AutomaticField,
    DynamicDirect,
    DynamicParticles,
    Field,
    Function,
    SecondOrder,
    Solver,
    StaticDirect,
    StaticParticles,
    Term,
    UpDown,
    native,
    routes,
)
from shooting.adjoint import energy
from shooting.errors import require_finite
from shooting.parametrizations import Controlled
from shooting.routes import choose, obstacle
from shooting.transforms import (
    autocast,
    differentiator,
    observer,
    pull,
    readable,
    symbolic,
    unmixed,
)

pytestmark = [
    pytest.mark.usefixtures("float64"),
    # PyTorch's own forward mode uses what PyTorch is about to drop
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    # its compiler looks at every attribute of a tensor, gradients of others than leaves included
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
    # a field never changes, and so no cache of what is known of it can be wrong
    pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`"),
]

FIELD = UpDown(2, 3, sigma="tanh")
TIMES = (0.0, 0.4, 1.0)
Params = dict[str, Tensor]


def own(z: dict[str, Tensor], w: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"x": torch.tanh(z["x"]) @ w["a"].mT + w["b"]}


MODELS: dict[str, Callable[..., Controlled]] = {
    "dynamic particles": lambda f=FIELD, **how: DynamicParticles(f, 5, **{"seed": 0, **how}),
    "static particles": lambda f=FIELD, **how: StaticParticles(f, 5, **{"seed": 0, **how}),
    "dynamic direct": lambda f=FIELD, **how: DynamicDirect(f, blocks=2, **{"seed": 0, **how}),
    "static direct": lambda f=FIELD, **how: StaticDirect(f, **{"seed": 0, **how}),
}
every_model = pytest.mark.parametrize("build", MODELS.values(), ids=MODELS.keys())


def end(model: nn.Module) -> Callable[[Params, Tensor], Tensor]:
    """The flow's end as a function of parameters and data."""
    return lambda p, x: functional_call(model, p, (x, TIMES))[..., -1, :, :]


def loss(model: nn.Module) -> Callable[[Params, Tensor], Tensor]:
    return lambda p, x: (end(model)(p, x) ** 2).sum()


def params(model: nn.Module) -> Params:
    return {name: p.detach() for name, p in model.named_parameters()}


def largest(a: Params, b: Params) -> float:
    assert a.keys() == b.keys()
    return max(gap(a[name], b[name]) for name in a)


def plain(model: nn.Module, value: Tensor) -> Params:
    """Gradients of a value by autograd, by name."""
    names, values = zip(*model.named_parameters(), strict=True)
    # zeros for a part without effect, as torch.func gives
    slopes = torch.autograd.grad(value, values, materialize_grads=True)
    return dict(zip(names, slopes, strict=True))


class Penalty(nn.Module):
    """The penalty as a call, so that `functional_call` reaches it."""

    def __init__(self, model: Controlled) -> None:
        super().__init__()
        self.model = model

    def forward(self) -> Tensor:
        return self.model.penalty()


class End(nn.Module):
    """A layer: the end of the flow."""

    def __init__(self, model: Controlled) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x, TIMES)[..., -1, :, :]


# --- torch.func ------------------------------------------------------------------------------


@every_model
def test_gradients_per_sample_are_those_of_a_loop(build):
    model, x = build(), draw(0, 4, 2)
    found = vmap(grad(loss(model)), in_dims=(None, 0))(params(model), x.unsqueeze(1))
    loop = [plain(model, (model(row, TIMES)[-1] ** 2).sum()) for row in x.split(1)]
    right = {name: torch.stack([g[name] for g in loop]) for name in loop[0]}
    assert largest(found, right) <= EXACT
    other = {name: g.flip(0) for name, g in right.items()}  # the control: samples differ
    assert largest(found, other) > 1e-3


@every_model
def test_jacobians_are_those_of_a_loop(build):
    model, x = build(), draw(0, 3, 2).requires_grad_()
    flat = model(x, TIMES)[-1].flatten()
    rows = [torch.autograd.grad(e, x, retain_graph=True)[0] for e in flat]
    right = torch.stack(rows).view(3, 2, 3, 2)
    of_x = lambda y: end(model)(params(model), y)  # noqa: E731
    assert gap(jacrev(of_x)(x.detach()), right) <= EXACT
    assert gap(jacfwd(of_x)(x.detach()), right) <= EXACT
    assert gap(torch.zeros_like(right), right) > 0.1  # the control: it is not all rounding


@every_model
def test_directional_derivatives_are_the_jacobian_times_the_direction(build):
    model, x, v = build(), draw(0, 3, 2).requires_grad_(), draw(1, 3, 2)
    right = torch.autograd.functional.jvp(lambda y: model(y, TIMES)[-1], x, v)[1]  # twice backward
    assert gap(jvp(lambda y: model(y, TIMES)[-1], (x.detach(),), (v,))[1], right) <= EXACT
    with forward_ad.dual_level():
        dual = model(forward_ad.make_dual(x.detach(), v), TIMES)[-1]
        assert gap(forward_ad.unpack_dual(dual).tangent, right) <= EXACT


@every_model
def test_derivatives_along_parameters_and_second_derivatives(build):
    model, x = build(), draw(0, 3, 2)
    p, direction = params(model), {k: draw(2, *v.shape) for k, v in params(model).items()}
    slopes = plain(model, (model(x, TIMES)[-1] ** 2).sum())
    right = sum((slopes[k] * direction[k]).sum() for k in p)
    assert gap(jvp(lambda q: loss(model)(q, x), (p,), (direction,))[1], right) <= EXACT
    twice = torch.autograd.functional.hessian(lambda y: (model(y, TIMES)[-1] ** 2).sum(), x)
    assert gap(hessian(lambda y: loss(model)(p, y))(x), twice) <= EXACT


@every_model
def test_a_batch_over_data_over_parameters_and_over_both(build):
    models = [build(seed=s) for s in range(3)]
    x = draw(0, 2, 4, 2)
    stacked, _ = stack_module_state(models)
    right = torch.stack([torch.stack([m(part, TIMES)[-1] for part in x]) for m in models])
    of = end(models[0])
    assert gap(vmap(lambda y: of(params(models[0]), y))(x), right[0]) <= EXACT
    assert gap(vmap(lambda p: of(p, x[0]))(stacked), right[:, 0]) <= EXACT
    both = vmap(lambda p: vmap(lambda y: of(p, y))(x))(stacked)
    assert gap(both, right) <= EXACT
    assert gap(both, right.flip(0)) > 1e-3  # the control


@every_model
def test_a_batch_over_ensembles_is_the_axis_of_runs(build):
    ensemble, single = build(seeds=range(4)), build()
    x = draw(0, 5, 2)
    found = vmap(lambda p: end(single)(p, x))(params(ensemble))
    assert gap(found, ensemble(x, TIMES)[:, -1]) <= EXACT
    slopes = vmap(grad(loss(single)), in_dims=(0, None))(params(ensemble), x)
    assert largest(slopes, plain(ensemble, (ensemble(x, TIMES)[:, -1] ** 2).sum())) <= EXACT


@every_model
def test_penalties_are_transformed_too(build):
    ensemble, single = build(seeds=range(3)), Penalty(build())
    stacked = {f"model.{k}": v for k, v in params(ensemble).items()}
    each = vmap(grad(lambda p: functional_call(single, p, ())))(stacked)
    right = plain(ensemble, ensemble.penalty().sum())
    right = {f"model.{k}": v for k, v in right.items()}
    assert {k for k, v in right.items() if v.any()} == {k for k, v in each.items() if v.any()}
    assert largest(each, right) <= EXACT


OTHERS = {
    "matrix": FIELDS["updown-spd"](2, 3, "tanh"),
    "automatic": AutomaticField(own, {"x": 2}, {"a": (2, 2), "b": (2,)}),
    "convolution": OPEN_FIELDS["convolution, periodic"]("tanh"),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("kind", ["dynamic particles", "dynamic direct"])
def test_every_kind_of_field_is_transformed(name, kind):
    model = MODELS[kind](OTHERS[name])
    x = draw(0, 3, *((1, 3, 4) if name == "convolution" else (2,)))
    of = lambda p, y: functional_call(model, p, (y, TIMES)).square().sum()  # noqa: E731
    found = vmap(grad(of), in_dims=(None, 0))(params(model), x.unsqueeze(1))
    loop = [plain(model, model(row, TIMES).square().sum()) for row in x.split(1)]
    assert largest(found, {k: torch.stack([g[k] for g in loop]) for k in found}) <= EXACT


@every_model
@pytest.mark.parametrize("route", ["adjoint", "native"])
def test_a_route_that_cannot_be_transformed_says_so_in_one_sentence(build, route):
    model, x = build(solver=Solver(route=route)), draw(0, 3, 2)
    with refused(repr(route), "a transform of torch.func", "route='auto'"):
        grad(loss(model))(params(model), x)
    with forward_ad.dual_level(), refused("forward-mode differentiation"):
        model(forward_ad.make_dual(x, x), TIMES)
    assert torch.isfinite(model(x, TIMES)).all()  # the control: it can be called


def test_the_route_taken_instead_is_said(caplog):
    routes._say.cache_clear()
    model = MODELS["static direct"]()
    with caplog.at_level(logging.INFO):
        vmap(lambda x: model(x, TIMES))(draw(0, 2, 3, 2))
    assert "route native steps back for autograd: a transform of torch.func" in caplog.text


# --- checks of values, and tensors that have none --------------------------------------------


def test_a_check_reads_what_is_in_memory_and_lets_the_rest_pass():
    bad = torch.tensor([[1.0, torch.nan]])
    with refused("expected finite data"):
        require_finite(bad, "data")
    require_finite(bad.to("meta"), "data")
    vmap(lambda x: require_finite(x, "data") or x)(bad)
    model = MODELS["static direct"]()
    assert vmap(lambda x: model(x, TIMES))(bad.view(1, 1, 2)).isnan().any()  # as it came
    with refused("expected finite data x"):
        model(bad, TIMES)


@every_model
def test_nothing_asks_for_the_value_of_a_tensor_that_has_none(build):
    """As on an accelerator, where each such question makes the processor wait."""
    with torch.device("meta"):
        x = torch.empty(4, 2)
    model = build().to("meta")
    (model(x, TIMES).sum() + model.penalty()).backward()
    assert all(p.grad is not None and p.grad.is_meta for p in model.parameters())
    with pytest.raises((RuntimeError, NotImplementedError)):  # the control
        float(model.penalty())


@every_model
def test_fake_tensors_pass_and_take_no_compiled_route(build):
    model, x = build(), draw(0, 4, 2)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        out = copy.deepcopy(model)(mode.from_tensor(x), TIMES)
    assert tuple(out.shape) == (3, 4, 2)


class Marked(Tensor):
    """A subclass, as distributed or quantised tensors are."""


def test_tensors_of_other_types_take_no_compiled_route():
    data = draw(0, 4, 8).as_subclass(Marked)
    assert "a tensor of type Marked" in str(
        obstacle("native", "rk4", "auto", FIELD, [data], "shoot")
    )
    assert observer([draw(0, 4, 8), nn.Parameter(draw(0, 4, 8))]) is None
    model, x = MODELS["dynamic direct"](), draw(0, 4, 2)
    assert gap(model(x.as_subclass(Marked), TIMES).as_subclass(Tensor), model(x, TIMES)) <= EXACT


def test_what_counts_or_records_operations_sees_them():
    model, x = MODELS["dynamic particles"](), draw(0, 4, 2)
    with FlopCounterMode(display=False) as counter:
        model(x, TIMES)
    assert counter.get_total_flops() > 0
    recorded = make_fx(lambda y: model(y, TIMES))(x)
    assert gap(recorded(2 * x), model(2 * x, TIMES)) <= EXACT
    with FlopCounterMode(display=False), refused("a mode that dispatches"):
        MODELS["dynamic particles"](solver=Solver(route="native"))(x, TIMES)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_traced_model_is_the_model():
    model, x = MODELS["dynamic particles"](), draw(0, 4, 2)
    traced = torch.jit.trace(End(model), (x,), check_trace=False)
    assert gap(traced(2 * x), model(2 * x, TIMES)[-1]) <= EXACT


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("kind", ["static particles", "dynamic direct", "static direct"])
def test_other_models_are_not_traced(kind):
    with refused("torch.jit.trace", "try torch.export"):
        torch.jit.trace(End(MODELS[kind]()), (draw(0, 4, 2),), check_trace=False)


# --- compilers -------------------------------------------------------------------------------


@pytest.fixture
def fresh():
    """A compiler that has compiled nothing, and counts from zero."""
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def step_of(model: Controlled) -> Callable[[Tensor], Tensor]:
    """The forward of a training step: data loss and penalty."""
    return lambda x: ((model(x, (0.0, 1.0))[-1] - x) ** 2).mean() + model.penalty()


@every_model
def test_a_training_step_compiles_into_one_graph(build, fresh):
    model = build(solver=Solver(method="midpoint", step=1.0))
    step, x = step_of(model), draw(0, 4, 2)
    right = plain(model, step(x))
    # the compiler's own checks, without machine code, which takes minutes to make
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    for rows in (x, 2 * x):
        assert gap(compiled(rows), step(rows)) <= EXACT
    assert largest(plain(model, compiled(x)), right) <= EXACT
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]


@pytest.mark.parametrize("kind", ["dynamic particles", "static direct"])
def test_other_batches_need_no_graph_each(kind, fresh):
    model = MODELS[kind](solver=Solver(method="euler", step=1.0))
    step, x = step_of(model), draw(0, 6, 2)
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    for rows in range(6, 1, -1):
        assert gap(compiled(x[:rows]), step(x[:rows])) <= EXACT
    # one for the first size and one for all others
    assert counters["stats"]["unique_graphs"] == 2


@pytest.mark.parametrize("kind", [list, torch.tensor])
def test_times_that_change_break_the_graph_and_not_the_numbers(kind, fresh):
    model, x = MODELS["static direct"](solver=Solver(method="euler", step=1.0)), draw(0, 4, 2)
    compiled = torch.compile(lambda y, times: model(y, times)[-1], backend="aot_eager")
    for last in (1.0, 0.7, 0.6, 0.9):
        times = kind([0.0, last])
        assert gap(compiled(x, times), model(x, times)[-1]) <= EXACT
    assert counters["graph_break"]  # the control: fixed times break nothing


def test_the_compiled_solve_stays_out_of_a_compiled_network(fresh):
    block = End(MODELS["static direct"](solver=Solver(step=1.0, route="native")))
    net, x = nn.Sequential(nn.Linear(3, 2), block, nn.Linear(2, 1)), draw(0, 4, 3)
    right = net(x)
    with refused("a compiler follows", "torch.compiler.disable"):
        torch.compile(net, backend="aot_eager")(x)
    torch._dynamo.reset()
    block.forward = torch.compiler.disable(block.forward)
    compiled = torch.compile(net, backend="aot_eager")
    assert gap(compiled(x), right) <= EXACT
    assert gap(compiled(x), right) <= EXACT
    assert len(counters["graph_break"]) >= 1  # the control: one was wanted


@every_model
def test_an_exported_model_is_the_model(build):
    model, x = build(solver=Solver(method="midpoint", step=1.0)), draw(0, 4, 2)
    module = torch.export.export(End(model), (x,)).module()
    assert gap(module(2 * x), model(2 * x, TIMES)[-1]) <= EXACT


BATCH = {"x": {0: torch.export.Dim("b", min=2, max=4096)}}
ONE_STEP = Solver(method="midpoint", step=1.0)


@every_model
@pytest.mark.parametrize("how", [{}, {"seeds": (0, 1)}], ids=["one run", "two runs"])
def test_an_exported_model_takes_any_number_of_rows(build, how):
    model = build(solver=ONE_STEP, **how)
    module = torch.export.export(End(model), (draw(0, 8, 2),), dynamic_shapes=BATCH).module()
    for rows in (8, 3, 200):
        x = draw(rows, rows, 2)
        assert gap(module(x), model(x, TIMES)[..., -1, :, :]) <= EXACT


EXPORTED = {
    "matrix": (FIELDS["affine-spd"](1, 2, "tanh"), "auto"),
    "drift": (OPEN_FIELDS["second-order"]("tanh"), "auto"),
    "own activation": (UpDown(2, 3, sigma=nn.functional.gelu), "autograd"),
    "own feature": (
        Field({"x": 2}, [Term("A", "x", Function(torch.sin, reads=("x",)))]),
        "autograd",
    ),
}


@pytest.mark.parametrize("name", EXPORTED)
def test_an_export_of_other_fields_takes_any_number_of_rows(name):
    field, route = EXPORTED[name]
    model = DynamicParticles(field, 3, solver=replace(ONE_STEP, route=route))
    start = (draw(0, 8, 2),)
    module = torch.export.export(End(model), start, dynamic_shapes=BATCH, strict=False).module()
    for rows in (8, 3):
        x = draw(rows, rows, 2)
        assert gap(module(x), model(x, TIMES)[-1]) <= EXACT


def test_what_cannot_be_exported_says_so():
    x = (draw(0, 4, 2),)
    own_activation = DynamicParticles(EXPORTED["own activation"][0], 3, solver=ONE_STEP)
    with refused("route='autograd'"):
        torch.export.export(End(own_activation), x, strict=False)
    with refused("StaticParticles", "Function"):
        torch.export.export(End(DynamicParticles(OTHERS["automatic"], 3)), x, strict=False)


def test_the_form_is_counted_where_sizes_are_numbers():
    solver = Solver()
    assert solver.active_form(FIELD, 5, 10) == "kernel"
    assert solver.active_form(FIELD, 100, 10) == "theta"
    assert symbolic(5, 10) is False


# --- autocast --------------------------------------------------------------------------------


@every_model
@pytest.mark.parametrize("route", ["auto", "native", "adjoint", "autograd", "torchdiffeq"])
def test_autocast_trains_on_every_route_in_the_type_of_the_parameters(build, route):
    model, x = build(solver=Solver(route=route)).float(), draw(0, 4, 2).float()
    right = plain(model, model(x, TIMES).sum() + model.penalty())
    with torch.autocast("cpu", torch.bfloat16):
        value = model(x, TIMES).sum() + model.penalty()
        inside = plain(model, model(x, TIMES).sum() + model.penalty())
    assert value.dtype == torch.float32
    # the solve runs in float32 as it does outside: the same operations, hence the same bits
    assert largest(plain(model, value), right) == 0
    # a backward inside the block, against PyTorch's advice, rounds autograd's products to 8 bits
    assert largest(inside, right) < 2e-2
    with torch.autocast("cpu", torch.bfloat16):
        assert (x @ x.T).dtype == torch.bfloat16  # the control: autocast was on


KICKED = {"kicks": (0.5,), "kick_rank": 2}
DRIFTING, MATRIX = SecondOrder(2, sigma="tanh"), FIELDS["updown-spd"](2, 3, "tanh")
# a field whose R needs products, one that drifts, and jumps that are products themselves
CASES = {
    **{f"{name}, matrix": (lambda b=b: b(MATRIX)) for name, b in MODELS.items()},
    **{f"{name}, drift": (lambda b=b: b(DRIFTING)) for name, b in MODELS.items()},
    "kicked": lambda: MODELS["dynamic particles"](**KICKED),
    "kicked, drift": lambda: MODELS["dynamic particles"](DRIFTING, **KICKED),
}


def everything_said(model: Controlled, at: Tensor) -> list[Tensor]:
    """The path by moving times, controls, costs, layers and dense output."""
    x, particles = draw(0, 4, 2).float(), isinstance(model, DynamicParticles)
    said = [model(x, at), *model.theta(TIMES).values(), *model.to_layers(3).parameters()]
    said.append(model.penalty(TIMES) if particles else model.penalty())
    if particles and not isinstance(model, StaticParticles):
        said.append(model.energy_drift(TIMES))
    return [*said, model.dense(x, TIMES)(0.3)]


@pytest.mark.parametrize("build", CASES.values(), ids=CASES.keys())
def test_autocast_changes_nothing_that_a_model_says(build):
    model = build().float()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)  # kicks begin with zero
    at = torch.tensor(TIMES, dtype=torch.float32, requires_grad=True)
    wanted = everything_said(model, at)
    with torch.autocast("cpu", torch.bfloat16):
        found = everything_said(model, at)
    for said in (wanted, found):
        said.append(torch.autograd.grad(said[0].square().sum(), at)[0])
    assert all(a.dtype == torch.float32 for a in found)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@every_model
def test_a_block_between_layers_that_autocast_rounds(build):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 2), End(build()), nn.Linear(2, 1)).float()
    x = draw(0, 8, 3).float()
    right = plain(net, net(x).square().sum())
    with torch.autocast("cpu", torch.bfloat16):
        assert net[0](x).dtype == torch.bfloat16
        value = net(x).square().sum()
    found = plain(net, value)
    size = sum(float(g.square().sum()) for g in right.values()) ** 0.5
    off = sum(float((found[k] - right[k]).square().sum()) for k in right) ** 0.5
    assert 1e-5 < off / size < 2e-2  # bfloat16 has 8 bits: 4e-3 for each of the two layers


def test_without_autocast_another_type_is_refused():
    with refused("torch.bfloat16"):
        MODELS["static direct"]().float()(draw(0, 4, 2).bfloat16(), TIMES)


# --- the questions themselves ----------------------------------------------------------------


def test_nobody_looks_on_in_a_plain_call():
    tensors = [draw(0, 4, 8), nn.Parameter(draw(1, 4, 8))]
    assert differentiator(tensors) is None
    assert observer(tensors) is None
    assert readable(tensors[0])
    assert not autocast(tensors[0])
    assert choose("auto", "rk4", "auto", FIELD, tensors, "shoot") == "native"
    assert native.library_error(torch.float64) is None


def test_a_level_of_forward_mode_alone_changes_no_route():
    """Somebody else's derivative is taken: only what is dual needs autograd."""
    with forward_ad.dual_level():
        assert differentiator([draw(0, 4, 8)]) is None
        assert differentiator([forward_ad.make_dual(draw(0, 4), draw(1, 4))]) is not None


def test_energy_leaves_its_node_to_transforms():
    q, p = draw(0, 5, 8), draw(1, 5, 8)
    assert gap(grad(energy, 1)(FIELD, q, p), grad(FIELD.energy)(q, p)) <= EXACT


def test_hooks_on_saved_tensors_rest_in_a_pull_back_and_come_back_in_their_order():
    x, seen = draw(0, 3).requires_grad_(), []

    def hooks(name: str) -> saved_tensors_hooks:
        return saved_tensors_hooks(lambda t: seen.append(name) or t, lambda t: t)

    with hooks("outer"):
        with hooks("inner"):
            with pytest.raises(RuntimeError, match="saved tensor hooks"):
                torch.func.vjp(torch.sin, x)  # the control
            (found,) = pull(torch.sin, (x,), torch.ones(3))
            with pytest.raises(ZeroDivisionError):
                pull(lambda y: y / (1 // 0), (x,), torch.ones(3))
            assert not seen
            x.sin()
        x.sin()
    x.sin()
    assert seen == ["inner", "outer"]
    assert gap(found, x.cos()) <= EXACT
    assert gap(torch.autograd.grad(found.sum(), x)[0], -x.sin()) <= EXACT


def test_autocast_is_off_inside_and_on_again_after():
    x = draw(0, 2, 2).float()
    with torch.autocast("cpu", torch.bfloat16):
        assert autocast(x)
        with unmixed(x):
            assert (x @ x).dtype == torch.float32
        assert (x @ x).dtype == torch.bfloat16
    assert not autocast(x.to("meta"))
