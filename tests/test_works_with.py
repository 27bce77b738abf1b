"""What people put around a block: optimisers, wrappers, copies. Each test is a row of the book."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
from problems import EXACT, draw, gap
from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu
from torch.func import functional_call, grad, vmap
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrize
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

from shooting import (
    AutomaticField,
    DynamicDirect,
    DynamicParticles,
    Field,
    Function,
    Solver,
    StaticDirect,
    StaticParticles,
    Term,
    UpDown,
)

pytestmark = pytest.mark.usefixtures("float64")

MODELS = {
    "dynamic particles": lambda **how: DynamicParticles(
        UpDown(2, 3, sigma="tanh"), 5, **{"seed": 0, **how}
    ),
    "static particles": lambda **how: StaticParticles(
        UpDown(2, 3, sigma="tanh"), 5, **{"seed": 0, **how}
    ),
    "dynamic direct": lambda **how: DynamicDirect(
        UpDown(2, 3, sigma="tanh"), blocks=2, **{"seed": 0, **how}
    ),
    "static direct": lambda **how: StaticDirect(UpDown(2, 3, sigma="tanh"), **{"seed": 0, **how}),
}
every_model = pytest.mark.parametrize("build", MODELS.values(), ids=MODELS.keys())


class Block(nn.Module):
    """The end of a flow, between two linear layers."""

    def __init__(self, build=MODELS["dynamic particles"], again: bool | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.flow, self.last = nn.Linear(3, 2), build(), nn.Linear(2, 1)
        self.again = again  # checkpointing: None, or whether it is reentrant

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if self.again is None:
            return self.last(self.end(x))
        return self.last(checkpoint(self.end, x, use_reentrant=self.again))

    def end(self, x: Tensor) -> Tensor:
        return self.flow(x, [0.0, 1.0])[-1]


def gradients(net: nn.Module, x: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(net(x).square().mean(), list(net.parameters())))


def apart(a: list[Tensor], b: list[Tensor]) -> float:
    return max(gap(s, t) for s, t in zip(a, b, strict=True))


OPTIMISERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.02),
    "Adam, foreach": lambda p: torch.optim.Adam(p, lr=0.02, foreach=True),
    "Adam, fused": lambda p: torch.optim.Adam(p, lr=0.02, fused=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.02),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=0.02),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
    "L-BFGS": lambda p: torch.optim.LBFGS(p, max_iter=5, line_search_fn="strong_wolfe"),
}


@pytest.mark.parametrize("make", OPTIMISERS.values(), ids=OPTIMISERS.keys())
def test_optimisers(make):
    net, x = Block(), draw(0, 16, 3)
    optimiser = make(net.parameters())

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = (net(x) - x.sum(-1, keepdim=True).tanh()).square().mean()
        value.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        return value

    before = [p.clone() for p in net.parameters()]
    losses = [float(optimiser.step(closure).detach()) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]
    assert all((p != q).any() for p, q in zip(before, net.parameters(), strict=True))


def replica(module: nn.Module) -> nn.Module:
    """As `torch.nn.parallel.replicate` makes it, which asks for two GPUs: tensors in attributes."""
    made = module._replicate_for_data_parallel()
    for name, part in module._modules.items():
        made._modules[name] = replica(part)
    for name, w in [*module._parameters.items(), *module._buffers.items()]:
        setattr(made, name, 1.0 * w)
    return made


@every_model
def test_replicas(build):
    net, x = Block(build), draw(0, 6, 3)
    halves = torch.cat([replica(net)(part) for part in x.split(3)])
    assert gap(halves, net(x)) < EXACT
    found = torch.autograd.grad(halves.square().mean(), list(net.parameters()))
    assert apart(list(found), gradients(net, x)) < EXACT
    assert not list(replica(net).parameters())  # what a block must not ask


@every_model
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing(build, reentrant):
    x = draw(0, 8, 3)
    found = gradients(Block(build, again=reentrant), x) if not reentrant else []
    if reentrant:  # which knows only `backward`
        net = Block(build, again=True)
        net(x).square().mean().backward()
        found = [p.grad for p in net.parameters()]
    assert apart(found, gradients(Block(build), x)) <= EXACT


def length(x: Tensor, v: Tensor) -> Tensor:
    return torch.sin(x.square().sum(-1, keepdim=True) * v)


def own(z: dict[str, Tensor], w: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"x": torch.tanh(z["x"]) @ w["a"].mT + w["b"]}


OWN = {
    "activation": UpDown(2, 3, sigma=nn.GELU()),
    "feature": Field(
        {"x": 2, "v": 3}, [Term("A", "x", Function(length, reads=("x", "v"))), Term("B", "v", "x")]
    ),
    "velocity": AutomaticField(own, {"x": 2}, {"a": (2, 2), "b": (2,)}),
}


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("kind", [DynamicParticles, StaticParticles])
@pytest.mark.parametrize("route", ["auto", "autograd"])
def test_checkpointing_functions_of_ones_own(name, kind, route):
    """`torch.func`, which differentiates them, refuses hooks on saved tensors."""
    x = draw(0, 8, 3)

    def build() -> nn.Module:
        return kind(OWN[name], 4, solver=Solver(route=route))

    right = gradients(Block(build), x)
    assert apart(gradients(Block(build, again=False), x), right) == 0
    with save_on_cpu():
        assert apart(gradients(Block(build), x), right) == 0
    assert apart([2 * g for g in right], right) > 1e-3  # the control


@every_model
def test_copies(build, tmp_path):
    net, x = Block(build), draw(0, 8, 3)
    gradients(net, x)  # a call before, which might leave something that cannot be copied
    torch.save(net.state_dict(), tmp_path / "state.pt")
    loaded = Block(build)
    for p in loaded.parameters():
        p.data.zero_()
    assert apart(gradients(loaded, x), gradients(net, x)) > 1e-3  # the control
    loaded.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    flow = pickle.loads(pickle.dumps(net.flow))
    assert gap(flow(x[:, :2], [0.0, 1.0]), net.flow(x[:, :2], [0.0, 1.0])) == 0
    for other in (loaded, copy.deepcopy(net)):
        assert gap(other(x), net(x)) == 0
        assert apart(gradients(other, x), gradients(net, x)) == 0


@every_model
def test_functional_call(build):
    net, x = Block(build), draw(0, 8, 3)
    twice = {name: 2 * p.detach() for name, p in net.named_parameters()}
    found = functional_call(net, twice, (x,))
    assert gap(found, net(x)) > 1e-3  # the control
    net.load_state_dict(twice)
    assert gap(found, net(x)) == 0


@every_model
def test_averaged_models(build):
    net, x = Block(build), draw(0, 8, 3)
    ema = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    ema.update_parameters(net)  # the first is a copy
    start = [p.detach().clone() for p in net.parameters()]
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(3.0)
    ema.update_parameters(net)
    right = [2 * p for p in start]  # (1 + 3) / 2
    assert apart([p.detach() for p in ema.module.parameters()], right) <= EXACT
    with torch.no_grad():
        for p, value in zip(net.parameters(), right, strict=True):
            p.copy_(value)
    assert gap(ema(x), net(x)) <= EXACT


class Halved(nn.Module):
    def forward(self, p: Tensor) -> Tensor:
        return 0.5 * p


def test_parametrized_momenta():
    model, x = MODELS["dynamic particles"](), draw(0, 8, 2)
    whole = model(x, [0.0, 1.0])
    with torch.no_grad():
        model.p.mul_(2.0)
    parametrize.register_parametrization(model, "p", Halved())
    assert gap(model(x, [0.0, 1.0]), whole) <= EXACT
    model(x, [0.0, 1.0]).sum().backward()
    assert model.parametrizations.p.original.grad.abs().sum() > 0


@every_model
def test_differentiating_twice(build):
    net, x, step = Block(build), draw(0, 8, 3), 1e-5
    values = list(net.parameters())
    first = torch.autograd.grad(net(x).square().mean(), values, create_graph=True)
    along = [draw(i, *p.shape) for i, p in enumerate(values)]
    size = sum((g * v).sum() for g, v in zip(first, along, strict=True))
    found = list(torch.autograd.grad(size, values))
    ends = []
    for sign in (1, -1):
        moved = copy.deepcopy(net)
        with torch.no_grad():
            for p, v in zip(moved.parameters(), along, strict=True):
                p.add_(v, alpha=sign * step)
        ends.append(gradients(moved, x))
    right = [(a - b) / (2 * step) for a, b in zip(*ends, strict=True)]
    assert apart(found, right) < 1e-6  # step^2 times a fourth derivative, and rounding / step


@every_model
def test_gradients_per_sample(build):
    """Twice: by `vmap` over `grad`, and by one run for each sample."""
    block, x, times = build(), draw(0, 6, 2), [0.0, 1.0]
    values = {name: p.detach() for name, p in block.named_parameters()}

    def loss(values: dict[str, Tensor], row: Tensor) -> Tensor:
        return functional_call(block, values, (row.unsqueeze(0), times))[-1].square().sum()

    each = vmap(grad(loss), in_dims=(None, 0))(values, x)

    many = build(seeds=range(len(x)))
    with torch.no_grad():
        for p, value in zip(many.parameters(), block.parameters(), strict=True):
            p.copy_(value)  # the same numbers in every run
    many(x.unsqueeze(1), times)[:, -1].square().sum().backward()
    found = {name: p.grad for name, p in many.named_parameters()}

    for name, value in each.items():
        assert gap(found[name], value) <= EXACT
        assert gap(found[name].flip(0), value) > 1e-3  # the control: samples differ


def share(rank: int, folder: str) -> None:
    """One of two processes: half of the data, gradients averaged."""
    torch.set_default_dtype(torch.float64)
    where = f"file://{folder}/meeting"
    torch.distributed.init_process_group("gloo", init_method=where, rank=rank, world_size=2)
    net = DistributedDataParallel(Block())
    net(draw(0, 8, 3).chunk(2)[rank]).square().mean().backward()
    torch.save([p.grad for p in net.parameters()], f"{folder}/{rank}.pt")
    torch.distributed.barrier()  # whoever leaves first would leave the other waiting
    torch.distributed.destroy_process_group()


def test_two_processes(tmp_path: Path):
    torch.multiprocessing.spawn(share, args=(str(tmp_path),), nprocs=2)
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    whole = gradients(Block(), draw(0, 8, 3))
    assert apart(one, two) == 0
    assert apart(one, whole) <= EXACT
    assert apart(gradients(Block(), draw(0, 8, 3)[:4]), whole) > 1e-4  # the control: half of it
