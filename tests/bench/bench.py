"""How fast, and why: every rung in one process, interleaved, written to book/records/bench.json.

Times are medians with quartiles, in milliseconds, of whole training steps. With one thread the
processor time of the process is compared, which does not count the time that other programs take;
with two threads it has to be the wall clock. Nothing here is asserted about time.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
os.environ.setdefault("NPROC", "1")  # what XLA takes for the number of processors

import history
import numpy as np
import torch
from rungs import Size, Step, ours, torch_rungs

from shooting.study.experiments.models import MODELS
from shooting.study.experiments.regression import REGRESSION
from shooting.study.figures.speed import in_complete_set
from shooting.study.records import provenance
from shooting.study.records.identity import record_id
from shooting.study.storage import atomic_write

RECORD = Path(__file__).resolve().parents[2] / "book" / "records" / "bench.json"
Times = dict[str, dict[str, float]]


def interleave(
    steps: Mapping[str, Callable[[], Any]], *, seconds: float, turn: float = 0.1
) -> Times:
    """Time every step in turn, again and again, until about `seconds` are used up.

    Args:
        steps: What to time, by name. Each is called twice before, to warm up.
        seconds: For all together; every step is timed at least three times.
        turn: Seconds of the same step in a row.

    Returns:
        Median and quartiles of wall clock and processor time of one call, and number of turns.
    """
    first = {}
    for name, step in steps.items():
        step()
        start = time.perf_counter()
        step()
        first[name] = time.perf_counter() - start
    # a training does the same step again and again: so does a turn, caches warm
    calls = {name: max(1, round(turn / t)) for name, t in first.items()}
    turns = max(3, min(60, int(seconds / sum(calls[n] * first[n] for n in steps))))
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for _ in range(turns):
        for name, step in steps.items():
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(calls[name]):
                step()
            spent = time.perf_counter() - wall, time.process_time() - cpu
            seen[name].append((1e3 * spent[0] / calls[name], 1e3 * spent[1] / calls[name]))
    return {name: _summary(np.array(pairs)) for name, pairs in seen.items()}


def _summary(pairs: np.ndarray) -> dict[str, float]:
    low, middle, high = np.quantile(pairs, [0.25, 0.5, 0.75], axis=0)
    return {
        "wall": middle[0], "wall_low": low[0], "wall_high": high[0],
        "cpu": middle[1], "cpu_low": low[1], "cpu_high": high[1],
        "turns": len(pairs),
    }  # fmt: skip


def check_equal(rungs: Mapping[str, Step], *, inexact: tuple[str, ...] = ()) -> float:
    """All rungs do the same step: largest relative difference of loss and gradient.

    Args:
        rungs: Compared with the last of them.
        inexact: Rungs with another Runge-Kutta method: its stages meet the kinks of ReLU at other
            places, which moves the gradient by percents, so that only the loss is compared closely.
    """
    found = {name: (np.asarray(rung()), rung.gradient()) for name, rung in rungs.items()}
    loss, grad = found[list(rungs)[-1]]
    worst = 0.0
    for name, (other_loss, other_grad) in found.items():
        gaps = [_relative(other_loss, loss)]
        gaps += [_relative(np.asarray(other_grad[k]), np.asarray(g)) for k, g in grad.items()]
        # single precision, sums in another order
        assert gaps[0] <= 1e-4, (name, gaps)
        assert max(gaps) <= (0.1 if name in inexact else 1e-4), (name, gaps)
        worst = max(worst, 0.0 if name in inexact else max(gaps))
    return worst


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


# --- what is measured ----------------------------------------------------------------------------


def ladder(alpha: int, runs: int) -> dict[str, Any]:
    """All rungs at one size, and the relative difference of their gradients."""
    from jax_rungs import jax_rungs

    size = Size(alpha=alpha, runs=runs)
    rungs = {**jax_rungs(size), **torch_rungs(size)}
    difference = check_equal(rungs, inexact=("diffrax Tsit5",))
    return {
        "alpha": alpha,
        "runs": runs,
        "difference": difference,
        "times": interleave(rungs, seconds=22),
    }


def threads(alpha: int) -> dict[str, Any]:
    """The native step with its solves on one and on two threads, taking turns.

    PyTorch itself keeps to one: its threads gain nothing on operations as small as those between
    the solves, and spin while they wait, on the core that the solve's second thread wants.
    """
    step = ours(Size(alpha=alpha), route="native")

    def with_threads(count: int) -> Callable[[], Any]:
        def call() -> None:
            os.environ["SHOOTING_THREADS"] = str(count)
            step()

        return call

    with mock.patch.dict(os.environ):  # put back as it was, but not within what is timed
        # long turns: a helper sleeps while one thread is timed, and wakes once in a training
        times = interleave({str(n): with_threads(n) for n in (1, 2)}, seconds=16, turn=0.5)
    return {"alpha": alpha, "runs": 20, "times": times}


def processes(alpha: int, *, seconds: float = 5.0) -> dict[str, float]:
    """Native steps per second of one process, and of two that know nothing of each other.

    Their ratio is what the machine gives at most; what two threads fall short of it is ours.
    """

    def together(count: int) -> float:
        begin = time.time() + 15  # imports and warm-up of both are over by then
        command = [
            sys.executable,
            "-c",
            f"import bench; bench.print_rate({alpha}, {begin}, {seconds})",
        ]
        how = {"cwd": Path(__file__).parent, "env": {**os.environ, "OMP_NUM_THREADS": "1"}}
        jobs = [subprocess.Popen(command, stdout=subprocess.PIPE, **how) for _ in range(count)]
        said = [job.communicate()[0] for job in jobs]
        if any(job.returncode for job in jobs):
            raise RuntimeError(f"expected {count} processes to measure their rate, but one failed")
        return sum(float(words) for words in said)

    before, both, after = together(1), together(2), together(1)
    return {"alpha": alpha, "one": (before + after) / 2, "two": both}


def print_rate(alpha: int, begin: float, seconds: float) -> None:
    """What `processes` reads: steps per second in the given span of time."""
    torch.set_num_threads(1)
    step = ours(Size(alpha=alpha), route="native")
    for _ in range(5):
        step()
    if time.time() > begin:
        raise RuntimeError("expected the warm-up to end before the measurement begins; try again")
    time.sleep(begin - time.time())
    done = 0
    while time.time() < begin + seconds:
        step()
        done += 1
    print(done / (time.time() - begin))


def cost(name: str, values: tuple[int, ...], **others: int) -> dict[str, Any]:
    """Cost of a step of the native and the adjoint route against one size."""
    steps = {
        f"{route} {value}": ours(Size(**{**others, name: value}), route=route)
        for value in values
        for route in ("adjoint", "native")
    }
    return {"name": name, "others": others, "times": interleave(steps, seconds=9)}


def crossover() -> dict[str, Any]:
    """Theta-form against kernel form, both by autograd, as the state grows; and by flop count."""
    alphas = (1, 2, 4, 8, 16, 32, 64)
    steps = {
        f"{form} {a}": ours(Size(alpha=a), route="autograd", form=form)
        for a in alphas
        for form in ("theta", "kernel")
    }
    from shooting import UpDown

    counted = {a: UpDown(1, a).flops(15, 50) for a in alphas}
    return {"flops": counted, "times": interleave(steps, seconds=20)}


def balls() -> dict[str, Any]:
    """One step at the size of the bouncing balls: alpha = 20, d = 50, K = 100, 38 steps."""
    size = Size(alpha=20, dim=50, particles=100, batch=25, steps=38, runs=1)
    rungs = {
        "θ-form, autograd": ours(size, route="autograd", form="theta"),
        "kernel form, autograd": ours(size, route="autograd", form="kernel"),
        "discrete adjoint": ours(size, route="adjoint"),
        "native": ours(size, route="native"),
    }
    return {"times": interleave(rungs, seconds=1)}


def peak() -> dict[str, Any]:
    """The machine's matrix product, one thread, single precision; and what the solve reaches."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    out = torch.empty(1024, 1024)
    steps: dict[str, Callable[[], Any]] = {"product": lambda: torch.mm(a, b, out=out)}
    work = {"product": 2 * 1024**3}
    for alpha in (16, 128):
        for runs in (1, 20):
            size = Size(alpha=alpha, runs=runs)
            n, k = size.batch + size.particles, size.particles
            # per right-hand side, forward and back: products with a side of alpha d or d
            flops = (alpha + 1) * size.dim * (12 * n * k + 10 * k**2) * 4 * size.steps
            steps[f"{alpha}, {runs}"] = ours(size, route="native")
            work[f"{alpha}, {runs}"] = flops * runs
    times = interleave(steps, seconds=12)
    return {n: {"gflops": work[n] / t["cpu"] / 1e6, **t} for n, t in times.items()}


