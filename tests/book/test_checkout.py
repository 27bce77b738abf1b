"""From which commit something was made, and whether its files differ from it."""

from __future__ import annotations

import subprocess

import checkout


def git(folder, *arguments: str) -> None:
    identity = ["-c", "user.name=n", "-c", "user.email=n@example.org"]
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


def test_commit_is_that_of_the_files_and_changes_show(tmp_path):
    assert checkout.last_commit(root=tmp_path) is None  # no checkout
    git(tmp_path, "init", "-q")
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-q", "-m", name)
    checkout.last_commit.cache_clear()
    first, last = (checkout.last_commit(*paths, root=tmp_path) for paths in (("a",), ()))
    assert first.name != last.name
    assert not last.dirty
    (tmp_path / "b").write_text("changed")
    checkout.last_commit.cache_clear()
    assert checkout.last_commit(root=tmp_path).dirty
    assert not checkout.last_commit("a", root=tmp_path).dirty
    (tmp_path / "inner").mkdir()
    assert checkout.last_commit(root=tmp_path / "inner") is None  # someone else's checkout
