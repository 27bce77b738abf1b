"""Where a record comes from: code, versions, machine, cost."""

from __future__ import annotations

import ast
import functools
import hashlib
import platform
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import shooting
from shooting import native
from shooting.environment import processor_lines, variable
from shooting.study.paths import PACKAGE

COMPILED = ("*.c", "*.h")
TRAINING = "shooting.study.experiments"  # what it imports, directly or not, can change a result


def source_files() -> list[Path]:
    """The sources that a training imports, found by following imports, and the C sources."""
    found: dict[str, Path] = {}
    waiting = [TRAINING]
    while waiting:
        module = waiting.pop()
        path = module_file(module)
        if path is not None and module not in found:
            found[module] = path
            waiting += [*imports(path), module.rpartition(".")[0]]
    compiled = (path for pattern in COMPILED for path in PACKAGE.rglob(pattern))
    return sorted([*found.values(), *compiled])


def module_file(module: str) -> Path | None:
    """File of a module of this package; None for a module of another, or a name in a module."""
    top, *inner = module.split(".")
    base = PACKAGE.joinpath(*inner)
    places = (base / "__init__.py", base.with_suffix(".py"))
    return next((p for p in places if p.exists()), None) if top == "shooting" else None


def imports(path: Path) -> set[str]:
    """Every module that a source names in an import, names that are no modules included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@functools.cache  # of the code that this process runs, whatever happens to the files later
def source_hash() -> str:
    """Sha256 over names and contents of the sources that can change a result."""
    found = hashlib.sha256()
    for path in source_files():
        found.update(f"{path.relative_to(PACKAGE).as_posix()}\0".encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def is_present(source: str) -> bool:
    """Whether a record's source hash is that of the sources this process runs."""
    return source == source_hash()


@functools.cache
def commit() -> tuple[str | None, bool | None]:
    """Git commit of the package and whether its sources differ from it.

    None outside a checkout, also where the package lies inside the checkout of something else.
    """
    # no locks: a process that is killed while it asks would leave one behind
    command = ["git", "--no-optional-locks", "-C", str(PACKAGE)]
    try:
        asked = ["rev-parse --show-toplevel", "rev-parse HEAD", "status --porcelain -- ."]
        top, head, changes = (
            subprocess.run(
                [*command, *a.split()], capture_output=True, text=True, check=True
            ).stdout
            for a in asked
        )
    except (OSError, subprocess.CalledProcessError):
        return None, None
    if Path(top.strip()).resolve() != PACKAGE.parent:
        return None, None
    return head.strip(), bool(changes.strip())


# Each takes instructions away from a processor, whose bits are then those of another one.
LIMITS = (
    *("ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR", "OPENBLAS_CORETYPE"),
    "NPY_DISABLE_CPU_FEATURES",
)


@functools.cache
def processor() -> str:
    """Name of the processor, its numbers on Linux, and what the environment takes from it.

    One name may hide many generations, and a variable may make an older one of a new one.
    """
    parts = (line.partition(":") for line in reversed(processor_lines()))
    known = {k.strip(): v.strip() for k, _, v in parts}  # of the first, should there be more kinds
    name = known.get("model name") or platform.processor() or platform.machine()
    numbers = [f"{k.rpartition(' ')[2]} {known[k]}" for k in ("cpu family", "model") if k in known]
    numbers += [f"{limit}={value}" for limit in LIMITS if (value := variable(limit))]
    return f"{name} ({', '.join(numbers)})" if numbers else name


def environment() -> dict[str, Any]:
    """Code, versions and machine of this process."""
    head, dirty = commit()
    return {
        "package": shooting.__version__,
        "commit": head,
        "dirty": dirty,
        "source": source_hash(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "device": str(torch.get_default_device()),
        "threads": torch.get_num_threads(),
    }


def bits() -> dict[str, str]:
    """What the bits of a training depend on beside code, seeds and settings, by name."""
    about = environment()
    names = ("platform", "processor", "device", "threads", "python", "torch", "numpy")
    return {
        **{name: str(about[name]) for name in names},
        "compiled route": "yes" if native.library_error() is None else "no",
        "threads of a solve": str(native.team()),
        "SHOOTING_ROUTE": variable("SHOOTING_ROUTE") or "auto",
    }


def mixed(provenance: Mapping[str, Any]) -> bool:
    """Whether a record was trained in several environments, so that no machine has its bits."""
    return len(provenance.get("environments", ())) > 1


def peak_memory() -> float:
    """Largest memory of this process so far, in megabytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 2**20 if sys.platform == "darwin" else peak / 2**10, 1)
