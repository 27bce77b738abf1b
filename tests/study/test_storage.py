"""Files that survive being killed: whole or absent, in the right order, without litter."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor

from shooting.study import storage


def test_content_reaches_the_disk_before_its_name_and_the_name_before_the_end(
    tmp_path, monkeypatch
):
    """File, rename, folder: in any other order a power cut could leave an empty file."""
    steps = []

    def fsync(handle):
        steps.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")

    def replace(*names, original=os.replace):
        steps.append("rename")
        original(*names)

    monkeypatch.setattr(storage.os, "fsync", fsync)
    monkeypatch.setattr(storage.os, "replace", replace)
    storage.atomic_write(tmp_path / "x", b"content")
    assert steps == ["file", "rename", "folder"]


def test_litter_of_killed_writers_goes_after_an_hour(tmp_path):
    old, young = tmp_path / ".x.json.11.tmp", tmp_path / ".x.json.12.tmp"
    old.write_bytes(b"half")
    young.write_bytes(b"half")
    os.utime(old, (0, 0))
    storage.atomic_write(tmp_path / "x.json", b"whole")
    assert not old.exists()
    assert young.exists()


def test_threads_may_write_the_same_file(tmp_path):
    contents = [bytes([k]) * 10_000 for k in range(4)]
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(storage.atomic_write, tmp_path / "f", c) for c in contents * 8]
    assert all(d.exception() is None for d in done)
    assert (tmp_path / "f").read_bytes() in contents
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
