"""Execute one notebook with papermill; the output appears only when every cell succeeded.

Usage: python run_notebook.py SOURCE TARGET [--profile PROFILE]
"""

import argparse
import dataclasses
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import checkout
import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError


def execute(source: Path, target: Path, profile: str | None) -> None:
    """Run `source` in its own folder and move the finished notebook to `target`.

    Args:
        source: the notebook to execute.
        target: where the executed notebook goes; untouched if a cell fails.
        profile: value of the `profile` parameter; None keeps the notebook's default.

    Raises:
        PapermillExecutionError: if a cell fails; the partial output stays in `*.tmp.ipynb`.
    """
    partial = target.with_suffix(".tmp.ipynb")
    target.parent.mkdir(parents=True, exist_ok=True)
    papermill.execute_notebook(
        str(source),
        str(partial),
        parameters={} if profile is None else {"profile": profile},
        kernel_name="python3",
        cwd=str(source.parent),
        start_timeout=240,  # seconds: a busy machine takes its time to start a kernel
        progress_bar=False,
        extra_arguments=["--IPKernelApp.log_level=50"],  # it reports every start and stop
    )
    _stamp(partial, source.name)
    if profile == "paper":
        _say_aside(partial)
    os.replace(partial, target)


def _stamp(executed: Path, name: str) -> None:
    """Note commit and processor time in the executed notebook, for the pages."""
    notebook = nbformat.read(executed, as_version=4)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    stamp: dict[str, Any] = {"cpu_seconds": round(spent.ru_utime + spent.ru_stime, 1)}
    if (commit := checkout.last_commit()) is not None:
        own = checkout.last_commit(f"notebooks/{name}", "shooting", "book/records")
        dirty = own is None or own.dirty
        stamp["commit"] = dataclasses.asdict(dataclasses.replace(commit, dirty=dirty))
    notebook.metadata["shooting"] = stamp
    nbformat.write(notebook, executed)


def _say_aside(executed: Path) -> None:
    """Move what full runs said on the error channel (that one starts afresh, say) to the terminal.

    On a page it would stop the build of the book, after all the trainings.
    """
    notebook = nbformat.read(executed, as_version=4)
    for cell in notebook.cells:
        said = [o for o in cell.get("outputs", []) if o.get("name") == "stderr"]
        sys.stderr.write("".join(o["text"] for o in said))
        if said:
            cell["outputs"] = [o for o in cell["outputs"] if o not in said]
    nbformat.write(notebook, executed)


def main() -> int:
    """Parse the command line, execute, and report in one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--profile", default=None)
    arguments = parser.parse_args()
    start = time.monotonic()
    try:
        execute(arguments.source, arguments.target, arguments.profile)
    except DeadKernelError:
        sys.stderr.write(
            f"{arguments.source}: its kernel died, most likely for want of memory; try JOBS=1\n"
        )
        return 1
    except PapermillExecutionError as error:
        code = "\n".join("    " + line for line in error.source.splitlines())
        sys.stderr.write(
            f"{arguments.source}: cell [{error.exec_count}] stopped with "
            f"{error.ename}: {error.evalue}\n{code}\n"
            f"  The cells before it are in {arguments.target.with_suffix('.tmp.ipynb')}.\n"
        )
        return 1
    print(f"  {arguments.source.stem:<28} {time.monotonic() - start:5.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
