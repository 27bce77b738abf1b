"""The training loop: ensembles equal single runs, failures stay local, resuming changes no bit."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import pytest
import torch
from problems import draw, gap, refused
from torch import Tensor

from shooting import (
    DynamicDirect,
    DynamicParticles,
    NonFiniteError,
    Solver,
    StaticDirect,
    StaticParticles,
    UpDown,
)
from shooting.fit import EARLY_STEPS, FitConfig, count_parameters, fit
from shooting.optim import Cosine, Plateau
from shooting.parametrizations import ParticleInit, normal
from shooting.randomness import generator

pytestmark = pytest.mark.usefixtures("float64")
SOLVER = Solver(step=0.5)
MODELS = {
    "static direct": StaticDirect,
    "dynamic direct": DynamicDirect,
    "static particles": lambda f, **more: StaticParticles(f, 3, **more),
    "dynamic particles": lambda f, **more: DynamicParticles(f, 3, **more),
}


@dataclass
class Square:
    """Fit y = x^2 on 20 points of each run, in two batches; the order belongs to the seed.

    Attributes:
        seeds: One per run, or None for a single run without axis.
        seed: Of a single run.
        poison: (step, run) pairs from which on the loss of the run is NaN.
        seen: The model's parameters before every step.
    """

    seeds: tuple[int, ...] | None
    seed: int = 0
    poison: dict[int, int] = field(default_factory=dict)
    through_gradient: bool = False
    step: int = 0
    seen: list[Tensor] = field(default_factory=list)

    def _draw(self, *purpose) -> Tensor:
        seeds = (self.seed,) if self.seeds is None else self.seeds
        x = [2 * torch.rand(20, 1, generator=generator(s, *purpose)) - 1 for s in seeds]
        return x[0] if self.seeds is None else torch.stack(x)

    def batches(self, epoch):
        yield from self._draw("batch", epoch).split(10, dim=-2)

    def error(self, model, x):
        return ((model(x, [0.0, 1.0])[..., -1, :, :] - x**2) ** 2).mean((-1, -2))

    def loss(self, model, batch):
        self.seen.append(model.flat.detach().clone())
        loss = 100 * self.error(model, batch) + model.penalty()
        for run, first in self.poison.items():
            if self.step >= first:
                bad = torch.zeros(loss.shape)
                bad[run] = 1.0
                if self.through_gradient:  # the square root of 0 is fine, its slope is not
                    loss = loss + bad * torch.sqrt(0 * model.flat[run].sum())
                else:
                    loss = loss + torch.where(bad > 0, float("nan"), 0.0)
        self.step += 1
        return loss

    def monitor(self, model):
        return self.error(model, self._draw("watch"))


class Memory:
    """A checkpoint in memory: a deep copy of every state it is given."""

    def __init__(self, state=None, *, due=True):
        self.state, self.states, self._due = state, [], due

    def load(self):
        return self.state

    def save(self, state):
        self.states.append(copy.deepcopy(state))

    def due(self):
        return self._due


def _model(kind="dynamic particles", **more):
    return MODELS[kind](UpDown(1, 4, sigma=more.pop("sigma", "relu")), solver=SOLVER, **more)


def _config(epochs, **more):
    more = {"learning_rate": 0.02, "schedule": Plateau(patience=1, every=2)} | more
    return FitConfig(epochs, **more)


# --- an ensemble is its runs ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dynamic particles", "dynamic direct"])
def test_ensemble_of_ten_is_ten_single_runs(kind):
    """200 steps in float64, with per-run plateaus and (for particles) positions frozen at first."""
    seeds = tuple(range(10))
    frozen = ("x",) if "particles" in kind else ()
    config = _config(100, frozen=frozen, frozen_epochs=20)
    together, kept = _model(kind, seeds=seeds), Memory(due=False)
    result = fit(together, Square(seeds), config, checkpoint=kept)
    rates = kept.states[-1]["adam.lr"]
    assert len(set(rates.tolist())) > 1  # the schedules did act, and differently
    for i, s in enumerate(seeds):
        alone, one = _model(kind, seed=s), Memory(due=False)
        found = fit(alone, Square(None, seed=s), config, checkpoint=one)
        # rounding (batched products sum in another order) grows along 200 steps: project's promise
        assert gap(alone.flat, together.flat[i]) <= 1e-10
        assert gap(found.history, result.history[:, i]) <= 1e-10
        assert torch.equal(one.states[-1]["adam.lr"], rates[i])


def test_control_one_schedule_for_all_runs_is_noticed():
    """Were the plateau fed with the mean over runs, run 0 would not train as it does alone."""

    class Shared(Square):
        def monitor(self, model):
            value = super().monitor(model)
            return value.mean().expand_as(value)

    seeds = tuple(range(6))
    right, wrong = _model(seeds=seeds), _model(seeds=seeds)
    fit(right, Square(seeds), _config(40))
    fit(wrong, Shared(seeds), _config(40))
    assert gap(wrong.flat, right.flat) > 1e-6


def test_order_of_runs_does_not_matter():
    a, b = _model(seeds=[3, 1, 2]), _model(seeds=[1, 2, 3])
    fit(a, Square((3, 1, 2)), _config(5))
    fit(b, Square((1, 2, 3)), _config(5))
    assert gap(a.flat[[1, 2, 0]], b.flat) <= 1e-10


# --- against PyTorch's own loop ------------------------------------------------------------------


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("schedule", ["plateau", "cosine", None])
def test_single_run_is_a_plain_torch_loop(kind, schedule):
    ours, plain = _model(kind, seed=1), _model(kind, seed=1)
    task = Square(None, seed=1)
    mine = {"plateau": Plateau(patience=1, every=2), "cosine": Cosine(12), None: None}[schedule]
    result = fit(ours, task, FitConfig(12, 0.02, mine, weight_decay=0.01))
    adam = torch.optim.Adam(plain.parameters(), lr=0.02, weight_decay=0.01)
    torch_schedule = {
        "plateau": torch.optim.lr_scheduler.ReduceLROnPlateau(adam, factor=0.5, patience=1),
        "cosine": torch.optim.lr_scheduler.CosineAnnealingLR(adam, 12),
        None: None,
    }[schedule]
    history = []
    for epoch in range(12):
        losses = []
        for batch in task.batches(epoch):
            adam.zero_grad()
            loss = task.loss(plain, batch)
            loss.backward()
            adam.step()
            losses.append(loss.detach())
        history.append(sum(losses) / 2)
        if schedule == "cosine":
            torch_schedule.step()
        elif schedule == "plateau" and epoch % 2 == 1:
            torch_schedule.step(task.monitor(plain).detach())
    assert gap(ours.flat, plain.flat) <= 1e-10
    assert gap(result.history, torch.stack(history)) <= 1e-10


# --- freezing ------------------------------------------------------------------------------------


def test_positions_stay_and_are_released():
    task = Square((0, 1))
    model = _model(seeds=[0, 1])
    start = model.unpack()["x"].detach().clone()
    fit(model, task, _config(6, frozen=("x",), frozen_epochs=4))
    seen = [model.split_flat(f)["x"] for f in task.seen]
    assert all(torch.equal(x, start) for x in seen[:9])  # 4 epochs of 2 steps, and the next loss
    assert not torch.equal(seen[9], start)
    others = [model.split_flat(f)["p"] for f in task.seen]
    assert not torch.equal(others[1], others[0])


def test_freezing_for_no_epoch_is_no_freezing():
    a, b = _model(seeds=[0, 1]), _model(seeds=[0, 1])
    fit(a, Square((0, 1)), _config(3, frozen=("x",), frozen_epochs=0))
    fit(b, Square((0, 1)), _config(3))
    assert torch.equal(a.flat, b.flat)


def test_freezing_to_the_end():
    model = _model(seeds=[0, 1])
    start = model.unpack()["x"].detach().clone()
    fit(model, Square((0, 1)), _config(3, frozen=("x",), frozen_epochs=3))
    assert torch.equal(model.unpack()["x"], start)


# --- failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("through_gradient", [False, True])
@pytest.mark.parametrize("first", [0, 1, 5])
def test_failed_run_stays_and_neighbours_do_not_notice(first, through_gradient):
    seeds = (0, 1, 2)
    clean, ill = _model(seeds=seeds), _model(seeds=seeds)
    task = Square(seeds, poison={1: first}, through_gradient=through_gradient)
    want = fit(clean, Square(seeds), _config(5))
    got = fit(ill, task, _config(5))
    assert got.failed.tolist() == [-1, first, -1]
    assert got.alive.tolist() == [True, False, True]
    assert want.failed.tolist() == [-1, -1, -1]
    assert all(torch.equal(f[1], task.seen[first][1]) for f in (*task.seen[first:], ill.flat))
    assert bool(torch.isfinite(ill.flat).all())
    for r in (0, 2):
        assert torch.equal(ill.flat[r], clean.flat[r])
        assert torch.equal(got.history[:, r], want.history[:, r])
        assert torch.equal(got.early[:, r], want.early[:, r])


def test_neighbours_of_a_failed_run_train_as_without_it():
    with_it, without = _model(seeds=[0, 1, 2]), _model(seeds=[0, 2])
    fit(with_it, Square((0, 1, 2), poison={1: 3}), _config(10))
    fit(without, Square((0, 2)), _config(10))
    assert gap(with_it.flat[[0, 2]], without.flat) <= 1e-10


def test_a_failed_run_is_not_revived():
    """One bad step is enough, though later losses are finite again."""

    class Once(Square):
        def loss(self, model, batch):
            self.poison = {1: 3} if self.step == 3 else {}
            return super().loss(model, batch)

    model, task = _model(seeds=[0, 1]), Once((0, 1))
    result = fit(model, task, _config(5))
    assert result.failed.tolist() == [-1, 3]
    assert torch.equal(model.flat[1], task.seen[3][1])


def test_no_run_left_is_an_error():
    task = Square((0, 1), poison={0: 2, 1: 5})
    with refused("(at steps [2, 5])", "my label", error=NonFiniteError) as _:
        fit(_model(seeds=[0, 1]), task, _config(10), label="my label")
    assert task.step == 6  # given up at the end of that epoch


def test_single_run_that_fails_is_an_error():
    class Nan(Square):
        def loss(self, model, batch):
            return super().loss(model, batch) * float("nan")

    with pytest.raises(NonFiniteError) as caught:
        fit(_model(seed=0), Nan(None), _config(2))
    assert caught.value.steps == (0,)


def test_blow_up_of_every_run_is_an_error():
    """Momenta of size 1e3, in the sum convention: the solve itself overflows."""
    model = DynamicParticles(
        UpDown(1, 4), 10, init=ParticleInit(p=normal(1e3)), momentum_scale=1.0, seeds=[0, 1]
    )
    with refused("[0, 0]", "momenta", error=NonFiniteError):
        fit(model, Square((0, 1)), _config(2))


# --- checkpoints ---------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [Plateau(patience=1, every=2), Cosine(8), None])
def test_resuming_at_any_epoch_changes_no_bit(schedule):
    """With a frozen part, a schedule, and a run that fails on the way."""
    seeds, config = (0, 1, 2), _config(8, schedule=schedule, frozen=("x",), frozen_epochs=3)

    class Fails(Square):
        def loss(self, model, batch):  # a function of the batch alone, as a real failure is
            loss = super().loss(model, batch)
            return torch.where(batch[:, 0, 0] == mark, float("nan"), loss)

    mark = list(Square(seeds).batches(4))[1][1, 0, 0]
    whole, memory = _model(seeds=seeds), Memory()
    want = fit(whole, Fails(seeds), config, checkpoint=memory)
    assert want.failed.tolist() == [-1, 9, -1]
    assert len(memory.states) == 8
    for k, state in enumerate(memory.states):
        again, task = _model(seeds=seeds), Fails(seeds)
        got = fit(again, task, config, checkpoint=Memory(copy.deepcopy(state)))
        assert task.step == 2 * (7 - k)  # only what was missing
        assert torch.equal(again.flat, whole.flat)
        assert torch.equal(got.failed, want.failed)
        for a, b in ((got.history, want.history), (got.early, want.early)):
            assert torch.equal(a, b) or torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0))


def test_control_resuming_without_moments_is_noticed():
    seeds, memory = (0, 1), Memory()
    whole = _model(seeds=seeds)
    fit(whole, Square(seeds), _config(4), checkpoint=memory)
    state = memory.states[1]
    for key in state:
        if key.startswith("adam.mean"):
            state[key].zero_()
    again = _model(seeds=seeds)
    fit(again, Square(seeds), _config(4), checkpoint=Memory(state))
    assert gap(again.flat, whole.flat) > 1e-6


def test_last_epoch_is_always_saved():
    memory = Memory(due=False)
    model = _model(seed=0)
    fit(model, Square(None), _config(3), checkpoint=memory)
    assert len(memory.states) == 1
    assert torch.equal(memory.states[0]["model.flat"], model.flat)


# --- results -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seeds", "runs"), [(None, ()), ((4,), (1,)), ((0, 1, 2), (3,))])
def test_shapes_of_the_histories(seeds, runs):
    result = fit(_model(seeds=seeds), Square(seeds), _config(30))
    assert result.history.shape == (30, *runs)
    assert result.early.shape == (EARLY_STEPS, *runs)
    assert result.failed.shape == result.alive.shape == runs
    assert result.failed.dtype == torch.int64
    assert not result.history.requires_grad
    # the history is the mean of the losses of its epoch
    assert gap(result.early[:2].mean(0), result.history[0]) <= 1e-15


@pytest.mark.parametrize("kind", MODELS)
def test_training_lowers_the_loss(kind):
    result = fit(_model(kind, seeds=[0, 1]), Square((0, 1)), _config(40))
    assert bool((result.history[-1] < 0.5 * result.history[0]).all())


def test_logs_hold_no_progress_bar(capsys):
    fit(_model(seed=0), Square(None), _config(2))
    assert capsys.readouterr() == ("", "")


def test_parameters_of_a_larger_module_are_counted():
    model = torch.nn.Sequential(_model(seeds=[0, 1]))
    assert count_parameters(model, 2) == model[0].count


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epochs", "rate"), [(0, 0.1), (-1, 0.1), (5, 0.0), (5, -0.1), (5, float("nan"))]
)
def test_bad_config_is_refused(epochs, rate):
    with refused(f"{epochs} and {rate}"):
        FitConfig(epochs, rate)


def test_unknown_frozen_part_is_refused():
    with refused("'positions'", "'x'"):
        fit(_model(seed=0), Square(None), _config(2, frozen=("positions",), frozen_epochs=1))


def test_epoch_without_batches_is_refused():
    class Empty(Square):
        def batches(self, epoch):
            return iter(())

    with refused("got none", "batch size"):
        fit(_model(seed=0), Empty(None), _config(2))


def test_nan_in_the_data_is_refused_before_training():
    class Bad(Square):
        def batches(self, epoch):
            yield torch.full((10, 1), float("nan"))

    with refused("got 10 NaN", "data x"):
        fit(_model(seed=0), Bad(None), _config(2))


def test_draws_of_this_file_are_not_shared():
    """The task's own data depend on the seed alone: the comparison above is between equals."""
    assert torch.equal(Square((1, 2))._draw("watch")[1], Square(None, seed=2)._draw("watch"))
    assert not torch.equal(draw(1, 3), draw(2, 3))


@pytest.mark.parametrize(
    ("change", "shape"),
    [(lambda loss: loss.unsqueeze(-1), r"\(2, 1\)"), (lambda loss: loss.mean(), r"\(\)")],
)
def test_a_loss_that_is_not_one_number_per_run_is_refused(change, shape):
    class Wrong(Square):
        def loss(self, model, batch):
            return change(super().loss(model, batch))

    with pytest.raises(ValueError, match=rf"expected a loss of shape \(2,\).*got {shape}"):
        fit(_model(seeds=(0, 1)), Wrong((0, 1)), _config(1))


def test_a_read_out_shared_by_all_runs_is_refused():
    class Shared(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.seeds, self.block = (0, 1), _model(seeds=(0, 1))
            self.head = torch.nn.Linear(1, 4)

    with pytest.raises(ValueError, match="expected parameter head.weight to lead with the run"):
        fit(Shared(), Square((0, 1)), _config(1))
