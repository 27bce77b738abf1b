"""What git knows of this checkout; nothing where the sources came without git."""

import functools
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Commit:
    """A commit, and whether files have changed since.

    Attributes:
        name: Its short name.
        date: Its day, as 2026-11-25.
        dirty: Whether files asked about differ from it.
    """

    name: str
    date: str
    dirty: bool = False


@functools.cache  # for every page of a build the same
def last_commit(*paths: str, root: Path = ROOT) -> Commit | None:
    """The newest commit that touched some files.

    Args:
        paths: Files or folders from the root; none means the whole tree.
        root: The folder of the checkout.

    Returns:
        The commit; None outside a checkout, or if the files are in no commit.
    """
    try:
        top = _git(root, "rev-parse", "--show-toplevel").strip()
        if Path(top).resolve() != root.resolve():  # unpacked inside some other checkout
            return None
        newest = _git(root, "log", "-1", "--format=%h %cs", "--", *paths).split()
        changed = bool(_git(root, "status", "--porcelain", "--", *paths).strip())
    except (OSError, subprocess.CalledProcessError):
        return None
    return Commit(newest[0], newest[1], changed) if newest else None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
