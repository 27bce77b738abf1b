"""Would critical weights jump on the spiral? The hypotheses of the corollary, on trained models.

``python tests/bench/spiral_jumps.py`` trains the spiral's dynamic model with particles (protocol
`paper`) and writes book/spiral_jumps.yaml. The bars of `BARS` were set before the first run.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from shooting.fields import Control, Field
from shooting.fit import FitConfig, fit
from shooting.optim import Plateau
from shooting.parametrizations import Controlled
from shooting.study.data import spiral
from shooting.study.experiments.models import part_of
from shooting.study.experiments.spiral import (
    DEPTH,
    PENALTY,
    SIMILARITY,
    TIMES,
    SpiralConfig,
    SpiralTask,
    make_model,
)
from shooting.study.theory.intermediate_losses import resting

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "book" / "spiral_jumps.yaml"
FINE = 40  # depths of a snippet at which kinks are looked for
BARS = {
    "least_jump": 0.01,  # share of theta by which critical weights would jump: not zero
    "resting": 0,  # entries of v that stay at their kink from one depth to the next
}


def trained(config: SpiralConfig) -> Controlled:
    """The model of a config, trained as the experiment trains it."""
    model = make_model(config)
    settings = FitConfig(
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        schedule=Plateau(factor=config.plateau_factor, patience=10, every=config.plateau_every),
        freeze={part_of("x"): config.frozen_epochs},
    )
    fit(model, SpiralTask(config), settings)
    return model


def all_snippets() -> tuple[Tensor, Tensor]:
    """Every snippet ``(5, 196, 2)`` and its probability ``(196,)``."""
    path = spiral.trajectory()
    count = len(path) - spiral.SNIPPET + 1
    return torch.stack([path[k : k + count] for k in range(spiral.SNIPPET)]), spiral.start_weights()


def size(field: Field, control: Control) -> Tensor:
    """Norm of a control in the metric of the penalty, per run."""
    return (2 * field.penalty(control)).sqrt()


@torch.no_grad()
def jumps(model: Controlled) -> Tensor:
    """Size of the jump of critical weights over the size of theta, ``(3, runs)``.

    The expected loss over the penalty's weight is ``int R dt + weight * mean error``.
    """
    truth, chance = all_snippets()
    start = truth[0].expand(model.runs, -1, -1)
    states, theta = model.states(start, TIMES), model.theta(TIMES)
    out = []
    for k in range(1, len(TIMES) - 1):
        z = states[:, k]
        slope = torch.zeros_like(z)
        slope[..., :2] = 2 * (z[..., :2] - truth[k]) * chance[:, None].to(z) / (5 * 2)
        jump = model.field.theta(z, SIMILARITY / PENALTY * slope)
        now = {name: w[:, k] for name, w in theta.items()}
        out.append(size(model.field, jump) / size(model.field, now))
    return torch.stack(out)


@torch.no_grad()
def rests(model: Controlled) -> int:
    """Entries of v of all snippets and runs that stay at zero from one depth to the next."""
    start = all_snippets()[0][0].expand(model.runs, -1, -1)
    states = model.states(start, [DEPTH * k / FINE for k in range(FINE + 1)])
    return resting(states[..., 2:].movedim(1, 0))


def measure(inflation: int, seeds: int) -> dict[str, Any]:
    """Train the runs of one alpha and measure both hypotheses."""
    began = time.perf_counter()
    model = trained(SpiralConfig.paper(inflation=inflation, seeds=tuple(range(seeds))))
    found = jumps(model)
    return {
        "alpha": inflation,
        "seeds": seeds,
        "least": float(f"{float(found.min()):.3g}"),
        "median": float(f"{float(found.median()):.3g}"),
        "most": float(f"{float(found.max()):.3g}"),
        "resting": rests(model),
        "seconds": round(time.perf_counter() - began),
    }


def main() -> None:
    """Measure and write the record."""
    torch.set_num_threads(1)
    head = ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]
    commit = subprocess.run(head, capture_output=True, text=True, check=True).stdout.strip()
    rows = [measure(inflation, 10) for inflation in (16, 64)]
    record = {"bars": BARS, "commit": commit, "torch": str(torch.__version__), "runs": rows}
    RECORD.write_text(yaml.safe_dump(record, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    main()
