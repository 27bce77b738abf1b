"""``python -m shooting verify``: compares committed records and says what it found."""

from __future__ import annotations

import json
import math

import pytest
from toy import TOY

from shooting.errors import MissingDataError
from shooting.study import records
from shooting.study.cli import main
from shooting.study.records import files, verification
from tests.study.commands import TOY_RUN, ids, stop_the_first

pytestmark = pytest.mark.usefixtures("only_toy")


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


def test_verify_checks_each_record_in_itself_however_few_are_trained_again(folders, capsys):
    """Last losses stand in both files; here one of them was changed, and the checksum with it."""
    main([*TOY_RUN, "--profile", "quick", "--out", str(folders / "records")])
    for name in ids("quick"):
        path = folders / "records" / "toy" / f"{name}.json"
        document = files.read_document(path)
        document["history"]["last"][0] += 1e-6
        files.write(path, document, files.read_arrays(path.with_suffix(".npz"), document["arrays"]))
    capsys.readouterr()
    assert main(["verify", "--sample", "1"]) == 1
    said = capsys.readouterr().out
    assert "0 of 2 records agree with themselves" in said
    assert said.count("the JSON something else") == 2
    assert said.endswith("differs 2\n")


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
