"""The command line as a whole: options without meaning, folders, the module itself."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys

import pytest

from shooting.errors import MissingDataError
from shooting.study.cli import duration, main
from tests.study.commands import TOY_RUN

pytestmark = pytest.mark.usefixtures("only_toy")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ([*TOY_RUN, "--only", "label"], "expected NAME=VALUE, got 'label'"),
        ([*TOY_RUN, "--only", "seeds=[0, 1]"], "expected NAME=VALUE, got ' 1]'"),
        ([*TOY_RUN, "--threads", "0"], "expected a whole number of at least 1, got '0'"),
        (["verify", "--sample", "0"], "expected a whole number of at least 1, got '0'"),
        (["verify", "--sample", "some"], "expected a whole number of at least 1, got 'some'"),
    ],
)
def test_options_without_meaning_are_refused_before_anything_is_done(command, told, capsys):
    with pytest.raises(SystemExit):
        main(command)
    assert told in capsys.readouterr().err


def test_unknown_experiment_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--experiment", "tyo"])
    assert "toy" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["status"], [*TOY_RUN, "--profile", "quick"]])
def test_a_wrong_moment_stops_every_command_with_a_sentence(monkeypatch, command):
    monkeypatch.setenv("FRESH", "26.11.2026")
    with pytest.raises(SystemExit, match="expected FRESH to be a day or moment"):
        main(command)


@pytest.mark.parametrize("command", [TOY_RUN, ["status"]])
def test_a_folder_that_cannot_be_made_is_a_sentence(folders, monkeypatch, command):
    """A file where the state folder should be: refused for the superuser too."""
    (folders / "file").write_text("in the way")
    monkeypatch.setenv("SHOOTING_STATE", str(folders / "file"))
    with pytest.raises(SystemExit, match="set SHOOTING_STATE to another"):
        main(command)


@pytest.mark.parametrize("threads", [None, "2"])
def test_numpy_has_one_thread_unless_told(monkeypatch, threads):
    """Records do not say how many it had, and it reads the variable only when it is loaded."""
    begun = []

    def execve(program, command, environment):
        begun.append((command[1:], environment["OMP_NUM_THREADS"]))
        raise SystemExit

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setattr(sys, "argv", ["shooting", "status", "--experiment", "toy"])
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if threads:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    with pytest.raises(SystemExit), pytest.warns(RuntimeWarning, match="shooting.study.cli"):
        runpy.run_module("shooting", run_name="__main__")
    again = [(["-m", "shooting", "status", "--experiment", "toy"], "1")]
    assert begun == ([] if threads else again)


def test_a_terminal_without_greek_letters_is_no_obstacle():
    command = [sys.executable, "-m", "shooting", "run", "--help"]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_duration_in_words():
    assert duration(90) == "1.5 min"
    assert duration(2 * 3600 + 5 * 60) == "2 h 05 min"


def test_the_module_runs_and_explains_itself():
    command = [sys.executable, "-W", "error", "-m", "shooting", "--help"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    for word in ("run", "verify", "status"):
        assert word in run.stdout


def test_data_that_are_not_to_be_had_are_a_sentence_and_a_failure(monkeypatch, capsys, folders):
    def fetch(folder):
        raise MissingDataError("expected a network, found none")

    monkeypatch.setattr("shooting.study.cli.fetch_mnist", fetch)
    assert main(["data", str(folders)]) == 1
    assert capsys.readouterr().out == "expected a network, found none\n"
    monkeypatch.setattr("shooting.study.cli.fetch_mnist", lambda folder: ["one", "two"])
    assert main(["data", str(folders)]) == 0
    assert capsys.readouterr().out.startswith("2 files fetched")
