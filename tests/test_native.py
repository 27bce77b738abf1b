"""The compiled solve: autograd's numbers, and a quiet way back where nothing can be compiled."""

from __future__ import annotations

import copy
import logging
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from problems import draw, gap, particles, refused
from test_adjoint import CASES, SCALAR, carry_gradients, relative, shoot_gradients

from shooting import Affine, Solver, UpDown, carry, native, shoot
from shooting.native import build
from shooting.solvers import TABLEAUS, Tableau

pytestmark = [
    pytest.mark.usefixtures("float64"),
    pytest.mark.skipif(native.library_error() is not None, reason="no C compiler on this machine"),
]
# the promise of the package in double precision; rounding of sums in another order is 100x smaller
NATIVE = 1e-11
# single precision: rounding of 6e-8 in a few hundred operations in a row
SINGLE = 1e-5

# on the way back Gram matrices are made anew up to a width of 16 and read beyond: here up to 18
WIDTHS = {**CASES, "alpha": st.sampled_from([1, 2, 3, 4, 6])}
WIDE = {"kind": "updown", "sigma": "tanh", "method": "rk4", "d": 3, "alpha": 6, "runs": (2,)}


@settings(max_examples=60)
@given(**WIDTHS, count=st.integers(1, 18))
@example(**WIDE, count=5, rows=3, seed=0)
def test_shoot_gradient_is_autograds(kind, sigma, method, d, alpha, runs, count, rows, seed):
    case = (method, runs, count, rows, seed)
    field = SCALAR[kind](d, alpha, sigma)
    wanted = shoot_gradients(field, "autograd", *case)
    assert relative(shoot_gradients(field, "native", *case), wanted) <= NATIVE


@settings(max_examples=60)
@given(**WIDTHS, blocks=st.integers(1, 5))
def test_carry_gradient_is_autograds(kind, sigma, method, d, alpha, runs, blocks, rows, seed):
    case = (method, runs, blocks, rows, seed)
    field = SCALAR[kind](d, alpha, sigma)
    wanted = carry_gradients(field, "autograd", *case)
    assert relative(carry_gradients(field, "native", *case), wanted) <= NATIVE


def values_and_gradients(verb, dtype, d, alpha, count, rows, sigma, runs=2):
    """Everything a solve gives, at the sizes of the experiments, in one precision."""
    field = UpDown(d, alpha, sigma=sigma)
    q, p = particles(field, count, runs=(runs,), scale=0.1 / count)
    z = draw(5, runs, rows, field.size)
    theta = {
        k: 0.3 * draw(i, runs, 2, *s) / s[1] ** 0.5 for i, (k, s) in enumerate(field.shapes.items())
    }
    wrt = [
        t.to(dtype).requires_grad_()
        for t in ((q, p, z) if verb == "shoot" else (z, *theta.values()))
    ]
    solver = Solver(route="native")
    if verb == "shoot":
        outputs = shoot(field, *wrt, [0, 0.5, 1], solver=solver)
    else:
        control = dict(zip(theta, wrt[1:], strict=True))
        outputs = (carry(field, control, wrt[0], [0, 0.5, 1], solver=solver),)
    loss = sum((o.double() * draw(i, *o.shape)).sum() for i, o in enumerate(outputs))
    return [*(o.detach() for o in outputs), *torch.autograd.grad(loss, wrt)]


@pytest.mark.parametrize("verb", ["shoot", "carry"])
@pytest.mark.parametrize("sigma", ["relu", "tanh", "softplus"])
@pytest.mark.parametrize(
    ("d", "alpha", "count", "rows"),
    [(1, 16, 15, 50), (1, 128, 15, 50), (2, 16, 20, 128), (5, 4, 100, 25), (1, 1, 1, 1)],
)
def test_single_precision(verb, sigma, d, alpha, count, rows):
    single = values_and_gradients(verb, torch.float32, d, alpha, count, rows, sigma)
    double = values_and_gradients(verb, torch.float64, d, alpha, count, rows, sigma)
    for a, b in zip(single, double, strict=True):
        assert a.dtype == torch.float32
        assert float((a.double() - b).norm() / b.norm()) <= SINGLE


