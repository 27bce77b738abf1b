"""The command line: run, verify, status, in words that a person and Snakemake can use."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import runpy
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from toy import TOY

from shooting.errors import MissingDataError
from shooting.study.cli import Progress, duration, main
from shooting.study.experiments import EXPERIMENTS
from shooting.study.experiments.circles import CIRCLES
from shooting.study.experiments.regression import REGRESSION
from shooting.study.records import files, verification
from shooting.study.records import store as records
from shooting.study.records.identity import record_id
from shooting.study.storage import lock

TOY_RUN = ["run", "--experiment", "toy"]


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOOTING_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("SHOOTING_RECORDS", str(tmp_path / "records"))
    for name in list(EXPERIMENTS):
        monkeypatch.delitem(EXPERIMENTS, name)
    monkeypatch.setitem(EXPERIMENTS, "toy", TOY)
    yield tmp_path
    torch.set_num_threads(1)


def ids(profile):
    return [record_id("toy", c) for c in TOY.grid(profile)]


def test_run_trains_what_is_missing_and_status_counts_it(capsys):
    assert main([*TOY_RUN, "--only", "label=1"]) == 0
    assert "done 1 of 1" in capsys.readouterr().out
    assert main(["status"]) == 0
    assert "toy (paper): done 1, missing 5" in capsys.readouterr().out
    assert main(TOY_RUN) == 0
    assert "done 6 of 6, 0 with failed runs, left 0" in capsys.readouterr().out
    assert main(["status", "--experiment", "toy"]) == 0
    assert "done 6, missing 0" in capsys.readouterr().out


def test_run_takes_ids_of_any_profile_and_an_output_folder(folders):
    wanted = [ids("paper")[3], ids("quick")[0]]
    assert main([*TOY_RUN, "--ids", ",".join(wanted), "--out", str(folders / "out")]) == 0
    assert {p.stem for p in (folders / "out" / "toy").glob("*.json")} == set(wanted)


def test_the_command_of_a_record_makes_it():
    record = records.compute(TOY, TOY.grid("quick")[0])
    record.path.unlink()
    assert main(record.command.split()[3:]) == 0
    assert record.path.exists()


@pytest.mark.parametrize(
    "options", [["--ids", "0000"], ["--only", "label=77"], ["--only", "lable=1"]]
)
def test_what_does_not_exist_is_refused(options):
    with pytest.raises(SystemExit, match="expected"):
        main([*TOY_RUN, *options])


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


def test_status_finds_ids_and_settings_in_whatever_experiment_has_them(monkeypatch, capsys):
    monkeypatch.setitem(EXPERIMENTS, "circles", CIRCLES)
    wanted = ids("quick")[1]
    assert main(["status", "--ids", wanted]) == 0
    assert capsys.readouterr().out.startswith("toy (paper): done 0, missing 1")
    assert main(["status", "--only", "inflation=20"]) == 0
    assert capsys.readouterr().out.startswith("circles (paper): done 0, missing")
    for nowhere in (["--ids", f"{wanted},0000"], ["--only", "inflation=21"]):
        with pytest.raises(SystemExit, match="expected configs of some experiment, found none"):
            main(["status", *nowhere])


def test_unknown_experiment_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--experiment", "tyo"])
    assert "toy" in capsys.readouterr().err


def test_run_says_beforehand_how_long_it_takes_where_an_experiment_can_tell(monkeypatch, capsys):
    main([*TOY_RUN, "--only", "label=1"])
    assert "takes about" not in capsys.readouterr().out  # the toy cannot tell
    slow = dataclasses.replace(TOY, estimate=lambda config: 3600.0 * (1 + config.label))
    monkeypatch.setitem(EXPERIMENTS, "toy", slow)
    main([*TOY_RUN, "--only", "label=1"])
    assert "about" not in capsys.readouterr().out  # done already: nothing to say
    main(TOY_RUN)
    said = capsys.readouterr().out
    known = [c.label for c in TOY.grid("paper") if c.label != 1]
    assert said.count("from its start") == len(known)
    assert f"about {sum(known) + len(known)} h 00 min at the present load" in said
    assert said.index("present load") < said.index("done 1 of")
    main([*TOY_RUN, "--only", "label=1", "--fresh"])
    assert "about 2 h 00 min at the present load" in capsys.readouterr().out


def stop_the_first(monkeypatch, error):
    """The training of the first toy config ends by an error."""

    def train(config, checkpoint):
        if config.label == 0:
            raise error
        return TOY.train(config, checkpoint)

    monkeypatch.setitem(EXPERIMENTS, "toy", dataclasses.replace(TOY, train=train))


def test_one_broken_config_does_not_stop_the_others(monkeypatch, capsys):
    stop_the_first(monkeypatch, RuntimeError("broken on purpose"))
    assert main([*TOY_RUN, "--profile", "quick"]) == 1
    said = capsys.readouterr()
    assert "broken on purpose" in said.err
    assert "done 1 of 2" in said.out
    assert "1 ended by an error" in said.out


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


def test_what_lacks_data_is_skipped_in_a_line(monkeypatch, capsys):
    stop_the_first(monkeypatch, MissingDataError("expected some digits, got none; look for them"))
    assert main([*TOY_RUN, "--profile", "quick"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "is skipped: expected some digits, got none; look for them" in said.out
    assert "done 1 of 2, 0 with failed runs, left 0, 1 skipped for want of data" in said.out


@pytest.mark.parametrize("command", [["status"], [*TOY_RUN, "--profile", "quick"]])
def test_a_wrong_moment_stops_every_command_with_a_sentence(monkeypatch, command):
    monkeypatch.setenv("FRESH", "26.11.2026")
    with pytest.raises(SystemExit, match="expected FRESH to be a day or moment"):
        main(command)


def test_a_run_of_another_process_comes_last(capsys):
    """The first config is held elsewhere until the second has been trained."""
    first, second = TOY.grid("quick")
    held = threading.Event()

    def hold():
        with lock(records.lock_path(TOY, first)):
            held.set()
            while records.load(TOY, second) is None:
                time.sleep(0.02)

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    assert held.wait(60)
    assert main([*TOY_RUN, "--profile", "quick"]) == 0
    thread.join(60)
    said = capsys.readouterr().out
    ids_said = [line.split()[0] for line in said.splitlines() if not line.startswith(" ")]
    assert ids_said == [ids("quick")[0], ids("quick")[1], ids("quick")[0]]
    assert f"{ids('quick')[0]} is trained by another process: later" in said
    assert "done 2 of 2" in said


def test_threads_are_set_and_recorded():
    assert main([*TOY_RUN, "--profile", "quick", "--threads", "2"]) == 0
    assert records.load(TOY, TOY.grid("quick")[0]).provenance["threads"] == 2


def test_status_lists_one_line_per_config(capsys):
    main(["status", "--profile", "quick", "--list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["missing", i] for i in ids("quick")]


def test_status_names_corrupt_and_stale_records(folders, capsys):
    out = folders / "records"
    main([*TOY_RUN, "--profile", "quick", "--out", str(out)])
    (out / "toy" / "0123456789abcdef.json").write_text("{}")
    (out / "toy" / f"{ids('quick')[0]}.json").write_text("{}")
    capsys.readouterr()
    main(["status", "--profile", "quick"])
    said = capsys.readouterr().out
    assert "done 1, missing 0, corrupt 1" in said
    assert "stale: 0123456789abcdef.json" in said


def test_verify_accepts_honest_records(folders, capsys):
    main([*TOY_RUN, "--profile", "quick", "--out", str(folders / "records")])
    assert main(["verify", "--sample", "all"]) == 0
    assert "equal 2" in capsys.readouterr().out


def test_verify_names_a_corrupt_record_and_checks_the_others(folders, capsys):
    main([*TOY_RUN, "--profile", "quick", "--out", str(folders / "records")])
    path = folders / "records" / "toy" / f"{ids('quick')[0]}.npz"
    path.write_bytes(path.read_bytes()[:-1])
    capsys.readouterr()
    assert main(["verify", "--sample", "all"]) == 1
    said = capsys.readouterr().out
    assert f"corrupt  expected the arrays of {path} as written" in said
    assert said.endswith("equal 1, corrupt 1\n")


def test_verify_without_records_says_so(capsys):
    assert main(["verify"]) == 0
    assert "no committed records" in capsys.readouterr().out


def test_verify_fails_with_both_numbers_and_the_rule(folders, capsys):
    """A record whose checksums are right, but whose number this code does not compute."""
    main([*TOY_RUN, "--profile", "quick", "--out", str(folders / "records")])
    path = folders / "records" / "toy" / f"{ids('quick')[0]}.json"
    document = json.loads(path.read_bytes())
    document.pop("sha256")
    true = document["metrics"]["loss"][0]
    document["metrics"]["loss"][0] = 0.125
    arrays = records.read(path, TOY.grid("quick")[0]).arrays
    files.write(path, document, arrays)
    assert main(["verify", "--sample", "all", "--seed", "3"]) == 1
    said = capsys.readouterr().out
    assert f"recorded 0.125, now {true!r}" in said
    assert "rule: equal" in said
    assert "differs 1" in said


def test_verify_refuses_a_folder_that_is_not_there(folders):
    with pytest.raises(SystemExit, match=r"expected a folder of records, got .*nowhere"):
        main(["verify", "--records", str(folders / "nowhere")])


def test_verify_says_when_nothing_was_compared(folders, capsys, monkeypatch):
    main([*TOY_RUN, "--profile", "quick", "--out", str(folders / "records")])
    stop_the_first(monkeypatch, MissingDataError("no digits here"))
    only = folders / "records" / "toy" / f"{ids('quick')[1]}.json"
    only.unlink()
    assert main(["verify", "--sample", "all"]) == 0
    assert "nothing was compared" in capsys.readouterr().out


def test_verify_takes_as_many_as_asked_and_all_of_them_however_long(folders, capsys, monkeypatch):
    out = folders / "records"
    main([*TOY_RUN, "--out", str(out)])
    asked = []
    whole = verification.sample

    def sample(found, *, seed, minutes):
        asked.append(minutes)
        return whole(found, seed=seed, minutes=minutes)

    monkeypatch.setattr(verification, "sample", sample)
    capsys.readouterr()
    assert main(["verify", "--sample", "2"]) == 0
    assert "2 of 6 records" in capsys.readouterr().out
    assert main(["verify", "--sample", "all"]) == 0
    assert "6 of 6 records" in capsys.readouterr().out
    assert main(["verify"]) == 0
    assert asked == [math.inf, math.inf, verification.MINUTES]


def test_run_trains_anew_where_that_is_asked():
    main([*TOY_RUN, "--only", "label=1"])
    (config,) = (c for c in TOY.grid("paper") if c.label == 1)
    path = records.load(TOY, config).path
    before = path.stat().st_mtime_ns
    main([*TOY_RUN, "--only", "label=1"])
    assert path.stat().st_mtime_ns == before
    main([*TOY_RUN, "--only", "label=1", "--fresh"])
    assert path.stat().st_mtime_ns > before


def test_run_saves_as_often_as_asked(monkeypatch):
    asked = []
    monkeypatch.setattr(records, "compute", lambda *a, seconds, **k: asked.append(seconds) or run)
    run = SimpleNamespace(failed=np.array([False]))
    main([*TOY_RUN, "--only", "label=1"])
    main([*TOY_RUN, "--only", "label=1", "--checkpoint-seconds", "0.5"])
    assert asked == [20.0, 0.5]


def test_failed_runs_are_counted(monkeypatch, capsys):
    poisoned = dataclasses.replace(TOY.grid("quick")[0], poison=1)
    monkeypatch.setitem(
        EXPERIMENTS, "toy", dataclasses.replace(TOY, grid=lambda profile: [poisoned])
    )
    assert main(TOY_RUN) == 0
    assert "done 1 of 1, 1 with failed runs, left 0" in capsys.readouterr().out


def test_time_left_is_that_of_the_mean_training():
    progress = Progress(10)
    progress.done, progress.broken, progress.lacking = 4, 1, 1
    progress.trained, progress.seconds = 2, 120.0  # two of the four were there already
    assert progress.line().endswith("left 4, 1 skipped for want of data, 1 ended by an error, "
                                    "about 4.0 min to go")  # fmt: skip
    assert "to go" not in Progress(3).line()


def test_status_estimates_what_is_left_from_what_was_trained(monkeypatch, capsys):
    main([*TOY_RUN, "--only", "label=1"])
    load = records.load

    def slow(experiment, config):
        found = load(experiment, config)
        return found and dataclasses.replace(
            found, provenance=found.provenance | {"wall_seconds": 60.0}
        )

    monkeypatch.setattr(records, "load", slow)
    capsys.readouterr()
    main(["status"])
    assert "done 1, missing 5; about 5.0 min of one core left" in capsys.readouterr().out


def test_a_figure_without_records_is_a_sentence_and_a_failure(monkeypatch, capsys):
    monkeypatch.setitem(EXPERIMENTS, "regression", REGRESSION)
    assert main(["figure", "fig2"]) == 1
    assert "fig2: " in (said := capsys.readouterr().out)
    assert "make runs EXPERIMENT=regression" in said
    assert main(["figure", "tab1"]) == 0
    assert "dynamic direct" in capsys.readouterr().out


def test_data_that_are_not_to_be_had_are_a_sentence_and_a_failure(monkeypatch, capsys, folders):
    def fetch(folder):
        raise MissingDataError("expected a network, found none")

    monkeypatch.setattr("shooting.study.cli.fetch_mnist", fetch)
    assert main(["data", str(folders)]) == 1
    assert capsys.readouterr().out == "expected a network, found none\n"
    monkeypatch.setattr("shooting.study.cli.fetch_mnist", lambda folder: ["one", "two"])
    assert main(["data", str(folders)]) == 0
    assert capsys.readouterr().out.startswith("2 files fetched")


@pytest.mark.parametrize("command", [TOY_RUN, ["status"]])
def test_a_folder_that_cannot_be_made_is_a_sentence(folders, monkeypatch, command):
    """A file where the state folder should be: refused for the superuser too."""
    (folders / "file").write_text("in the way")
    monkeypatch.setenv("SHOOTING_STATE", str(folders / "file"))
    with pytest.raises(SystemExit, match="set SHOOTING_STATE to another"):
        main(command)


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
