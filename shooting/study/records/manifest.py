"""The list of all committed records, each with its digest and the commit that added it.

The command that records keeps it; `status` names what has changed since, without training.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

from shooting.study.paths import state_folder
from shooting.study.storage import CorruptFileError, atomic_write, lock

Entry = dict[str, str | None]
Manifest = dict[str, Entry]
NAME = "manifest.json"


def files(folder: Path) -> list[str]:
    """All records of a folder, as ``experiment/id.json``."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*.json"))


def digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Sha256 of the files there are; a JSON holds that of its arrays."""
    found = {name: folder / name for name in names}
    return {k: hashlib.sha256(p.read_bytes()).hexdigest() for k, p in found.items() if p.exists()}


def read(folder: Path) -> Manifest:
    """The manifest of a folder; empty if it has none.

    Raises:
        CorruptFileError: If it is no manifest.
    """
    path = folder / NAME
    if not path.exists():
        return {}
    try:
        found: Manifest = json.loads(path.read_bytes())
        fits = all(
            {type(entry["sha256"]), type(entry["commit"])} <= {str, type(None)}
            for entry in found.values()
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        fits = False
    if not fits:
        raise CorruptFileError(f"expected a manifest in {path}, got another file; restore it from "
                               "git")  # fmt: skip
    return found


def keep(folder: Path, written: Iterable[str]) -> None:
    """Add records that were just written, and the commits of those that have been committed.

    A record that changed otherwise keeps its old digest, so that `changes` goes on naming it.

    Args:
        folder: The records.
        written: Names of the records written.
    """
    with lock(state_folder() / f"{NAME}.lock"):
        known, present = read(folder), digests(folder, files(folder))
        new = {name for name in present if name not in known} | set(written)
        for name in new & set(present):
            known[name] = {"sha256": present[name], "commit": None}
        added = _added(folder) if any(e["commit"] is None for e in known.values()) else {}
        for name, entry in known.items():
            entry["commit"] = entry["commit"] or added.get(name)
        kept = {name: known[name] for name in sorted(known) if name in present}
        atomic_write(folder / NAME, (json.dumps(kept, indent=1) + "\n").encode())


def changes(folder: Path) -> list[str]:
    """One line for each record that is not what the manifest says; empty without a manifest."""
    known = read(folder)
    if not known:
        return []
    present = digests(folder, files(folder))
    found = [f"{name} is not in the manifest" for name in present if name not in known]
    for name, entry in known.items():
        since = f"since commit {entry['commit']}" if entry["commit"] else "since it was written"
        if name not in present:
            found.append(f"{name} was removed {since}")
        elif present[name] != entry["sha256"]:
            found.append(f"{name} was changed {since}")
    return found


def _added(folder: Path) -> dict[str, str]:
    """The commit that last wrote each record, where it is as committed; none outside of git."""
    command = ["git", "--no-optional-locks", "-C", str(folder), "-c", "core.quotepath=off"]
    options = ["--format=:%h", "--abbrev=12", "--name-only", "--relative", "--", "."]
    try:
        told, dirty = (
            subprocess.run([*command, *asked], capture_output=True, text=True, check=True).stdout
            for asked in (
                ["log", *options],
                ["status", "--porcelain", "-uall", "."],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return {}
    found: dict[str, str] = {}
    commit = ""
    for line in filter(None, told.splitlines()):
        if line.startswith(":"):
            commit = line[1:]
        else:
            found.setdefault(line, commit)
    return {name: by for name, by in found.items() if name not in dirty}
