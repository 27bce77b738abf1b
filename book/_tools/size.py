"""How large each house is, now or at a revision of git: ``python book/_tools/size.py [REVISION]``.

Lines are counted with docstrings, comments and blank lines. The library is `shooting/` without
`study/`; its mathematics is what a reader of the paper needs: features, fields, the Hamiltonian,
solvers, the four models. Before the study had a folder, the library was the modules of the same
names.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import PurePosixPath

from checkout import ROOT

MATHEMATICS = (
    *("activations", "spaces", "metrics", "features", "fields", "named_fields", "automatic"),
    *("hamiltonian", "solvers", "flow", "parametrizations"),
)
SPEED = ("adjoint", "native", "routes")
TRAINING = ("optim", "fit", "errors", "randomness", "environment", "__init__")
LIBRARY = (*MATHEMATICS, *SPEED, *TRAINING)


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


if __name__ == "__main__":
    show([*sys.argv[1:], "HEAD"])
