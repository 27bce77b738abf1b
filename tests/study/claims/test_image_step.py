"""Tables of the faster training step: what the file says, and nothing else."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from shooting.study.claims import image_step
from shooting.study.experiments.models import MODELS
from shooting.study.paths import records_folder
from shooting.study.storage import CorruptFileError

TABLES = (image_step.ladder, image_step.parity, image_step.solver)


@pytest.fixture
def raw():
    """The committed file, read without the module."""
    return json.loads((records_folder() / "images.json").read_text(encoding="utf-8"))


def changed(raw, *path, to):
    """A copy with one value changed."""
    made = copy.deepcopy(raw)
    place = made
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return made


def verdicts(table):
    return [c.rpartition(": ")[2] for c in table["criterion"] if c]


def test_committed_file_is_read_from_the_records(raw):
    assert image_step.load() == raw


def test_ladder_has_every_rung_and_every_model(raw):
    table = image_step.ladder(raw)
    models = raw["ladder"]["models"]
    times = [*raw["ladder"]["rungs"].values(), *(m["setting"] for m in models.values())]
    assert len(table) == len(times) == len(raw["ladder"]["rungs"]) + 3
    for key in ("seconds", "gain"):
        wanted = [f"{m:.2f} [{a:.2f}, {b:.2f}]" for a, m, b in (t[key] for t in times)]
        assert table[key].tolist() == wanted
    assert table["training step"].iloc[0] == "float32"
    for model, name in zip(models, table["training step"].iloc[-3:], strict=True):
        assert name.endswith(MODELS[model])


def test_gains_are_the_ends_of_the_medians(raw):
    medians = sorted(m["setting"]["gain"][1] for m in raw["ladder"]["models"].values())
    assert image_step.gains(raw) == (medians[0], medians[-1])
    assert medians[0] == raw["ladder"]["least gain"]


def test_hours_are_those_of_all_steps(raw):
    timed = raw["ladder"]["models"]["dynamic_particles"]
    for kind in ("float32", "setting"):
        # 100 epochs of 10,000 sequences, 25 a step; equal up to rounding
        wanted = 100 * 10_000 / 25 * timed[kind]["seconds"][1] / 3600
        assert image_step.hours(raw, kind) == pytest.approx(wanted, rel=1e-12)


def test_parity_is_recomputed_from_the_values(raw):
    table = image_step.parity(raw)
    parts = [raw["early"], raw["narrow"]["quick"]]
    for part, row in zip(parts, table.to_dict("records"), strict=False):
        plain, fast = np.array(part["float32"]), np.array(part["bfloat16"])
        assert row["float32"] == ", ".join(f"{v:.4f}" for v in plain)
        assert row["bfloat16"] == ", ".join(f"{v:.4f}" for v in fast)
        # values have four digits, so their mean difference is known to 1e-5
        assert float(row["mean difference"]) == pytest.approx(part["difference"], abs=1e-5)
        # printed with four decimals
        assert float(row["spread over seeds"]) == pytest.approx(part["spread"], abs=6e-5)
    last, reduced = table.to_dict("records")[-1], raw["narrow"]["reduced"]
    assert last["float32"] == f"{reduced['float32']:.4f}"
    assert last["bfloat16"] == f"{reduced['bfloat16']:.4f}"
    assert last["spread over seeds"] == "one seed"


def test_solver_has_each_state_and_solver(raw):
    table = image_step.solver(raw)
    states = {k: v for k, v in raw["solver"].items() if k not in ("holds", "provenance")}
    assert len(table) == sum(len(v) - 2 for v in states.values())
    for row in table.to_dict("records"):
        found = states[row["model"]]
        # three digits are printed
        for column, value in (
            ("paths, largest relative error", found[row["solver"]]["latents"]),
            ("frames, mean squared error", found[row["solver"]]["images"]),
            ("error of the prediction", found["prediction"]),
            ("variance over scenes", found["signal"]),
        ):
            assert float(row[column]) == pytest.approx(value, rel=6e-3)
        assert bool(row["criterion"]) == (row["solver"] == "rk4 0.1")
    for of in ("prediction", "signal"):
        shares = {k: v["rk4 0.1"]["images"] / v[of] for k, v in states.items()}
        assert image_step.solver_shares(raw, of) == shares


def test_verdicts_are_those_of_the_file(raw):
    assert verdicts(image_step.ladder(raw)) == ["holds"] * 3
    assert raw["ladder"]["holds"]
    inner = [raw["early"], raw["narrow"]["quick"], raw["narrow"]["reduced"]]
    said = ["holds" if part["holds"] else "fails" for part in inner]
    assert verdicts(image_step.parity(raw)) == said
    assert verdicts(image_step.solver(raw)) == ["holds"] * 3
    assert raw["solver"]["holds"]


@pytest.mark.parametrize(
    ("table", "row", "path", "to"),
    [
        # just below 1.8 times as fast
        (image_step.ladder, 6, ("ladder", "models", "static_direct", "setting", "gain", 1), 1.79),
        # half the spread of the early losses is 0.0011, of the narrow errors 0.0013
        (image_step.parity, 0, ("early", "bfloat16"), [0.0613, 0.0604, 0.0591]),
        (image_step.parity, 1, ("narrow", "quick", "bfloat16"), [0.0634, 0.0611, 0.0607]),
        # 11 % below 0.0337
        (image_step.parity, 2, ("narrow", "reduced", "bfloat16"), 0.0299),
        # more than a tenth of 0.05
        (image_step.solver, 4, ("solver", "trained briefly", "rk4 0.1", "images"), 0.006),
    ],
)
def test_a_changed_value_changes_its_row_and_verdict(raw, table, row, path, to):
    before, after = table(raw), table(changed(raw, *path, to=to))
    differing = (before != after).any(axis=1)
    assert differing[differing].index.tolist() == [row]
    assert before["criterion"][row].endswith(": holds")
    assert after["criterion"][row].endswith(": fails")


def test_a_changed_bar_changes_the_criterion(raw):
    strict = changed(raw, "bars", to={**dict.fromkeys(raw["bars"], 0.0), "speed": 99})
    assert {v for t in TABLES for v in verdicts(t(strict))} == {"fails"}
    assert {v for t in TABLES for v in verdicts(t(raw))} == {"holds"}  # the file as it is


def test_a_missing_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOOTING_RECORDS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"images\.json, found no file; restore") as caught:
        image_step.load()
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"bars": ',
        b"[]",
        b"\xff\xfe",
        b"null",
        b"{}",
        b'{"bars": {"speed": 1.8}, "ladder": {"rungs": {"float32": 3}, "models": {}}}',
    ],
)
def test_a_corrupt_file_is_named(tmp_path, content):
    path = tmp_path / "images.json"
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"expected measurements in .*images\.json, got"):
        image_step.load(path)


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("ladder", "rungs", "both", "gain"), [1.5]),
        (("ladder", "models"), {"unknown": {"setting": {"seconds": [1] * 3, "gain": [2] * 3}}}),
        (("early", "bfloat16"), ["0.06", "much", "0.06"]),
        (("narrow", "reduced", "float32"), "0.03"),
        (("solver", "initialised"), {}),
        (("solver", "initialised", "rk4 0.1"), None),
    ],
)
def test_a_file_with_a_wrong_part_is_refused(raw, tmp_path, path, to):
    file = tmp_path / "images.json"
    file.write_text(json.dumps(raw))
    assert image_step.load(file) == raw  # control: unchanged
    file.write_text(json.dumps(changed(raw, *path, to=to)))
    with pytest.raises(CorruptFileError, match=r"images\.json"):
        image_step.load(file)