@pytest.mark.parametrize("sigma", ["relu", "tanh", "softplus", "identity"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_activations_over_their_whole_range(sigma, dtype):
    """One Euler step of length 1 with theta1 = 1 shows sigma(v), its gradient sigma'(v)."""
    field = UpDown(1, 1, sigma=sigma)
    v = torch.cat([torch.linspace(-120, 120, 4801), torch.tensor([0.0, 1e-6, -1e-6, 800, -800])])
    z = torch.stack([torch.zeros_like(v), v], -1).to(dtype).requires_grad_()
    theta = {
        k: torch.full((1, *s), float(k == "theta1"), dtype=dtype) for k, s in field.shapes.items()
    }
    path = carry(field, theta, z, [0, 1], solver=Solver("euler", 1.0, route="native"))
    (slope,) = torch.autograd.grad(path[-1, :, 0].sum(), z)
    eps = torch.finfo(dtype).eps
    value = field.sigma.value(z[:, 1])
    wrong = (path[-1, :, 0] - value).detach().abs() / (1 + value.detach().abs())
    assert float(wrong.max()) <= 8 * eps
    assert float((slope[:, 1] - field.sigma.slope(z[:, 1].detach())).abs().max()) <= 8 * eps


@pytest.mark.parametrize("verb", ["shoot", "carry"])
def test_threads_do_not_change_a_bit(monkeypatch, verb):
    results = []
    for threads in (1, 2, 5, 3, 1, 6):  # helpers that are not wanted any more must stand aside
        monkeypatch.setenv("SHOOTING_THREADS", str(threads))
        results.append(values_and_gradients(verb, torch.float32, 1, 8, 5, 9, "relu", runs=6))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_a_compiled_solve_takes_as_many_threads_as_pytorch_unless_told(monkeypatch):
    monkeypatch.delenv("SHOOTING_THREADS", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert native.team() == 3
    monkeypatch.setenv("SHOOTING_THREADS", "2")
    assert native.team() == 2


@pytest.mark.parametrize("verb", ["shoot", "carry"])
@pytest.mark.parametrize("wrong", ["0", "-1", "two", "1.5", ""])
def test_a_wrong_number_of_threads_is_one_sentence(monkeypatch, wrong, verb):
    monkeypatch.setenv("SHOOTING_THREADS", wrong)
    with pytest.raises(ValueError, match=r"SHOOTING_THREADS.*got .*; try the number of cores"):
        values_and_gradients(verb, torch.float32, 1, 8, 5, 9, "relu")


@pytest.mark.parametrize("threads", ["1", "2"])
def test_two_python_threads_at_once(monkeypatch, threads):
    """The helpers serve one of them; the other does without."""
    monkeypatch.setenv("SHOOTING_THREADS", threads)
    wanted = values_and_gradients("shoot", torch.float64, 1, 8, 5, 9, "tanh")
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(
                lambda _: values_and_gradients("shoot", torch.float64, 1, 8, 5, 9, "tanh"),
                range(16),
            )
        )
    assert all(torch.equal(a, b) for one in found for a, b in zip(one, wanted, strict=True))


def test_helpers_that_fell_asleep_wake_up(monkeypatch):
    monkeypatch.setenv("SHOOTING_THREADS", "3")
    case = ("shoot", torch.float32, 1, 8, 5, 9, "relu", 6)
    wanted = values_and_gradients(*case)
    for _ in range(3):
        time.sleep(0.05)  # ten times their patience
        assert all(torch.equal(a, b) for a, b in zip(values_and_gradients(*case), wanted))


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="no denormals to flush here")
def test_helpers_round_as_their_caller_does(monkeypatch):
    """Flushing denormals is a setting of each thread; the helpers began with another one."""
    monkeypatch.setenv("SHOOTING_THREADS", "2")
    field = UpDown(1, 8)
    q = torch.zeros(64, 3, field.size)
    p, z = torch.full_like(q, 1e-310), torch.zeros(64, 0, field.size)  # a denormal number

    def solve():
        return shoot(field, q, p, z, [0, 1], solver=Solver(route="native")).p[:, -1]

    assert (solve() != 0).any()
    torch.set_flush_denormal(True)
    try:
        found = [solve() for _ in range(50)]
    finally:
        torch.set_flush_denormal(False)
    assert all(torch.equal(a, found[0]) for a in found)


def test_a_copy_takes_the_same_route():
    field = UpDown(1, 8)
    assert native.obstacle(copy.deepcopy(field), [torch.zeros(1)]) is None


FORKED = """
import os, signal, sys, torch
from shooting import Solver, UpDown, shoot

g = torch.Generator().manual_seed(0)
q, p, z = (0.1 * torch.randn(4, n, 9, generator=g) for n in (5, 5, 7))
solve = lambda: shoot(UpDown(1, 8), q, p, z, [0, 1], solver=Solver(route="native")).z
wanted = solve()
child = os.fork()
if not child:
    signal.alarm(50)  # a child that waits for nobody must not live on
    os._exit(0 if torch.equal(solve(), wanted) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or not torch.equal(solve(), wanted))
"""


def test_a_forked_process_hires_helpers_of_its_own(monkeypatch):
    """A copy of the memory without the threads: whoever waited for them would wait forever."""
    monkeypatch.setenv("SHOOTING_THREADS", "2")
    # a minute is a hundred times what it takes; a process that waits for nobody never ends
    subprocess.run([sys.executable, "-c", FORKED], check=True, timeout=60)


@pytest.mark.parametrize("sigma", ["relu", "tanh", "softplus", "identity"])
def test_nan_reaches_the_outputs_of_its_run_alone(sigma):
    field = UpDown(1, 16, sigma=sigma)
    q, p = particles(field, 15, runs=(2,), scale=0.01)
    z = draw(5, 2, 20, field.size)
    q[0, 3, 5] = float("nan")
    path = shoot(field, q, p, z, [0, 1], solver=Solver(route="native"))
    assert bool(path.z[0, -1].isnan().any(-1).all())
    assert bool(path.z[1].isfinite().all())


@pytest.mark.parametrize(("start", "finite"), [(-1.0, True), (0.0, False)])
@pytest.mark.parametrize("rows", [1, 5])
def test_what_fills_up_a_vector_leaves_gradients_finite(start, finite, rows):
    """From 0 the state overflows, below it relu is flat; the control is the former."""
    field = Affine(1, sigma="relu")
    theta = {
        "A": torch.full((1, 1, 1), 300, dtype=torch.float32).requires_grad_(),
        "b": torch.full((1, 1, 1), 0.1, dtype=torch.float32),
    }
    z = torch.full((rows, 1), start, dtype=torch.float32)
    end = carry(field, theta, z, [0, 3], solver=Solver(route="native"))[-1]
    (slope,) = torch.autograd.grad(end.sum(), theta["A"])
    assert bool(end.isfinite().all()) is finite
    assert (float(slope) == 0) is finite


@pytest.mark.parametrize(("dtype", "bar"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_tanh_is_relatively_exact_near_zero_and_across_its_seam(dtype, bar):
    """1 - exp(-2v) would lose 11 % at 1e-7 in single precision; bars: a dozen roundings."""
    field = UpDown(1, 1, sigma="tanh")
    sizes = [1e-12, 1e-8, 1e-7, 1e-4, 0.1, 0.29999, 0.3, 0.30001, 1.0, 9.0]
    v = torch.tensor([s * x for x in sizes for s in (1, -1)], dtype=dtype)
    z = torch.stack([torch.zeros_like(v), v], 1)  # x = 0, v at rest
    theta = {t.name: torch.zeros(1, 1, 1, dtype=dtype) for t in field.terms}
    theta["theta1"] += 1
    x = carry(field, theta, z, [0, 1], solver=Solver(route="native"))[-1, :, 0]
    torch.testing.assert_close(x, v.tanh(), rtol=bar, atol=0)


def test_no_gradient_gives_the_same_path():
    field = UpDown(1, 16)
    q, p = particles(field, 15, scale=0.01)
    z, solver = draw(5, 20, field.size), Solver(route="native")
    plain = shoot(field, q, p, z, [0, 1], solver=solver).z
    recorded = shoot(field, q.requires_grad_(), p, z, [0, 1], solver=solver).z
    assert torch.equal(plain, recorded.detach())


def test_room_is_reused_whatever_the_sizes():
    field, solver = UpDown(1, 4), Solver(route="native")

    def gradient(rows):
        q, p = particles(field, 3, scale=0.1)
        q.requires_grad_()
        loss = shoot(field, q, p, draw(5, rows, field.size), [0, 1], solver=solver).z.sum()
        return torch.autograd.grad(loss, q)[0]

    first = {rows: gradient(rows) for rows in (4, 9, 20)}
    native._spare.clear()
    gradient(4)
    kept = {b.ctypes.data for b in native._spare}
    assert len(kept) == 2  # one for the stages, one for scratch
    gradient(4)
    assert {b.ctypes.data for b in native._spare} == kept
    for rows in (9, 4, 20, 9, 4):
        assert torch.equal(gradient(rows), first[rows])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(**WIDTHS, count=st.integers(1, 18), verb=st.sampled_from(["shoot", "carry"]))
@example(**WIDE, count=5, rows=3, seed=0, verb="shoot")
def test_nothing_is_written_beyond_the_room(
    monkeypatch, verb, kind, sigma, method, d, alpha, runs, count, rows, seed
):
    guards, room = [], native._room

    def guarded(purpose, problem, dtype):
        lent = room(purpose, problem, dtype)
        longer = torch.full((lent.numel() + 2**16,), 0xA5, dtype=torch.uint8)
        guards.append(longer[lent.numel() :])
        return longer

    gradients = shoot_gradients if verb == "shoot" else carry_gradients
    with monkeypatch.context() as patched:
        patched.setattr(native, "_room", guarded)
        patched.setenv("SHOOTING_THREADS", "1")  # two would write into each other's room unseen
        gradients(SCALAR[kind](d, alpha, sigma), "native", method, runs, count, rows, seed)
    assert len(guards) == 3  # stages, and scratch forward and back
    assert all((guard == 0xA5).all() for guard in guards)


def test_inputs_need_not_be_contiguous():
    field, solver = UpDown(2, 3), Solver(route="native")
    q, p = particles(field, 4, scale=0.1)
    z = draw(5, field.size, 6)
    found = shoot(field, q, p, z.T, [0, 1], solver=solver).z
    assert gap(found, shoot(field, q, p, z.T.contiguous(), [0, 1], solver=solver).z) == 0


def test_signs_that_pytorch_put_off_count():
    """The imaginary part of a conjugate is a view whose sign is a flag."""
    field, solver = UpDown(1, 2), Solver(route="native")

    def gradient(flip):
        z = draw(0, 4, field.size).requires_grad_()
        theta = {k: draw(1, 1, *shape) for k, shape in field.shapes.items()}
        end = carry(field, {k: flip(t) for k, t in theta.items()}, flip(z), [0, 1], solver=solver)
        return end, torch.autograd.grad(end, z, flip(torch.ones_like(end)))[0]

    for found, wanted, kept in zip(*map(gradient, (torch._neg_view, torch.neg, torch.clone))):
        assert torch.equal(found, wanted)
        assert not torch.equal(found, kept)


@pytest.fixture
def long_method(monkeypatch):
    """An entry of the tableaus with as many stages as are asked for."""

    def add(count):
        rows = tuple((1 / count,) * k for k in range(count))
        monkeypatch.setitem(TABLEAUS, "long", Tableau("long", rows, (1 / count,) * count, 1))

    return add


def test_as_many_stages_as_there_is_room_for(long_method):
    long_method(native.MOST)
    field, *rest = UpDown(1, 2), "long", (), 3, 4, 0
    wanted = shoot_gradients(field, "adjoint", *rest)
    assert relative(shoot_gradients(field, "native", *rest), wanted) <= NATIVE


def test_more_stages_than_there_is_room_for_take_another_route(long_method):
    """They would be written beyond the room, which ended the process."""
    long_method(native.MOST + 1)
    field = UpDown(1, 2)
    q, p = particles(field, 2, scale=0.1)
    assert Solver("long").active_route(field, q.requires_grad_(), p) == "adjoint"
    with refused("more than 16 stages", "route='adjoint'"):
        shoot(field, q, p, q, [0, 1], solver=Solver("long", route="native"))


# --- building --------------------------------------------------------------------------------


def script(folder, text):
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return str(path)


@pytest.fixture
def small_source(monkeypatch, tmp_path):
    """One line of C instead of the solve, to compile in no time."""
    monkeypatch.setattr(build, "SOURCE", tmp_path / "small.c")
    build.SOURCE.write_text("REAL one(void) { return 1; }")


@pytest.fixture
def no_compiler(monkeypatch, tmp_path):
    """A machine without compiler and without anything in the cache."""
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("SHOOTING_CACHE", str(tmp_path))
    monkeypatch.delenv("SHOOTING_ROUTE", raising=False)
    build.load.cache_clear()
    yield
    build.load.cache_clear()


@pytest.mark.usefixtures("no_compiler")
def test_without_compiler_pytorch_does_the_work(caplog):
    field = UpDown(1, 2)
    q, p = particles(field, 2, scale=0.1)
    q.requires_grad_()
    with caplog.at_level(logging.INFO, logger=build.__name__):
        assert Solver().active_route(field, q, p) == "adjoint"
        shoot(field, q, p, q, [0, 1])
    assert {r.levelno for r in caplog.records} == {logging.INFO}  # a page would show a warning
    assert [r.getMessage() for r in caplog.records if "no-such-compiler" in r.getMessage()]
    assert len(caplog.records) == len({r.getMessage() for r in caplog.records}) <= 2
    with refused("native", "no-such-compiler"):
        shoot(field, q, p, q, [0, 1], solver=Solver(route="native"))
    assert "no-such-compiler" in str(native.library_error())


@pytest.mark.usefixtures("small_source")
def test_the_cache_is_used_and_knows_its_compiler(tmp_path):
    compiler = script(tmp_path, f'echo once >> {tmp_path}/log; exec cc "$@"')
    first = build.build(torch.float64, cache=tmp_path / "cache", compiler=compiler)
    assert first == build.build(torch.float64, cache=tmp_path / "cache", compiler=compiler)
    assert (tmp_path / "log").read_text().count("once") == 1
    assert [p.name for p in (tmp_path / "cache").glob("[!.]*")] == [first.name]
    assert first != build.build(torch.float64, cache=tmp_path / "cache")
    assert first != build.build(torch.float32, cache=tmp_path / "cache", compiler=compiler)


@pytest.mark.usefixtures("small_source")
def test_a_failing_compiler_is_quoted_and_leaves_nothing(tmp_path):
    compiler = script(tmp_path, "echo confused >&2; exit 1")
    with pytest.raises(build.BuildError, match="confused.*; set CC"):
        build.build(torch.float64, cache=tmp_path / "cache", compiler=compiler)
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [".building-lock"]


@pytest.mark.usefixtures("small_source")
def test_a_compiler_that_knows_no_native_target_will_do(tmp_path):
    compiler = script(
        tmp_path, 'for a in "$@"; do [ "$a" = -march=native ] && exit 1; done; exec cc "$@"'
    )
    assert build.build(torch.float32, cache=tmp_path / "cache", compiler=compiler).exists()


@pytest.mark.usefixtures("small_source")
def test_the_compiler_may_be_given_options(tmp_path):
    compiler = script(tmp_path, f'echo "$@" >> {tmp_path}/log; exec cc "$@"')
    plain = build.build(torch.float64, cache=tmp_path / "cache", compiler=compiler)
    chosen = build.build(torch.float64, cache=tmp_path / "cache", compiler=f"{compiler} -DMORE=1")
    assert chosen != plain
    assert "-DMORE=1" in (tmp_path / "log").read_text().splitlines()[1]


def test_without_a_home_pytorch_does_the_work(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(build.Path, "home", homeless)
    monkeypatch.delenv("SHOOTING_CACHE", raising=False)
    build.load.cache_clear()
    try:
        assert "set SHOOTING_CACHE" in str(native.library_error())
        field = UpDown(1, 2)
        q, p = particles(field, 2, scale=0.1)
        assert Solver().active_route(field, q, p) in ("adjoint", "autograd")
    finally:
        build.load.cache_clear()


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("SHOOTING_CACHE", str(tmp_path))
    assert build.library_folder() == tmp_path
    monkeypatch.delenv("SHOOTING_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert build.library_folder() == tmp_path / ".cache" / "shooting"


def test_no_flag_that_hides_nan():
    """-ffast-math would let the compiler assume that NaN does not exist."""
    assert not {"-ffast-math", "-Ofast", "-ffinite-math-only"} & set(build.FLAGS)
