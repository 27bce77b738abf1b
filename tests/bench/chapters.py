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
from pathlib import Path
from typing import Any

import torch

from shooting.study.theory import intermediate_losses as kk
from shooting.study.theory import plateau

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "book" / "records" / "chapters.json"
BARS = {
    "plateau": 0.2,  # excess of there and back stays above, for every number of particles
    "plateau gain": 0.03,  # and falls by less than this from 10 to 40 particles
}


def measure_plateau() -> dict[str, Any]:
    """Excess of smooth ensembles over the direct optimum, against K."""
    counts, out = (5, 10, 15, 20, 30, 40), {}
    for name, second in (("back", 0.0), ("on", 2 * torch.pi / 3)):
        problem = plateau.turns(second)
        best = kk.solve_watched(problem, 20).value
        found = plateau.lowest(problem, counts, starts=4, iterations=400)
        excess = [[value / best - 1 for value in values] for values in found]
        out[name] = {"optimum": best, "excess": excess}
    return {"counts": counts, "starts": 4, "iterations": 400, **out}


PARTS: dict[str, Callable[[], dict[str, Any]]] = {"plateau": measure_plateau}


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
