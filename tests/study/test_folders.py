"""Folders that take no files, machines without a home: one sentence, before any training."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from toy import TOY

from shooting.study import records, storage
from shooting.study.cli import main
from shooting.study.experiments import EXPERIMENTS
from shooting.study.records import store
from shooting.study.records.identity import record_id
from tests.study.commands import TOY_RUN, ids


class Disk:
    """Makes folders full or read-only, as the system says it of their files."""

    def __init__(self, monkeypatch):
        self.folders, self.tried = {}, []
        self.open, self.rename = Path.open, Path.rename
        monkeypatch.setattr(
            Path, "open", lambda path, *how, **about: self._open(path, *how, **about)
        )
        monkeypatch.setattr(Path, "rename", lambda path, to: self._rename(path, to))

    def is_now(self, number, folder):
        self.folders[folder] = number

    def number(self, path):
        return next((n for f, n in self.folders.items() if path.is_relative_to(f)), None)

    def _open(self, path, mode="r", *how, **about):
        number = self.number(path) if set(mode) & set("wxa+") else None
        if number == errno.ENOSPC:
            self.tried.append(path)
            return Full()
        if number is not None:
            self.tried.append(path)
            raise OSError(number, os.strerror(number), str(path))
        return self.open(path, mode, *how, **about)

    def _rename(self, path, to):
        if (number := self.number(path)) is not None:
            raise OSError(number, os.strerror(number), str(path))
        return self.rename(path, to)


class Full:
    """A file on a full disk: the system names no file when a write finds no room."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def write(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


@pytest.fixture
def trained(monkeypatch):
    """Labels of the configs whose training was begun."""
    begun, train = [], store._train
    monkeypatch.setattr(store, "_train", lambda e, c, p: (begun.append(c.label), train(e, c, p))[1])
    return begun


@pytest.mark.usefixtures("only_toy")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES])
@pytest.mark.parametrize("place", ["state", "out"])
def test_a_folder_that_takes_no_files_is_one_sentence_before_training(
    folders, disk, trained, capsys, number, place
):
    """It was a traceback for each config, each after its training."""
    disk.is_now(number, folders / place)
    with pytest.raises(SystemExit) as told:
        main([*TOY_RUN, "--profile", "quick", "--out", str(folders / "out")])
    text = str(told.value)
    assert re.fullmatch(r"expected to read and write .*, but .*; .*to another folder", text)
    assert os.strerror(number) in text
    assert str(folders / place) in text
    setting = {"state": "set SHOOTING_STATE", "out": "set --out (make: OUT)"}[place]
    assert setting in text
    assert ("make room there" in text) == (number in (errno.ENOSPC, errno.EDQUOT))
    assert trained == []
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    assert list(folders.rglob(".*.tmp")) == []


@pytest.mark.usefixtures("only_toy")
def test_control_where_there_is_room_it_trains(folders, trained):
    assert main([*TOY_RUN, "--profile", "quick", "--out", str(folders / "out")]) == 0
    assert trained == [0, 1]


@pytest.mark.usefixtures("only_toy")
def test_a_disk_that_fills_up_while_it_trains_is_a_sentence_too(folders, disk, monkeypatch):
    save = store.FileCheckpoint.save

    def filling(self, state):
        disk.is_now(errno.ENOSPC, folders / "state")
        save(self, state)

    monkeypatch.setattr(store.FileCheckpoint, "save", filling)
    with pytest.raises(SystemExit, match="make room there, or set SHOOTING_STATE"):
        main([*TOY_RUN, "--profile", "quick", "--checkpoint-seconds", "0"])


@pytest.mark.usefixtures("only_toy")
def test_a_corrupt_record_in_a_read_only_folder_is_trained_elsewhere(
    folders, disk, trained, capsys, caplog
):
    out = folders / "records"
    main([*TOY_RUN, "--profile", "quick", "--out", str(out)])
    path = out / "toy" / f"{ids('quick')[0]}.json"
    path.write_bytes(path.read_bytes()[:-9])
    trained.clear()
    disk.is_now(errno.EROFS, out)
    assert main([*TOY_RUN, "--profile", "quick"]) == 0
    assert trained == [0]
    assert f"{path} stays, as its folder is read-only" in caplog.text
    assert (folders / "state" / "records" / "toy" / path.name).exists()
    found = records.load(TOY, TOY.grid("quick")[0])
    assert found.path == folders / "state" / "records" / "toy" / path.name
    assert path.exists()  # control: it could not be set aside
    main(["status", "--profile", "quick"])
    assert "done 2, missing 0" in capsys.readouterr().out.splitlines()[-1]


