"""Compile a C source with the user's own compiler at first use, and keep the result in a cache.

Nothing is compiled when the package is installed. Without a compiler the solves take another
route; the reason is logged once, as information, and `native.library_error` repeats it.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
from pathlib import Path

import torch

from shooting.environment import NoHomeError, cache_folder, processor_lines, variable
from shooting.native.cache import find, keep, workshop

logger = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("solve.c")
ENTRIES = ("forward", "backward")
REALS = {torch.float32: "float", torch.float64: "double"}
# not -ffast-math: NaN must reach the outputs, where the training loop looks for it
FLAGS = ("-std=gnu11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros")
TARGETS = (("-march=native",), ())  # some compilers do not know the first
PATIENCE = 300.0  # seconds: fifty times what a compilation takes


class BuildError(RuntimeError):
    """The library could not be built or loaded."""


@functools.cache
def load(dtype: torch.dtype, source: Path | None = None) -> tuple[ctypes.CDLL | None, str]:
    """The library of a source (`SOURCE` by default), or None and the reason why there is none."""
    try:
        names = () if source else ENTRIES
        return _loaded(build(dtype, cache=library_folder(), source=source), names), ""
    except (BuildError, OSError) as error:
        # no warning: nothing is wrong, and on a page of the book it would count as an error
        advice = "" if isinstance(error, BuildError) else "; set SHOOTING_CACHE to another folder"
        logger.info("no native solve, PyTorch does the work instead: %s%s", error, advice)
        return None, f"{error}{advice}"


def _loaded(path: Path, names: tuple[str, ...]) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(path))
        for name in names:
            getattr(library, name)
        return library
    except (OSError, AttributeError) as error:  # a folder without execution, or no compiler of C
        raise BuildError(
            f"what was compiled cannot be loaded ({error}); set SHOOTING_CACHE to another folder, "
            "or CC to another compiler"
        ) from error


def library_folder() -> Path:
    """``$SHOOTING_CACHE``, or the user's cache folder.

    Raises:
        BuildError: If there is neither, as in a container whose user is unknown.
    """
    if chosen := variable("SHOOTING_CACHE"):
        return Path(chosen)
    try:
        return cache_folder("SHOOTING_CACHE")
    except NoHomeError as error:
        raise BuildError(str(error)) from error


def build(
    dtype: torch.dtype, *, cache: Path, compiler: str | None = None, source: Path | None = None
) -> Path:
    """Compile unless the cache already holds this source, compiler, flags, processor and libc.

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
    found, *options = _command(compiler or variable("CC") or "cc")
    source = source or SOURCE
    flags = [*options, *FLAGS, f"-DREAL={REALS[dtype]}"]
    about = [_version(found), *flags, _processor(), *platform.libc_ver()]
    identity = "\0".join([source.read_text(encoding="utf-8"), *about])
    name = hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()[:16]
    stem = f"{source.stem}-{REALS[dtype]}-{name}"
    if kept := find(cache, stem):
        return kept
    with workshop(cache) as room:
        made = find(cache, stem)  # by another process, while this one waited
        return made or keep(_compiled([found, *flags], source, room / "made.so"), cache, stem)


def _command(words: str) -> list[str]:
    """Path of a compiler, and its options."""
    try:
        program, *options = shlex.split(words)
    except ValueError:  # nothing but spaces, or a quote that does not end
        raise BuildError(f"there is no C compiler {words!r}; set CC to a command") from None
    found = shutil.which(program)
    if found is None:
        raise BuildError(f"there is no C compiler {words!r}; install one or set CC")
    return [found, *options]


def _version(compiler: str) -> str:
    """A compiler's file: an update changes its size or date, and nothing has to be run for it."""
    real = Path(compiler).resolve()
    about = real.stat()
    return "\0".join(map(str, (compiler, real, about.st_size, about.st_mtime_ns)))


def _compiled(command: list[str], source: Path, made: Path) -> Path:
    """Compile for this processor, else for any of its kind."""
    said = ""
    for extra in TARGETS:
        full = [*command, *extra, "-shared", "-fPIC", "-o", str(made), str(source), "-pthread"]
        try:
            done = subprocess.run(
                [*full, "-lm"],
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=PATIENCE,
                check=False,
            )
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            raise BuildError(f"{command[0]!r} cannot compile ({error}); set CC") from error
        if done.returncode == 0 and made.is_file():
            return made
        said = done.stderr.decode(errors="replace").strip() or "no message"
    words = said.splitlines()[-1]
    if os.strerror(errno.ENOSPC) in said:
        raise BuildError(
            f"there is no space for a compilation ({words}); make room, or set SHOOTING_CACHE and "
            "TMPDIR to folders elsewhere"
        )
    raise BuildError(f"the C compiler {command[0]!r} failed ({words}); set CC to another one")


def _processor() -> str:
    """What -march=native depends on."""
    kinds = ("flags", "model name", "Features")
    known = sorted({line for line in processor_lines() if line.startswith(kinds)})
    return "\n".join([platform.machine(), platform.processor(), *known])
