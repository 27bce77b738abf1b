"""Locks: one holder at a time, dropped with its process, and looked at without being disturbed."""

from __future__ import annotations

import errno
import multiprocessing
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shooting.study import storage
from shooting.study.storage import BusyError, is_locked, lock

PATIENCE = 120  # seconds for another process to start on a busy machine


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "run.lock"


def hold(path, ready):
    with lock(path):
        ready.send("held")
        time.sleep(PATIENCE)  # killed long before


@pytest.fixture(params=["spawn", "fork"])
def holder(request, path):
    """Another process that holds the lock."""
    context = multiprocessing.get_context(request.param)
    here, there = context.Pipe()
    process = context.Process(target=hold, args=(path, there))
    process.start()
    assert here.poll(PATIENCE)
    yield process
    process.kill()
    process.join(PATIENCE)


def test_a_lock_is_held_and_given_back(path):
    assert not is_locked(path)
    with lock(path):
        assert is_locked(path)
    assert not is_locked(path)
    assert path.read_bytes() == b""


def test_an_error_gives_it_back(path):
    with pytest.raises(KeyError), lock(path):
        raise KeyError
    assert not is_locked(path)


def test_another_process_is_seen_refused_and_waited_for(holder, path):
    assert is_locked(path)
    words = r"expected run to be free, but another process .*; wait"
    with pytest.raises(BusyError, match=words), lock(path, wait=False):
        pass
    holder.kill()  # nothing in it gets a chance to clean up
    with lock(path):
        assert is_locked(path)


def test_threads_take_turns(path):
    inside, most = [], []

    def work(_):
        with lock(path):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.01)
            inside.pop()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert most == [1] * 8


def test_a_child_does_not_keep_the_lock_of_its_parent(path):
    """A forked process inherits open files, and with them a lock that its parent gives back."""
    context = multiprocessing.get_context("fork")
    with lock(path):
        child = context.Process(target=time.sleep, args=(PATIENCE,))
        child.start()
    try:
        assert not is_locked(path)
    finally:
        child.kill()
        child.join(PATIENCE)


def test_a_deleted_lock_file_is_made_again(path):
    with lock(path):
        path.unlink()
        assert not is_locked(path)
    with lock(path, wait=False):
        assert is_locked(path)


def test_probes_do_not_see_each_other(path):
    """Eight at once on a free lock, many times: each of them holds it for some microseconds."""
    with lock(path):
        pass
    with ThreadPoolExecutor(8) as pool:
        assert not any(pool.map(lambda _: is_locked(path), range(800)))


def test_control_without_patience_probes_see_each_other(path, monkeypatch):
    """Else the test above proves nothing."""
    with lock(path):
        pass
    monkeypatch.setattr(storage, "MOMENT", -1.0)
    seen = []
    with ThreadPoolExecutor(8) as pool:
        for _ in range(50):
            seen += pool.map(lambda _: is_locked(path), range(800))
            if any(seen):
                return
    pytest.fail("no probe met another one")


def test_a_probe_disturbs_no_one_who_will_not_wait(path):
    with lock(path):
        pass
    ended = threading.Event()

    def look():
        while not ended.is_set():
            is_locked(path)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for _ in range(200):
            with lock(path, wait=False):
                pass
    finally:
        ended.set()
        watcher.join()


def test_a_lock_file_that_may_not_be_written_is_only_read(path, monkeypatch):
    with lock(path):
        pass
    modes, original = [], Path.open

    def noted(self, mode):
        modes.append(mode)
        return original(self, mode)

    monkeypatch.setattr(storage.Path, "open", noted)
    assert not is_locked(path)
    monkeypatch.setattr(storage.os, "access", lambda *_: False)
    assert not is_locked(path)
    assert modes == ["r+b", "rb"]


def test_a_file_system_without_locks_is_an_error(path, monkeypatch):
    """A substitute that stays behind with a killed process would stop a run for good."""

    def missing(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", missing)
    with pytest.raises(OSError, match="not implemented"), lock(path, wait=False):
        pass
