"""Where a record comes from: code, versions, machine, cost."""

from __future__ import annotations

import functools
import hashlib
import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

import shooting
from shooting.storage import PACKAGE

SOURCES = ("*.py", "*.c", "*.h")
# Folders and files that no training imports, and this one, which only says where results are from
NO_TRAINING = (
    *("figures", "claims", "theory", "universality", "sweep"),
    *("__main__.py", "fingerprints.py", "provenance.py", "trail.py", "verification.py"),
)


def source_files() -> list[Path]:
    """The package's sources, those that can change a result."""
    found = sorted(path for pattern in SOURCES for path in PACKAGE.rglob(pattern))
    return [p for p in found if p.relative_to(PACKAGE).parts[0] not in NO_TRAINING]


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


@functools.cache
def processor() -> str:
    """Name of the processor, and on Linux its numbers, as one name may hide many generations."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    # the first processor's, should there be several kinds
    known = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines[::-1])}
    name = known.get("model name") or platform.processor() or platform.machine()
    numbers = [f"{k.rpartition(' ')[2]} {known[k]}" for k in ("cpu family", "model") if k in known]
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


def peak_memory() -> float:
    """Largest memory of this process so far, in megabytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 2**20 if sys.platform == "darwin" else peak / 2**10, 1)
