"""Where compiled libraries are kept: under the sum of their content, whole or absent.

The name of a file ends in the checksum of its bytes, so that a damaged one is never loaded (a
system would end the process over it), and so that name and sum cannot part.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

if sys.platform != "win32":  # where solve.c is not compiled either
    import fcntl

LITTER = ".building-"
WAIT, POLL = 60.0, 0.1  # seconds: twelve times what a compilation takes; between two looks
OLD = 900.0  # seconds: longer than any compilation, `build.PATIENCE` for each target


def find(folder: Path, stem: str) -> Path | None:
    """The library of a stem whose bytes are those that were written; None if there is none.

    Raises:
        OSError: If the folder cannot be read.
    """
    kept = (path for path in sorted(folder.glob(f"{stem}-*.so")) if path.is_file())
    return next((p for p in kept if p.stem == _name(stem, p.read_bytes())), None)


def keep(made: Path, folder: Path, stem: str) -> Path:
    """Move a library that was just made to its place; it is on disk before its name is.

    Raises:
        OSError: If the folder cannot be written.
    """
    target = folder / f"{_name(stem, made.read_bytes())}.so"
    _to_disk(made)
    os.replace(made, target)
    _to_disk(folder)
    for path in folder.glob(f"{stem}-*.so"):
        if path != target:  # damaged, or nobody would have compiled
            path.unlink(missing_ok=True)
    return target


def _name(stem: str, content: bytes) -> str:
    return f"{stem}-{hashlib.sha256(content).hexdigest()[:16]}"


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def workshop(folder: Path) -> Iterator[Path]:
    """A room to compile in, alone where the file system has locks; gone afterwards.

    What killed compilations have left is cleared once it is old: whoever did not get the lock, or
    has none, may be at work without it.

    Raises:
        OSError: If the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{LITTER}lock").open("a", encoding="ascii") as file:
        if _locked(file):
            _clear(folder)
        with tempfile.TemporaryDirectory(dir=folder, prefix=LITTER) as room:
            yield Path(room)


def _clear(folder: Path) -> None:
    for left in folder.glob(f"{LITTER}*/"):
        with suppress(OSError):  # gone meanwhile
            if time.time() - left.stat().st_mtime > OLD:
                shutil.rmtree(left)


def _locked(file: IO[str]) -> bool:
    """Take the lock, which goes with the file; False without locks, or if it stays taken."""
    if sys.platform == "win32":
        return False
    end = time.monotonic() + WAIT
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(POLL)
        except OSError:
            return False
        else:
            return True
