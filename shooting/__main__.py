"""``python -m shooting``: the study's command line, or a sentence where it is not installed."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Hand over to `shooting.study.cli`."""
    try:
        from shooting.study.cli import main as run

        return run()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "shooting":
            raise
        sys.exit(
            f"expected the packages of the study, but {error.name!r} is not installed; the "
            "commands need a checkout of the repository and pip install -e '.[study]'"
        )


if __name__ == "__main__":
    if "OMP_NUM_THREADS" not in os.environ:
        # numpy's linear algebra reads it when it is loaded, and another number of threads moves
        # last bits, from which the variants of the rotating threes start elsewhere
        command = [sys.executable, "-m", "shooting", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "OMP_NUM_THREADS": "1"})
    sys.exit(main())
