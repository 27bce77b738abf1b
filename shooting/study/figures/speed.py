"""Figures of the chapter on speed: the benchmark's record in, figures out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shooting.study.experiments.regression import RegressionConfig
from shooting.study.figures.style import PALETTE, WIDTH

Record = Mapping[str, Any]
BASE = "torchdiffeq, explicit equations"
ORDER = (
    "torchdiffeq, autodiff equations",
    BASE,
    "θ-form, autograd",
    "kernel form, autograd",
    "discrete adjoint",
    "diffrax Tsit5",
    "JAX jit + scan, θ-form",
    "JAX jit + scan, kernel form",
    "native",
)
AXES = {"runs": "runs in the ensemble", "alpha": "inflation factor α", "particles": "particles K"}
ROUTES = {"adjoint": PALETTE[1], "native": PALETTE[0]}
NAMES = {"adjoint": "discrete adjoint", "native": "native"}


def in_complete_set(config: RegressionConfig) -> bool:
    """Whether an ensemble is one of the paper's 32: K = 15, ten seeds, alpha from 16 to 128."""
    wide, few = config.inflation >= 16, config.particles in (0, 15)
    return wide and few and config.seeds == tuple(range(10))


def per_run(record: Record, alpha: int, runs: int) -> dict[str, np.ndarray]:
    """Lower quartile, median and upper quartile of a step, in milliseconds per run, by rung."""
    (entry,) = (e for e in record["ladder"] if (e["alpha"], e["runs"]) == (alpha, runs))
    keys = ("cpu_low", "cpu", "cpu_high")
    return {name: np.array([t[k] for k in keys]) / runs for name, t in entry["times"].items()}


def factors(record: Record, alpha: int, runs: int) -> dict[str, float]:
    """How many times faster than one run of torchdiffeq with explicit equations, by rung."""
    base = per_run(record, alpha, 1)[BASE][1]
    return {name: float(base / t[1]) for name, t in per_run(record, alpha, runs).items()}


def bars(record: Record) -> list[tuple[str, float, float, float | None]]:
    """What was measured against the criteria that were set before.

    Args:
        record: The benchmark's record.

    Returns:
        What, its criterion, the factor in an ensemble of twenty, and the factor of a single run
        where that is another; both over a single run of torchdiffeq, or of JAX where it says so.
    """
    many, alone = ({a: factors(record, a, n) for a in (16, 128)} for n in (20, 1))
    pair = {e["alpha"]: e["times"] for e in record["threads"]}[128]
    balls = {k: v["cpu"] for k, v in record["balls"]["times"].items()}

    def lead(found: dict[str, float]) -> float:
        return found["native"] / max(v for k, v in found.items() if "JAX" in k)

    return [
        *(
            (f"{rung}, α = {a}", bar, many[a][rung], alone[a][rung])
            for rung, goals in (("discrete adjoint", (15, 7)), ("native", (60, 18)))
            for a, bar in zip((16, 128), goals, strict=True)
        ),
        *((f"native over JAX, α = {a}", 1, lead(many[a]), lead(alone[a])) for a in (16, 128)),
        ("two threads over one, α = 128", 1.7, pair["1"]["wall"] / pair["2"]["wall"], None),
        ("native over θ-form, size of the balls", 7, balls["θ-form, autograd"] / balls["native"],
         None),
    ]  # fmt: skip


def ladder(record: Record) -> Figure:
    """Time per run and step of every rung, alone and in an ensemble of twenty.

    Args:
        record: The benchmark's record.

    Returns:
        The figure, one panel per inflation factor.
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.2), sharey=True)
    for ax, alpha in zip(axes, (16, 128), strict=True):
        for runs, marker, colour in ((1, "o", PALETTE[7]), (20, "D", PALETTE[0])):
            found = per_run(record, alpha, runs)
            names = [n for n in ORDER if n in found]
            low, mid, high = np.array([found[n] for n in names]).T
            ax.errorbar(
                mid, [ORDER.index(n) for n in names], xerr=[mid - low, high - mid],
                fmt=marker, color=colour, label=f"{runs} run{'s' * (runs > 1)} at once", ms=6,
            )  # fmt: skip
            if runs == 20:
                _label_factors(ax, names, mid, factors(record, alpha, 20))
        ax.margins(x=0.1)  # room for the label of the fastest
        ax.set(
            xscale="log",
            ylim=(-0.6, len(ORDER) - 0.4),
            xlabel="milliseconds per run and step",
            title=f"α = {alpha}",
        )
    axes[0].set_yticks(range(len(ORDER)), ORDER)
    axes[0].invert_yaxis()
    axes[0].legend(loc="upper left")
    return fig


def _label_factors(ax: Axes, names: Sequence[str], at: np.ndarray, by: Mapping[str, float]) -> None:
    for name, x in zip(names, at, strict=True):
        ax.annotate(
            f"{by[name]:.2g}×", (x, ORDER.index(name)), xytext=(0, 6),
            textcoords="offset points", ha="center", va="bottom", fontsize=8,
        )  # fmt: skip


def cost(record: Record) -> Figure:
    """Time of a step against the size of the ensemble, alpha, K and the number of steps."""
    fig, axes = plt.subplots(2, 2, figsize=(WIDTH, 5.2), sharey=True)
    for ax, entry in zip(axes.flat, record["cost"], strict=True):
        for route, colour in ROUTES.items():
            found = {int(n.split()[1]): t for n, t in entry["times"].items() if route in n}
            sizes = np.array(sorted(found))
            runs = sizes if entry["name"] == "runs" else entry["others"]["runs"]
            ms = np.array([found[s]["cpu"] for s in sizes]) / runs
            ax.loglog(sizes, ms, "o-", color=colour, ms=4, label=NAMES[route])
        ax.set_xlabel(AXES.get(entry["name"], "steps"))
        _plain_ticks(ax, sizes)
    for ax in axes[:, 0]:
        ax.set_ylabel("ms per run and step")
    axes[0, 0].legend()
    return fig


def _plain_ticks(ax: Axes, sizes: Iterable[int]) -> None:
    ax.set_xticks(list(sizes), [str(s) for s in sizes])
    ax.minorticks_off()


def crossover(record: Record) -> Figure:
    """Theta-form over kernel form against alpha: measured times, and operation counts."""
    entry = record["crossover"]
    alphas = sorted(int(a) for a in entry["flops"])
    times, count = entry["times"], entry["flops"]
    measured = [times[f"theta {a}"]["cpu"] / times[f"kernel {a}"]["cpu"] for a in alphas]
    counted = [count[str(a)]["theta"] / count[str(a)]["kernel"] for a in alphas]
    fig, ax = plt.subplots(figsize=(WIDTH, 3.2))
    curves = (("operations counted", counted, PALETTE[7]), ("time measured", measured, PALETTE[0]))
    for name, values, colour in curves:
        ax.loglog(alphas, values, "o-", color=colour)
        ax.annotate(name, (alphas[-1], values[-1]), xytext=(7, 0), textcoords="offset points",
                    va="center", color=colour, annotation_clip=False)  # fmt: skip
    ax.axhline(1, color="black", lw=0.8)
    ax.set(xlabel="inflation factor α", ylabel="θ-form over kernel form")
    _plain_ticks(ax, alphas)
    return fig
