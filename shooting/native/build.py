"""Compile a C source with the user's own compiler at first use, and keep the result in a cache.

Nothing is compiled when the package is installed. Without a compiler the solves take another
route; the reason is logged once, as information, and `native.library_error` repeats it.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch

from shooting.environment import cache_folder, processor_lines, variable

logger = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("solve.c")
REALS = {torch.float32: "float", torch.float64: "double"}
# not -ffast-math: NaN must reach the outputs, where the training loop looks for it
FLAGS = ("-std=gnu11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros")
TARGETS = (("-march=native",), ())  # some compilers do not know the first


class BuildError(RuntimeError):
    """The library could not be built or loaded."""


@functools.cache
def load(dtype: torch.dtype, source: Path | None = None) -> tuple[ctypes.CDLL | None, str]:
    """The library of a source (`SOURCE` by default), or None and the reason why there is none."""
    try:
        return ctypes.CDLL(str(build(dtype, cache=library_folder(), source=source))), ""
    except (BuildError, OSError) as error:
        # no warning: nothing is wrong, and on a page of the book it would count as an error
        logger.info("no native solve, PyTorch does the work instead: %s", error)
        return None, str(error) if isinstance(error, BuildError) else f"{error}; set SHOOTING_CACHE"


def library_folder() -> Path:
    """``$SHOOTING_CACHE``, or the user's cache folder.

    Raises:
        BuildError: If there is neither, as in a container whose user is unknown.
    """
    if chosen := variable("SHOOTING_CACHE"):
        return Path(chosen)
    try:
        return cache_folder("SHOOTING_CACHE")
    except RuntimeError as error:
        raise BuildError(str(error)) from error


def build(
    dtype: torch.dtype, *, cache: Path, compiler: str | None = None, source: Path | None = None
) -> Path:
    """Compile unless the cache already holds this source, compiler, flags and processor.

    Args:
        dtype: ``torch.float32`` or ``torch.float64``.
        cache: Folder to keep the library in.
        compiler: Command of a C compiler, with options if need be; ``$CC`` or ``cc`` by default.
        source: What to compile; `SOURCE` by default.

    Returns:
        Path of the shared library.

    Raises:
        BuildError: If there is no compiler or it fails, with its last words.
        OSError: If the cache folder cannot be written.
    """
    command = compiler or variable("CC") or "cc"
    program, *options = shlex.split(command)
    found = shutil.which(program)
    if found is None:
        raise BuildError(f"there is no C compiler {command!r}; install one or set CC")
    source = source or SOURCE
    flags = [*options, *FLAGS, f"-DREAL={REALS[dtype]}"]
    identity = "\0".join([source.read_text(), found, *flags, _processor()])
    name = hashlib.sha256(identity.encode()).hexdigest()[:16]
    target = cache / f"{source.stem}-{REALS[dtype]}-{name}.so"
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _compile([found, *flags], source, target)
    return target


def _compile(command: list[str], source: Path, target: Path) -> None:
    """Compile into a temporary file and rename it, so that no one ever sees half a library."""
    words = ""
    with tempfile.TemporaryDirectory(dir=target.parent) as room:
        made = Path(room) / target.name
        for extra in TARGETS:
            full = [
                *command,
                *extra,
                "-shared",
                "-fPIC",
                "-o",
                str(made),
                str(source),
                "-pthread",
                "-lm",
            ]
            done = subprocess.run(full, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                os.replace(made, target)
                return
            words = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no message"
    raise BuildError(f"the C compiler {command[0]!r} failed ({words}); set CC to another one")


def _processor() -> str:
    """What -march=native depends on."""
    kinds = ("flags", "model name", "Features")
    known = sorted({line for line in processor_lines() if line.startswith(kinds)})
    return "\n".join([platform.machine(), platform.processor(), *known])
