"""``python -m shooting status``: counts, lists and estimates, whatever the experiment."""

from __future__ import annotations

import dataclasses

import pytest
from toy import TOY

from shooting.study import records
from shooting.study.cli import main
from shooting.study.experiments import EXPERIMENTS
from shooting.study.experiments.circles import CIRCLES
from tests.study.commands import TOY_RUN, ids

pytestmark = pytest.mark.usefixtures("only_toy")


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


def test_status_estimates_what_is_left_from_what_was_trained(monkeypatch, capsys):
    main([*TOY_RUN, "--only", "label=1"])
    load = records.load

    def slow(experiment, config, **where):
        found = load(experiment, config, **where)
        return found and dataclasses.replace(
            found, provenance=found.provenance | {"wall_seconds": 60.0}
        )

    monkeypatch.setattr("shooting.study.records.load", slow)
    capsys.readouterr()
    main(["status"])
    assert "done 1, missing 5; about 5.0 min of one core left" in capsys.readouterr().out
    long = dataclasses.replace(TOY, estimate=lambda config: 3600.0)  # its trainings differ by hours
    monkeypatch.setitem(EXPERIMENTS, "toy", long)
    main(["status"])
    assert "done 1, missing 5\n" in capsys.readouterr().out
