"""How large each house is, now or at a revision of git: ``python book/_tools/size.py [REVISION]``.

Lines are counted with docstrings, comments and blank lines. The library is `shooting/` without
`study/`; its mathematics is what a reader of the paper needs: features, fields, the Hamiltonian,
solvers, the four models. Before the study had a folder, the library was the modules of the same
names.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import torch
from checkout import ROOT

import shooting
from shooting.study import scaffold

MATHEMATICS = (
    *("activations", "spaces", "metrics", "features", "fields", "named_fields", "automatic"),
    *("hamiltonian", "times", "solvers", "conservation", "flow", "kicks", "dense", "paste"),
    *("lift", "layers", "parametrizations"),
)
SPEED = ("adjoint", "native", "reference", "routes", "transforms")
TRAINING = (
    *("optim", "fit", "watch", "diagnosis", "learned"),
    *("errors", "fixed", "randomness", "environment", "__init__"),
)


def git(*words: str) -> str:
    """What git prints."""
    command = ["git", "-C", str(ROOT), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def lines(revision: str) -> dict[PurePosixPath, int]:
    """Lines of each source below `shooting/` at a revision."""
    names = git("ls-tree", "-r", "--name-only", revision, "shooting").splitlines()
    paths = [PurePosixPath(n) for n in names if n.endswith((".py", ".c", ".h"))]
    return {p: git("show", f"{revision}:{p}").count("\n") for p in paths}


def part(path: PurePosixPath) -> str:
    """What a source belongs to."""
    name = PurePosixPath(path.parts[1]).stem
    if path.suffix in (".c", ".h"):
        return "compiled"
    known = {"mathematics": MATHEMATICS, "speed": SPEED, "training": TRAINING}
    return next((k for k, names in known.items() if name in names), "study")


def table(found: dict[PurePosixPath, int]) -> dict[str, int]:
    """Lines by part."""
    parts = ("mathematics", "speed", "training", "compiled", "study")
    sums = {p: sum(n for path, n in found.items() if part(path) == p) for p in parts}
    return {**sums, "library": sum(sums[p] for p in parts if p not in ("compiled", "study"))}


def show(revisions: Iterable[str]) -> None:
    """Print one column per revision."""
    columns = {r: table(lines(r)) for r in revisions}
    print(f"{'lines of':14}" + "".join(f"{r[:12]:>14}" for r in columns))
    for name in next(iter(columns.values())):
        print(f"{name:14}" + "".join(f"{c[name]:14}" for c in columns.values()))


def additions() -> dict[str, list[str]]:
    """Files that have to change to add something; the fields are added here, with none."""
    dense = shooting.Term("A", "x", shooting.Activated("x", "tanh"))
    convolution = shooting.Term("A", "x", shooting.Patches("x", 3, "tanh"))
    for slot, term in ((2, dense), (shooting.Slot(2, (4, 4)), convolution)):
        field = shooting.Field({"x": slot}, [term, shooting.Term("b", "x")])
        q, p = torch.zeros(2, 3, field.size)
        shooting.shoot(field, q, p, q, [0.0, 1.0])
    with tempfile.TemporaryDirectory() as folder:
        for path in (scaffold.REGISTRY, scaffold.CHECKSUMS, scaffold.CONTENTS):
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, Path(folder) / path)
        experiment = [str(path) for path in scaffold.new("sketch", Path(folder))]
    return {
        "a dense field": [],
        "a convolution": [],
        "a solver": ["shooting/solvers.py"],  # one entry of TABLEAUS, tested in test_flow.py
        "an experiment": experiment,
    }


if __name__ == "__main__":
    show([*sys.argv[1:], "HEAD"])
    for what, files in additions().items():
        print(f"files to add {what}: {len(files)} {' '.join(files)}".rstrip())
