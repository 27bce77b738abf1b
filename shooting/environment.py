"""What the machine says: environment variables, the user's cache folder, the processor.

The only module of the library that reads them; the command line looks at ``OMP_NUM_THREADS`` too.
It knows ``SHOOTING_ROUTE``, ``SHOOTING_THREADS``, ``SHOOTING_CACHE``, ``XDG_CACHE_HOME`` and
``CC``; `shooting.study.paths` has the table of all variables.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


class NoHomeError(RuntimeError):
    """There is no home folder, as in a container whose user is unknown."""


def variable(name: str) -> str | None:
    """Value of an environment variable; None if it is not set or empty."""
    return os.environ.get(name) or None


def count(name: str) -> int | None:
    """A variable that holds a whole number of at least 1; None if it is not set.

    Raises:
        ValueError: If it holds anything else.
    """
    wished = os.environ.get(name)
    if wished is None:
        return None
    if not wished.isdecimal() or int(wished) < 1:
        raise ValueError(
            f"expected {name} to be a whole number of at least 1, got {wished!r}; "
            "try the number of cores"
        )
    return int(wished)


def cache_folder(instead: str) -> Path:
    """The folder ``shooting`` in the user's cache folder: ``~/.cache``, or the system's own.

    Args:
        instead: Variable to set where there is no home folder, for the error.

    Raises:
        NoHomeError: If there is no home folder, as in a container whose user is unknown.
    """
    if chosen := variable("XDG_CACHE_HOME"):
        return Path(chosen) / "shooting"
    try:
        home = Path.home()
    except RuntimeError as error:
        raise NoHomeError(
            f"expected a home folder for the cache, found none; set {instead}"
        ) from error
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "shooting"


def processor_lines() -> list[str]:
    """What Linux knows of the processors, line by line; empty where there is no such file."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
