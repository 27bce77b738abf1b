"""Execute one notebook with papermill; the output appears only when every cell succeeded.

Usage: python run_notebook.py SOURCE TARGET [--profile PROFILE] [--fewer]

What a user has set for Matplotlib, Jupyter, IPython or Python changes no page, and the kernel is
that of the running interpreter. A page with fewer outputs than the committed one is an error.
"""

import argparse
import dataclasses
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import checkout
import nbformat
import outputs
import papermill
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

FOREIGN = ("MPL", "MATPLOTLIB", "JUPYTER", "IPYTHON", "PYTHON", "PYDEVD", "PAPERMILL")
KEPT = {"PYTHONPATH", "PYTHONHOME", "PYTHONHASHSEED", "PYDEVD_DISABLE_FILE_VALIDATION"}


class FewerOutputsError(RuntimeError):
    """A page has lost pictures or other outputs."""


@contextmanager
def own_settings() -> Iterator[None]:
    """Run with settings of this project alone, and with a kernel of this interpreter."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as room:
        neutral = neutral_settings(before, Path(room))
        os.environ.clear()
        os.environ.update(neutral)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def neutral_settings(given: Mapping[str, str], room: Path) -> dict[str, str]:
    """Variables of a user's environment without settings that could change a page.

    Args:
        given: the user's environment.
        room: an empty folder, for the kernel.

    Returns:
        The environment to execute in.
    """
    kernel = room / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    start = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    about = {"argv": start, "display_name": "Python 3", "language": "python"}
    kernel.write_text(json.dumps(about), encoding="utf-8")
    own = {
        "JUPYTER_PATH": str(room),  # comes before every other place of kernels
        "JUPYTER_CONFIG_DIR": str(room / "config"),
        "JUPYTER_DATA_DIR": str(room / "data"),
        "JUPYTER_RUNTIME_DIR": str(room / "runtime"),
        "JUPYTER_NO_CONFIG": "1",
        "IPYTHONDIR": str(checkout.ROOT / "_build" / "ipython"),
        "MPLCONFIGDIR": str(checkout.ROOT / "_build" / "matplotlib"),
    }
    kept = {k: v for k, v in given.items() if k in KEPT or not k.startswith(FOREIGN)}
    return {**kept, **own}


def execute(source: Path, target: Path, profile: str | None, *, fewer: bool = False) -> None:
    """Run `source` in its own folder and move the finished notebook to `target`.

    Args:
        source: the notebook to execute.
        target: where the executed notebook goes; untouched if a cell fails.
        profile: value of the `profile` parameter; None keeps the notebook's default.
        fewer: whether the page may have fewer outputs than `source`.

    Raises:
        PapermillExecutionError: if a cell fails; the partial output stays in `*.tmp.ipynb`.
        FewerOutputsError: if the page has lost outputs; the partial output stays likewise.
    """
    partial = target.with_suffix(".tmp.ipynb")
    target.parent.mkdir(parents=True, exist_ok=True)
    with own_settings():
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
    if profile is None and not fewer:
        _require_outputs(partial, source)
    _stamp(partial, source.name)
    if profile == "paper":
        _say_aside(partial)
    os.replace(partial, target)


def _require_outputs(executed: Path, source: Path) -> None:
    """Stop if a page has fewer pictures, tables or texts than the committed one."""
    new, old = (nbformat.read(path, as_version=4) for path in (executed, source))
    lost = outputs.lacking(new, old)
    if lost:
        told = ", ".join(f"{count} {kind} in cell {i}" for i, kind, count in lost)
        raise FewerOutputsError(
            f"expected the outputs that {source} is committed with, got fewer: {told} missing; see "
            "what the cell does, or, where it was changed on purpose, make reference FEWER=1"
        )


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
    parser.add_argument("--fewer", action="store_true", help="the page may have lost outputs")
    arguments = parser.parse_args()
    start = time.monotonic()
    try:
        execute(arguments.source, arguments.target, arguments.profile, fewer=arguments.fewer)
    except FewerOutputsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
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