def sweep() -> dict[str, Any]:
    """A step of each of the 16 ensembles of ten runs of the 1-D regression, native."""
    steps = {
        f"{model} {alpha}": ours(Size(alpha=alpha, runs=10, model=model), route="native")
        for model in MODELS
        for alpha in (16, 32, 64, 128)
    }
    times = interleave(steps, seconds=20)
    steps_each, functions = 500 * 10, 2
    total = functions * steps_each * sum(t["cpu"] for t in times.values()) / 1e3
    return {"times": times, "steps": steps_each, "functions": functions, "seconds": total}


def halves() -> tuple[list[str], list[str]]:
    """Ids of the paper's 1-D set in two lists of equal cost, by the step times of the record."""
    times = json.loads(RECORD.read_text())["sweep"]["times"]
    grid = [c for c in REGRESSION.grid("paper") if in_complete_set(c)]
    cost = {record_id("regression", c): times[f"{c.model} {c.inflation}"]["cpu"] for c in grid}
    lists: tuple[list[str], list[str]] = ([], [])
    for name in sorted(cost, key=lambda name: -cost[name]):
        min(lists, key=lambda ids: sum(cost[i] for i in ids)).append(name)
    return lists


def complete_set() -> float:
    """Train the paper's 1-D set afresh, two processes side by side, into the local records.

    Returns:
        Seconds from the start of both to the end of the later one.
    """
    begin = time.perf_counter()
    command = [sys.executable, "-m", "shooting", "run", "--experiment", "regression", "--fresh"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    jobs = [subprocess.Popen([*command, "--ids", ",".join(h)], env=environment) for h in halves()]
    ended = [job.wait() for job in jobs]
    if any(ended):
        raise RuntimeError("expected both halves to be trained, but one failed; see above")
    return time.perf_counter() - begin


def memory() -> dict[str, float]:
    """Megabytes that one step keeps for its backward pass, at alpha = 128 and 20 runs."""
    size, found = Size(alpha=128), {}
    for route, form in (
        ("autograd", "theta"),
        ("autograd", "kernel"),
        ("adjoint", "auto"),
        ("native", "auto"),
    ):
        kept: dict[int, int] = {}

        def keep(t: torch.Tensor, kept: dict[int, int] = kept) -> torch.Tensor:
            kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        step = ours(size, route=route, form=form)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            step()
        found[f"{route}, {form}"] = sum(kept.values()) / 1e6
    return found


def main() -> dict[str, Any]:
    """Measure everything and write the record."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    begun = time.perf_counter()
    import diffrax
    import jax
    import torchdiffeq

    record = {
        "provenance": {
            **provenance.environment(),
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
            "jax": jax.__version__,
            "diffrax": diffrax.__version__,
            "torchdiffeq": torchdiffeq.__version__,
            "load": os.getloadavg()[0],  # other programs running at the start
        },
        "ladder": [ladder(alpha, runs) for alpha in (16, 128) for runs in (1, 20)],
        "threads": [threads(alpha) for alpha in (16, 128)],
        "processes": [processes(alpha) for alpha in (16, 128)],
        "cost": [
            cost("runs", (1, 2, 5, 10, 20, 40), alpha=32),
            cost("alpha", (4, 16, 64, 256), runs=10),
            cost("particles", (5, 15, 25, 50, 100), alpha=64, runs=5),
            cost("steps", (5, 10, 20, 40), alpha=64, runs=5),
        ],
        "crossover": crossover(),
        "balls": balls(),
        "peak": peak(),
        "sweep": sweep(),
        "memory": memory(),
    }
    record["provenance"]["load_end"] = os.getloadavg()[0]
    record["provenance"]["seconds"] = time.perf_counter() - begun
    text = json.dumps(_rounded(record), indent=1, ensure_ascii=False) + "\n"
    atomic_write(RECORD, text.encode())
    history.write()
    return record


def _rounded(value: Any) -> Any:
    """Four significant digits, so that the record is readable."""
    if isinstance(value, Mapping):
        return {str(k): _rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def ratios(record: Mapping[str, Any]) -> dict[str, float]:
    """What the record says, as factors over one run of torchdiffeq with explicit equations."""
    by_size = {(e["alpha"], e["runs"]): e["times"] for e in record["ladder"]}
    found = {}
    for alpha in (16, 128):
        base = by_size[alpha, 1]["torchdiffeq, explicit equations"]["cpu"]
        for name, t in by_size[alpha, 20].items():
            found[f"α = {alpha}: {name}"] = base / (t["cpu"] / 20)
    for e in record["threads"]:
        found[f"α = {e['alpha']}: two threads over one"] = (
            e["times"]["1"]["wall"] / e["times"]["2"]["wall"]
        )
    for e in record["processes"]:
        found[f"α = {e['alpha']}: two processes over one"] = e["two"] / e["one"]
    times = record["balls"]["times"]
    for name, t in times.items():
        found[f"balls: {name} over θ-form"] = times["θ-form, autograd"]["cpu"] / t["cpu"]
    return found