def test_what_killed_trainings_have_half_written_is_cleared_under_their_lock(folders):
    config = TOY.grid("quick")[0]
    name = record_id("toy", config)
    checkpoints = store.lock_path(TOY, config).parent
    local, out = store.local_records() / "toy", folders / "out" / "toy"
    for folder in (checkpoints, local, out):
        folder.mkdir(parents=True)
        (folder / f".{name}.json.1.tmp").touch()
        (folder / f".{name}.safetensors.2.tmp").touch()
        (folder / ".another.json.3.tmp").touch()  # control: its lock is not ours
        os.utime(folder / f".{name}.json.1.tmp", (0, 0))
    records.compute(TOY, config, out=folders / "out")
    for folder in (checkpoints, local):
        assert [p.name for p in folder.glob(".*.tmp")] == [".another.json.3.tmp"]
    # there another machine may write, whose locks are its own: only what is old goes
    assert len(list(out.glob(".*.tmp"))) == 2


def test_the_setting_is_that_of_the_folder(folders, monkeypatch):
    from shooting.study.paths import setting_of

    for name in ("DATA", "FIGDIR"):
        monkeypatch.setenv(f"SHOOTING_{name}", str(folders / name))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folders / "cache"))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(folders / "temporary"))
    for place, name in {
        "state/checkpoints/toy/a.lock": "SHOOTING_STATE",
        "records/toy/a.json": "SHOOTING_RECORDS",
        "DATA/a": "SHOOTING_DATA",
        "FIGDIR/a.svg": "SHOOTING_FIGDIR",
        "cache/shooting/solve.so": "SHOOTING_CACHE",
        "temporary/a": "TMPDIR",
        "out/toy/a.json": "--out (make: OUT)",
        "nowhere/a": "SHOOTING_STATE",
    }.items():
        assert setting_of(folders / place, folders / "out") == name
    assert setting_of(folders / "state").endswith("STATE")  # the folder itself cannot be made
    monkeypatch.setenv("SHOOTING_STATE", str(folders / "deep" / "state"))
    assert setting_of(folders / "deep") == "SHOOTING_STATE"  # nor one above it


# --- no home -------------------------------------------------------------------------------


HOMELESS = """
import pwd, runpy, sys

def unknown(uid):
    raise KeyError(uid)

pwd.getpwuid = unknown  # as for a user id that no table has
runpy.run_module("shooting", run_name="__main__")
"""


def without_home(folder, *arguments):
    """The command line where there is no HOME and nobody knows the user."""
    unset = ("HOME", "XDG_CACHE_HOME", "SHOOTING_STATE", "SHOOTING_CACHE", "FRESH")
    about = {k: v for k, v in os.environ.items() if k not in unset}
    about |= {"OMP_NUM_THREADS": "1", "MPLCONFIGDIR": str(folder)}  # else Matplotlib says its own
    return subprocess.run(
        [sys.executable, "-c", HOMELESS, *arguments],
        cwd=folder, env=about, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_without_a_home_figures_are_drawn(tmp_path):
    done = without_home(tmp_path, "figure", "fig2")
    assert done.returncode == 0, done.stderr
    assert re.match(r"fig2: drawn from \d+ records", done.stdout)
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "status"])
def test_without_a_home_the_setting_is_named_where_one_is_needed(tmp_path, command):
    done = without_home(tmp_path, command, "--experiment", "circles", "--profile", "quick")
    if command == "status":
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("circles (quick): ")
    else:
        assert done.returncode == 1
        assert re.fullmatch(r"expected a home folder .*; set SHOOTING_STATE\n", done.stderr)


@pytest.mark.usefixtures("only_toy")
def test_status_counts_the_records_of_a_folder_alone(folders, capsys):
    """A sweep into a folder asks for what that folder lacks, and is done when nothing is."""
    out = ["--out", str(folders / "out")]
    quick = ["status", "--profile", "quick"]
    main([*TOY_RUN, "--profile", "quick", *out])
    capsys.readouterr()
    main([*quick, *out])
    assert "done 2, missing 0" in capsys.readouterr().out
    main(quick)  # control: there is nothing among the committed and the local ones
    assert "done 0, missing 2" in capsys.readouterr().out
    main([*TOY_RUN, "--profile", "quick"])
    main([*quick, "--out", str(folders / "other")])
    assert "done 0, missing 2" in capsys.readouterr().out.splitlines()[-1]
    assert "toy" in EXPERIMENTS
    assert storage.PROBE > 0
