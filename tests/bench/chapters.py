"""Measurements of the theory chapters that take too long for a page.

``python tests/bench/chapters.py plateau pairs segments exit`` measures the parts named and keeps
the others of book/records/chapters.json. The bars of `BARS` were set before the first run.
"""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shooting import Affine, DynamicParticles, UpDown
from shooting.fields import Control
from shooting.study.theory import bvp, direct, meanfield, plateau, terminal
from shooting.study.theory import intermediate_losses as kk
from shooting.study.theory.invariants import slope

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "book" / "records" / "chapters.json"
BARS = {
    "falls": 0.05,  # from 500 to 4000 iterations the excess loses more than this share of itself
    "on": 0.02,  # turned on instead of back, the excess is below, for every number of particles
    "below": -1e-3,  # no ensemble is below the optimum by more than the solvers' errors
    "pairs": (0.35, 0.65),  # order of theta(0) of random samples, from 16 to 128 points
    "segments": 1e-6,  # multiple shooting and continuation find the same J, relative
}


def _seen(problem: kk.Watched, best: float, found: plateau.Smooth) -> dict[str, float]:
    """Excess as fitted and as it is, and the largest momentum."""
    exact = found.exact(problem)
    size = float(found.p.abs().max())
    return {"fitted": found.value / best - 1, "excess": exact / best - 1, "momentum": size}


def measure_plateau() -> dict[str, Any]:
    """Excess of smooth ensembles over the direct optimum, against K and iterations."""
    counts, iterations, out = (5, 10, 20, 40), (500, 1000, 2000, 4000), {}
    for name, second in (("back", 0.0), ("on", 2 * torch.pi / 3)):
        problem = plateau.turns(second)
        best = kk.solve_watched(problem, 40).value
        fits = [plateau.patient(problem, count, iterations) for count in counts]
        out[name] = [[_seen(problem, best, one) for one in fit] for fit in fits]
        if name == "back":  # control: a coarse solver is exploited
            coarse = plateau.grown(problem, counts, iterations=400)
            out["coarse"] = [_seen(problem, best, one) for one in coarse]
    return {"counts": counts, "iterations": iterations, **out}


def circle(t: Tensor) -> tuple[Tensor, Tensor]:
    """Points of the unit circle and their targets, the bent oval of chapter 2."""
    x = torch.stack([t.cos(), t.sin()], -1)
    bent = 1.3 * x[:, 0] + 0.7 * x[:, 1] ** 2, 0.8 * x[:, 1] + 0.6 * x[:, 0]
    return x, torch.stack(bent, -1)


def measure_pairs() -> dict[str, Any]:
    """Error of theta(0) of optimal N-particle networks against the population's."""
    field, counts, draws = Affine(2, sigma="tanh"), (8, 16, 32, 64, 128), 24

    def solve(t: Tensor) -> Control:
        return meanfield.optimal_weights(field, *circle(t), weights=(5.0,), step=0.1)

    def even(count: int) -> Tensor:
        return 2 * torch.pi * (torch.arange(count) + 0.5) / count

    truth, random, regular = solve(even(64)), [], []
    for n in counts:
        g = torch.Generator().manual_seed(n)
        errors = [
            float(meanfield.distance(solve(2 * torch.pi * torch.rand(n, generator=g)), truth))
            for _ in range(draws)
        ]
        random.append((sum(e * e for e in errors) / draws) ** 0.5)
        if n < 64:
            regular.append(float(meanfield.distance(solve(even(n)), truth)))
    order = slope(list(counts[1:]), random[1:])
    return {"counts": counts, "draws": draws, "random": random, "even": regular, "order": order}


def measure_segments() -> dict[str, Any]:
    """Single and multiple shooting from first guesses without costates, and continuation."""
    x, y = circle(2 * torch.pi * torch.arange(12) / 12)
    problem = direct.Problem(Affine(2, sigma="tanh"), x, y, 5.0)
    weights = (5.0, 20.0, 50.0, 80.0, 200.0, 500.0)
    followed = bvp.continuation(problem, weights)
    out: dict[str, Any] = {}
    for weight, one in zip(weights, followed, strict=True):
        if weight not in (50.0, 500.0):
            continue
        now = replace(problem, weight=weight)
        single = bvp.newton(partial(bvp.end_condition, now), torch.zeros_like(x))
        rows = {"single": single.residuals[-1], "J": float(bvp.shooting_objective(now, one.p))}
        for segments in (2, 4, 8):
            first = bvp.straight_nodes(now, segments)
            found = bvp.newton(partial(bvp.segmented_gaps, now), first)
            rows[str(segments)] = {
                "converged": found.converged,
                "steps": len(found.residuals) - 1,
                "residual": found.residuals[-1],
                "J": float(bvp.shooting_objective(now, found.p[0, 1])),
            }
        out[f"{weight:g}"] = rows
    return out


def measure_exit() -> dict[str, Any]:
    """Objectives after Levenberg-Marquardt, particles at the entrance or at the exit."""
    x, seeds = torch.linspace(-1.5, 1.5, 41)[:, None], range(5)
    out: dict[str, Any] = {"seeds": len(seeds), "iterations": 60}
    for sigma in ("relu", "tanh"):
        field = UpDown(1, 8, sigma=sigma)
        model = DynamicParticles(field, 8, seeds=seeds, lift="fixed")
        for name, at_exit in (("entrance", False), ("exit", True)):
            how = {"terminal": at_exit, "iterations": 60}
            found = [terminal.least_squares(model, x, x**2, run=r, **how) for r in seeds]
            out[f"{sigma} {name}"] = found
    return out


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "plateau": measure_plateau,
    "pairs": measure_pairs,
    "segments": measure_segments,
    "exit": measure_exit,
}


def provenance(seconds: float) -> dict[str, Any]:
    """Where a part comes from."""
    head = ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]
    commit = subprocess.run(head, capture_output=True, text=True, check=True).stdout.strip()
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {
        "commit": commit,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "date": date,
        "seconds": round(seconds),
    }


def rounded(value: Any) -> Any:
    """The same nested lists and dicts, numbers to six digits."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main(names: list[str]) -> None:
    """Measure the parts named and store them."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    for name in names:
        start = time.perf_counter()
        found = rounded(PARTS[name]())
        found["provenance"] = provenance(time.perf_counter() - start)
        kept = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
        kept |= {"bars": BARS, name: found}
        RECORD.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
