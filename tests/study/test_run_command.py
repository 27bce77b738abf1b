"""``python -m shooting run``: trains what is missing and says what is left."""

from __future__ import annotations

import dataclasses
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from toy import TOY

from shooting.errors import MissingDataError
from shooting.study import records
from shooting.study.cli import Progress, main
from shooting.study.experiments import EXPERIMENTS
from shooting.study.records import store
from shooting.study.storage import lock
from tests.study.commands import TOY_RUN, ids, stop_the_first

pytestmark = pytest.mark.usefixtures("only_toy")


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


def test_one_broken_config_does_not_stop_the_others(monkeypatch, capsys):
    stop_the_first(monkeypatch, RuntimeError("broken on purpose"))
    assert main([*TOY_RUN, "--profile", "quick"]) == 1
    said = capsys.readouterr()
    assert "broken on purpose" in said.err
    assert "done 1 of 2" in said.out
    assert "1 ended by an error" in said.out


def test_what_lacks_data_is_skipped_in_a_line(monkeypatch, capsys):
    stop_the_first(monkeypatch, MissingDataError("expected some digits, got none; look for them"))
    assert main([*TOY_RUN, "--profile", "quick"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "is skipped: expected some digits, got none; look for them" in said.out
    assert "done 1 of 2, 0 with failed runs, left 0, 1 skipped for want of data" in said.out


def test_a_run_of_another_process_comes_last(capsys):
    """The first config is held elsewhere until the second has been trained."""
    first, second = TOY.grid("quick")
    held = threading.Event()

    def hold():
        with lock(store.lock_path(TOY, first)):
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
    run = SimpleNamespace(failed=np.array([False]))

    def compute(*settings, seconds, **others):
        asked.append(seconds)
        return run

    monkeypatch.setattr("shooting.study.records.compute", compute)
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
