"""The compiled library: rebuilt when it is damaged, kept whole, without litter, no obstacle."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from shooting import native
from shooting.native import build, cache

pytestmark = pytest.mark.skipif(native.library_error() is not None, reason="no C compiler here")

CODE = """
import torch
from shooting import Solver, UpDown, native, shoot

g = torch.Generator().manual_seed(0)
q, p, z = (0.1 * torch.randn(n, 9, generator=g) for n in (5, 5, 7))
found = shoot(UpDown(1, 8), q.requires_grad_(), p, z, [0, 1]).z
found.sum().backward()
print(native.library_error(), found.sum().item(), q.grad.sum().item())
"""


def solved(folder, **variables):
    """What a process of its own computes, with this cache."""
    about = {**os.environ, "SHOOTING_CACHE": str(folder), "OMP_NUM_THREADS": "1", **variables}
    about.pop("SHOOTING_ROUTE", None)
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=about, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout.strip()


@pytest.fixture
def small(monkeypatch, tmp_path):
    """One line of C instead of the solve, compiled into a cache of the test's own."""
    monkeypatch.setattr(build, "SOURCE", tmp_path / "small.c")
    build.SOURCE.write_text("REAL one(void) { return 1; }")

    def made():
        return build.build(torch.float64, cache=tmp_path / "cache")

    return made


def other_library(path):
    """A library that is whole, and another one."""
    source = path.with_name("other.c")
    source.write_text("int two(void) { return 2; }")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", path, source], check=True)
    source.unlink()


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"garbage" * 1000),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:9000]),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "one bit": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"),
    "another library": other_library,
    "removed": lambda path: path.unlink(),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_library_is_built_again(small, tmp_path, kind):
    path = small()
    whole = path.read_bytes()
    DAMAGE[kind](path)
    again = small()
    assert again.read_bytes() == whole
    assert [p.name for p in again.parent.glob("[!.]*")] == [again.name]
    assert ctypes.CDLL(str(again)).one is not None


@pytest.mark.slow
def test_a_damaged_library_changes_no_number(tmp_path):
    """Cut or zeroed it ended the process; empty or garbage, the slow route was taken for ever."""
    wanted = solved(tmp_path)
    assert wanted.startswith("None ")
    (path,) = tmp_path.glob("*.so")
    for kind in ("empty", "cut"):  # the other kinds are above, at the price of one line of C
        DAMAGE[kind](path)
        assert solved(tmp_path) == wanted, kind


def test_a_whole_library_is_used_where_nothing_can_be_written(small, monkeypatch):
    path = small()

    def read_only(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(cache, "workshop", read_only)
    monkeypatch.setattr(build, "workshop", read_only)
    assert small() == path
    path.write_bytes(b"")
    with pytest.raises(OSError, match="Read-only"):  # control: it would have to be written
        small()


def test_a_cache_that_cannot_be_written_is_a_sentence(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SHOOTING_CACHE", str(tmp_path / "file" / "cache"))
    build.load.cache_clear()
    try:
        assert "set SHOOTING_CACHE to another folder" in str(native.library_error())
    finally:
        build.load.cache_clear()


def test_the_library_is_on_disk_before_its_name(small, monkeypatch):
    steps = []
    monkeypatch.setattr(cache.os, "fsync", lambda handle: steps.append("to disk"))
    replace = os.replace
    monkeypatch.setattr(cache.os, "replace", lambda *n: (steps.append("rename"), replace(*n)))
    small()
    assert steps == ["to disk", "rename", "to disk"]


def grown_old(path):
    then = time.time() - 2 * cache.OLD
    os.utime(path, (then, then))


def test_what_killed_compilations_left_is_cleared_once_it_is_old(small, tmp_path):
    folder = tmp_path / "cache"
    left, at_work = folder / ".building-of-another", folder / ".building-without-the-lock"
    somebodys = folder / "tmp-of-somebody"  # the folder may be everybody's, like /tmp
    for path in (left, at_work, somebodys):
        path.mkdir(parents=True)
        (path / "made.so").touch()
    grown_old(left)
    grown_old(somebodys)
    small()
    assert not left.exists()
    assert at_work.exists()  # control: it would have lost what it was writing
    assert somebodys.exists()


def test_nobody_compiles_for_longer_than_a_room_lasts():
    assert len(build.TARGETS) * build.PATIENCE < cache.OLD


@pytest.mark.parametrize("what", ["compiler", "libc"])
def test_an_update_compiles_anew(small, monkeypatch, tmp_path, what):
    compiler = tmp_path / "compiler"
    compiler.write_text('#!/bin/sh\nexec cc "$@"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    first = small()
    assert small() == first  # control
    if what == "compiler":
        compiler.write_text('#!/bin/sh\n# a newer one\nexec cc "$@"\n')
    else:
        monkeypatch.setattr(build.platform, "libc_ver", lambda: ("glibc", "9.9"))
    assert small() != first


def test_a_compilation_that_is_killed_leaves_no_library_and_no_lock(small, tmp_path):
    code = f"""
import torch
from pathlib import Path
from shooting.native import build
build.SOURCE = Path({str(build.SOURCE)!r})
build.build(torch.float64, cache=Path({str(tmp_path / "cache")!r}), compiler="sleeper")
"""
    sleeper = tmp_path / "bin" / "sleeper"
    sleeper.parent.mkdir()
    sleeper.write_text(f"#!/bin/sh\ntouch {tmp_path}/begun\nexec sleep 60\n")
    sleeper.chmod(0o755)
    about = {**os.environ, "PATH": f"{sleeper.parent}:{os.environ['PATH']}"}
    process = subprocess.Popen([sys.executable, "-c", code], env=about, start_new_session=True)
    end = time.monotonic() + 60
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    assert len(list((tmp_path / "cache").glob(".building-*/"))) == 1  # control: it was at work
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for room in (tmp_path / "cache").glob(".building-*/"):
        grown_old(room)
    path = small()  # at once: the lock went with the process
    assert sorted(p.name for p in path.parent.iterdir()) == [".building-lock", path.name]


def test_a_lock_that_stays_taken_is_not_waited_for_for_ever(small, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "WAIT", 0.3)
    left = tmp_path / "cache" / ".building-of-another"
    with cache.workshop(tmp_path / "cache"):
        left.mkdir()
        assert small().exists()
    assert left.exists()  # control: only who has the lock may clear


@pytest.mark.parametrize(
    "command",
    [" ", '"', "'cc", "cc '", "\\", "/", ".", "-", "no such", "\udcff", "true", "false", "cat -",
     "echo", "sh -c 'exit 0' cc", "python3", "cc -no-such-option", "a" * 5000, "cp /bin/sh"],
)  # fmt: skip
def test_whatever_stands_in_cc_pytorch_does_the_work(monkeypatch, tmp_path, command):
    monkeypatch.setenv("CC", command)
    monkeypatch.setenv("SHOOTING_CACHE", str(tmp_path))
    build.load.cache_clear()
    try:
        told = native.library_error()
        assert told is not None
        assert "set CC" in told or "or set CC" in told, told
    finally:
        build.load.cache_clear()


def test_a_full_disk_is_named_as_such(small, monkeypatch, tmp_path):
    words = "as: error: can't write made.o: No space left on device\ncc: fatal: stopped"
    script = tmp_path / "full"
    script.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n".replace("can't", "can not"))
    script.chmod(0o755)
    with pytest.raises(build.BuildError, match="no space .*set SHOOTING_CACHE and TMPDIR"):
        build.build(torch.float64, cache=tmp_path / "cache", compiler=str(script))
