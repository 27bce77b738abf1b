"""Files that survive being killed: folders, atomic writes, locks, setting aside."""

from __future__ import annotations

import errno
import logging
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout, lock_descriptor, unlock_descriptor

logger = logging.getLogger(__name__)

LITTER_SECONDS = 3600.0  # a temporary file this old was left by a process that was killed
MOMENT = 0.2  # seconds: trainings hold their lock for longer, probes for microseconds
PROBE = 2**20  # bytes: what the largest records take, and a hundredth of the largest checkpoint
# What the system says of a folder that takes no files, whatever is written there
UNWRITABLE = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)
)
POLL, LONG = 0.02, 0.5  # seconds between two looks at a lock, for a moment or for a training


class CorruptFileError(ValueError):
    """A record or checkpoint is not what was written."""


class BusyError(RuntimeError):
    """Another process works on the same run."""


def atomic_write(path: Path, data: bytes) -> None:
    """Write a file that is either whole or absent, also when the process or machine dies.

    Args:
        path: Target; its folder is made if need be.
        data: Content.
    """
    with staged(path, data) as temporary:
        os.replace(temporary, path)


@contextmanager
def staged(path: Path, data: bytes) -> Iterator[Path]:
    """Content on disk under a temporary name, for the body to rename to `path`.

    Args:
        path: Where it shall end; its folder is made if need be.
        data: Content.

    Yields:
        The temporary file, which is gone afterwards in any case.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # beside the target: a rename across file systems would not be atomic; a name of its own, since
    # threads share a process number, and machines on one file system may use the same
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            error.filename = error.filename or str(path)  # a full disk does not say which
            raise
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)  # a full disk leaves nothing behind
    sync_folder(path.parent)
    clear_litter(path.parent, path.name)


def clear_litter(folder: Path, name: str, *, age: float = LITTER_SECONDS) -> None:
    """Remove what killed processes have half written.

    Args:
        folder: Where to look.
        name: Beginning of the files' names.
        age: Seconds that a file must have; 0 for who holds the lock of all its writers.
    """
    for left in folder.glob(f".{name}.*.tmp"):
        with suppress(OSError):  # its writer has just finished, or the folder is read-only
            if time.time() - left.stat().st_mtime >= age:
                left.unlink()


def require_room(folder: Path) -> None:
    """Try whether a folder takes a file, before hours are spent on its content.

    Raises:
        OSError: If it does not; `UNWRITABLE` has the usual numbers.
    """
    with staged(folder / "probe", bytes(PROBE)):
        pass


def sync_folder(folder: Path) -> None:
    """Wait until renames in a folder are on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def set_aside(path: Path, why: str) -> None:
    """Rename a file that must not be used, and say so.

    Args:
        path: The file; nothing happens if it is absent.
        why: Shown in the log.
    """
    if path.exists():
        kept = path.with_name(f"{path.name}.corrupt-{time.time_ns()}")
        path.rename(kept)
        logger.warning("%s is set aside as %s: %s", path, kept.name, why)


@contextmanager
def lock(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock that the system drops when the process ends, however it ends.

    Args:
        path: Lock file; it stays behind, empty.
        wait: Wait for another holder, or raise; a probe of `is_locked` is waited for in any case.

    Raises:
        BusyError: If another process holds the lock and `wait` is false.
        OSError: If the file system has no locks. filelock's substitute is refused: it would stay
            behind with a killed process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(path, fallback_to_soft=False)
    patience, pause = (-1, LONG) if wait else (MOMENT, POLL)
    try:
        held.acquire(patience, pause)
    except Timeout as error:
        raise BusyError(
            f"expected {path.stem} to be free, but another process works on it; wait for "
            "it, or look at python -m shooting status"
        ) from error
    try:
        yield
    finally:
        held.release()


def is_locked(path: Path) -> bool:
    """Whether some process holds a lock.

    The lock is asked for and given back at once. As another probe may just do the same, only one
    that stays taken for a moment is held.
    """
    if not path.exists():
        return False
    # network file systems ask for a file that may be written, read-only ones for one that may not
    with path.open("r+b" if os.access(path, os.W_OK) else "rb") as file:
        end = time.monotonic() + MOMENT
        while not lock_descriptor(file.fileno(), blocking=False):
            if time.monotonic() > end:
                return True
            time.sleep(POLL)
        unlock_descriptor(file.fileno())  # at once, also where a child has just inherited the file
    return False
