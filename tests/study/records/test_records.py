"""Identity, refusals, determinism: every way in which a record could lie must be found."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import json
import multiprocessing
import os
import time
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy import TOY, ToyConfig

from shooting.errors import MissingDataError
from shooting.study import records, storage
from shooting.study.experiments import EXPERIMENTS, PROFILES, Experiment
from shooting.study.experiments.settings import as_dict, from_dict, later
from shooting.study.records import files, store
from shooting.study.records.checkpoints import FileCheckpoint
from shooting.study.records.identity import digest, record_id
from shooting.study.records.record import UNMEASURED
from shooting.study.storage import BusyError, CorruptFileError, is_locked, lock

pytestmark = pytest.mark.usefixtures("folders")

CONFIG = ToyConfig(epochs=6)


@pytest.fixture
def record():
    return records.compute(TOY, CONFIG)


# --- identity ------------------------------------------------------------------------------


def test_every_setting_enters_the_identity():
    names = {f.name: f for f in dataclasses.fields(ToyConfig)}
    changed = {"label": 1, "rate": 0.1, "seeds": (0, 1), "epochs": 7, "poison": 0}
    assert changed.keys() == names.keys()
    ids = {record_id("toy", dataclasses.replace(CONFIG, **{k: v})) for k, v in changed.items()}
    assert len({*ids, record_id("toy", CONFIG)}) == len(changed) + 1


def test_experiment_and_numerics_enter_the_identity():
    ids = {record_id("toy", CONFIG), record_id("toi", CONFIG), record_id("toy", CONFIG, 0)}
    assert len(ids) == 3


def test_the_identity_is_fixed_for_ever():
    """Changing how ids are made would orphan every committed record."""
    assert record_id("toy", ToyConfig(), 1) == "be2699eb36b94576"


@given(st.integers(0, 9), st.floats(1e-6, 1.0), st.lists(st.integers(), max_size=4))
def test_configs_survive_json(label, rate, seeds):
    config = ToyConfig(label=label, rate=rate, seeds=tuple(seeds))
    again = from_dict(ToyConfig, json.loads(json.dumps(as_dict(config))))
    assert again == config
    assert record_id("toy", again) == record_id("toy", config)


def test_a_whole_number_in_a_float_field_is_the_same_config():
    assert record_id("toy", ToyConfig(rate=1)) == record_id("toy", ToyConfig(rate=1.0))


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="inflatoin"):
        from_dict(ToyConfig, {"inflatoin": 16})


def test_a_setting_added_later_keeps_old_identities():
    @dataclass(frozen=True)
    class Before:
        label: int = 0

    @dataclass(frozen=True)
    class After:
        label: int = 0
        extra: float = later(0.5)

    assert record_id("toy", After()) == record_id("toy", Before())
    assert record_id("toy", After(extra=1.0)) != record_id("toy", Before())


@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_grids_have_no_config_twice(name):
    for profile in PROFILES:
        ids = [record_id(name, c) for c in EXPERIMENTS[name].grid(profile)]
        assert len(set(ids)) == len(ids) > 0


# --- what is in a record -------------------------------------------------------------------


def test_a_record_holds_what_was_trained(record):
    outcome = TOY.train(CONFIG, None)
    assert record.config == CONFIG
    np.testing.assert_array_equal(record.metrics["loss"], outcome.metrics["loss"])
    np.testing.assert_array_equal(record.arrays["history"], outcome.fit.history)
    np.testing.assert_array_equal(record.early.astype(np.float32), outcome.fit.early)
    assert not record.failed.any()
    assert record.facts == {"parameters": 6}


def test_provenance_is_complete(record):
    expected = (
        "package commit dirty source python torch numpy platform processor device threads route "
        "wall_seconds resumed peak_memory_mb started ended status"
    )
    assert set(expected.split()) <= set(record.provenance)
    assert record.provenance["status"] == "done"
    assert record.provenance["threads"] == torch.get_num_threads()


def test_a_record_is_found_not_trained_again(record, monkeypatch):
    def refuse(config, checkpoint):
        raise AssertionError("trained again")

    again = records.compute(dataclasses.replace(TOY, train=refuse), CONFIG)
    assert again.path == record.path
    assert records.load("toy", CONFIG).id == record.id


def test_nothing_recorded_is_none():
    assert records.load("toy", CONFIG) is None


def age(record):
    """Date a record back, so that a rewrite shows however coarse the clock of the disk is."""
    os.utime(record.path, (0, 0))


def rewritten(record) -> bool:
    return record.path.stat().st_mtime_ns > 0


def test_fresh_trains_again(record):
    age(record)
    records.compute(TOY, CONFIG)
    assert not rewritten(record)
    records.compute(TOY, CONFIG, fresh=True)
    assert rewritten(record)


def test_a_local_record_is_published_without_training(record, folders, monkeypatch):
    def refuse(config, checkpoint):
        raise AssertionError("trained again")

    published = records.compute(
        dataclasses.replace(TOY, train=refuse), CONFIG, out=folders / "records"
    )
    assert published.path == folders / "records" / "toy" / record.path.name
    assert published.path.read_bytes() == record.path.read_bytes()


class Interrupted(BaseException):
    """Stands for the end of the process: nothing in the package may catch it."""


def interrupt(monkeypatch):
    """Train CONFIG until its checkpoint holds three epochs, and die."""
    original = FileCheckpoint.save

    def save(self, state):
        original(self, state)
        if len(state["history"]) == 3:
            raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(FileCheckpoint, "save", save)
        with pytest.raises(Interrupted):
            records.compute(TOY, CONFIG, seconds=0)


def test_a_checkpoint_is_continued(monkeypatch):
    interrupt(monkeypatch)
    assert records.state_of(TOY, CONFIG) == "started"
    assert records.compute(TOY, CONFIG).provenance["resumed"] == 1


def test_fresh_does_not_continue_a_checkpoint(monkeypatch):
    interrupt(monkeypatch)
    assert records.compute(TOY, CONFIG, fresh=True).provenance["resumed"] == 0


def test_a_checkpoint_of_other_code_is_not_continued(monkeypatch, caplog):
    """The first epochs of one code and the last of another are a run of neither."""
    interrupt(monkeypatch)
    monkeypatch.setattr(store.provenance, "source_hash", lambda: "0" * 64)
    assert records.compute(TOY, CONFIG).provenance["resumed"] == 0
    assert "other code" in caplog.text


def test_the_checkpoint_goes_when_the_record_is_there(record):
    path = store.lock_path(TOY, CONFIG)
    assert not path.with_suffix(".safetensors").exists()


def test_load_all_follows_the_grid():
    grid = TOY.grid("quick")
    records.compute(TOY, grid[1])
    assert [r.config for r in records.load_all("toy", "quick")] == [grid[1]]


def test_gather_trains_only_under_the_profile_paper(monkeypatch):
    assert records.gather("toy", "quick") == []
    made = records.gather("toy", "paper")
    assert [r.config for r in made] == TOY.grid("paper")
    for record in made:
        age(record)
    assert not any(map(rewritten, records.gather("toy", "paper")))
    truncate_json(made[0])
    assert len(records.gather("toy", "paper")) == len(made)


# --- nothing from before -------------------------------------------------------------------


@pytest.fixture
def committed(folders):
    """Records of the paper's grid as the repository has them."""
    return [records.compute(TOY, c, out=folders / "records") for c in TOY.grid("paper")]


@pytest.fixture
def moment(monkeypatch, committed):
    """FRESH, after what is committed."""
    return present(monkeypatch)


def test_what_is_trained_since_a_moment_comes_before_what_is_committed(moment, committed):
    assert [records.load("toy", c.config).path for c in committed] == [c.path for c in committed]
    made = records.gather("toy", "paper")
    assert [r.config for r in made] == [c.config for c in committed]
    assert not {r.path for r in made} & {c.path for c in committed}
    assert all(r.provenance["started"] >= moment for r in made)


def test_only_what_is_trained_since_a_moment_is_done(moment, committed):
    def states():
        return {records.state_of(TOY, c.config) for c in committed}

    assert states() == {"missing"}
    records.gather("toy", "paper")
    assert states() == {"done"}


def test_without_a_moment_what_is_committed_comes_first(moment, committed, monkeypatch):
    records.gather("toy", "paper")
    monkeypatch.delenv("FRESH")
    assert [r.path for r in records.gather("toy", "paper")] == [c.path for c in committed]


def test_what_is_trained_since_a_moment_is_not_trained_again(moment):
    for record in records.gather("toy", "paper"):
        age(record)
    assert not any(map(rewritten, records.gather("toy", "paper")))


def present(monkeypatch):
    """Set FRESH to a second of its own."""
    time.sleep(1.1)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    monkeypatch.setenv("FRESH", now)
    return now


def test_a_local_record_from_before_does_not_count(record, monkeypatch):
    age(record)
    present(monkeypatch)
    assert rewritten(records.compute(TOY, CONFIG))


def test_what_is_not_needed_is_not_read(committed):
    """A damaged copy beside an intact committed record must not stop a page."""
    local = store.folders()[1] / "toy" / committed[0].path.name
    local.parent.mkdir(parents=True)
    local.write_bytes(b"half")
    assert records.load("toy", committed[0].config).path == committed[0].path


def test_a_local_record_since_then_is_published_without_training(folders, monkeypatch):
    present(monkeypatch)
    local = records.compute(TOY, CONFIG)
    monkeypatch.setattr(store, "_train", None)
    published = records.compute(TOY, CONFIG, out=folders / "records")
    assert published.path != local.path
    assert records.state_of(TOY, CONFIG) == "done"


def test_a_checkpoint_from_before_is_not_continued(monkeypatch, caplog):
    interrupt(monkeypatch)
    present(monkeypatch)
    assert records.compute(TOY, CONFIG).provenance["resumed"] == 0
    assert "older than FRESH" in caplog.text


def test_a_checkpoint_of_no_use_is_not_called_started(monkeypatch):
    interrupt(monkeypatch)
    assert records.state_of(TOY, CONFIG) == "started"
    monkeypatch.setattr(store.provenance, "source_hash", lambda: "0" * 64)
    assert records.state_of(TOY, CONFIG) == "missing"


def test_a_checkpoint_since_then_is_continued_and_keeps_its_beginning(monkeypatch):
    monkeypatch.setenv("FRESH", datetime.now(UTC).isoformat(timespec="seconds"))
    interrupt(monkeypatch)
    time.sleep(1.1)
    again = datetime.now(UTC)
    about = records.compute(TOY, CONFIG).provenance
    assert about["resumed"] == 1
    assert datetime.fromisoformat(about["started"]) < again.replace(microsecond=0)


@pytest.mark.parametrize("wrong", ["1", "yes", "26.11.2026"])
def test_a_moment_that_is_none_is_one_sentence(monkeypatch, wrong):
    monkeypatch.setenv("FRESH", wrong)
    with pytest.raises(ValueError, match=f"expected FRESH to be a day or moment.*{wrong}.*; "):
        records.gather("toy", "paper")


def test_a_moment_ahead_is_refused(monkeypatch):
    """Local time taken for UTC: whatever was trained would be trained again, for ever."""
    ahead = datetime.now(UTC) + timedelta(hours=1)
    monkeypatch.setenv("FRESH", ahead.isoformat())
    with pytest.raises(ValueError, match="lies ahead; it is UTC, and now is 20"):
        records.gather("toy", "paper")


def test_what_begins_within_the_second_of_the_moment_counts(record, monkeypatch):
    started = datetime.fromisoformat(record.provenance["started"])
    monkeypatch.setenv("FRESH", started.replace(microsecond=999_999).isoformat())
    age(record)
    assert not rewritten(records.compute(TOY, CONFIG))


def test_a_moment_without_a_zone_is_utc(monkeypatch):
    for text in ("2026-11-26T18:00", "2026-11-26T18:00+00:00", "2026-11-26T19:00+01:00"):
        monkeypatch.setenv("FRESH", text)
        assert store.since() == datetime(2026, 11, 26, 18, tzinfo=UTC)


def test_what_another_process_trains_is_gathered_last(monkeypatch):
    busy, order, compute = TOY.grid("paper")[0], [], records.compute

    def watched(experiment, config, *, wait=True):
        if config == busy and not wait:
            raise BusyError("another process")
        order.append(config)
        return compute(experiment, config)

    monkeypatch.setattr(store, "compute", watched)
    assert len(records.gather("toy", "paper")) == len(order)
    assert order == [*TOY.grid("paper")[1:], busy]


@pytest.mark.parametrize("busy", [False, True])
def test_what_needs_data_of_other_machines_is_left_out(monkeypatch, caplog, capfd, busy):
    """Quietly: what a page says on the error channel stops the build of the book."""
    lacking, compute = TOY.grid("paper")[0], records.compute

    def poor(experiment, config, *, wait):
        if config == lacking:
            raise BusyError("another process") if busy and not wait else MissingDataError("no data")
        return compute(experiment, config, wait=wait)

    monkeypatch.setattr(store, "compute", poor)
    with caplog.at_level("INFO"):
        assert [r.config for r in records.gather("toy", "paper")] == TOY.grid("paper")[1:]
    assert f"{record_id('toy', lacking)} is not trained: no data" in caplog.text
    assert {r.levelname for r in caplog.records if "not trained" in r.message} == {"INFO"}
    assert capfd.readouterr().err == ""


# --- precision of the caller ---------------------------------------------------------------


def test_the_default_precision_of_the_caller_does_not_matter(record):
    torch.set_default_dtype(torch.float64)
    try:
        again = records.compute(TOY, CONFIG, fresh=True)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(again.arrays["parameters"], record.arrays["parameters"])


# --- determinism ---------------------------------------------------------------------------


def test_twice_the_same_bits(record):
    def comparable(path):
        document = json.loads(path.read_bytes())
        return {k: v for k, v in document.items() if k not in ("provenance", "sha256")}

    before = record.path.with_suffix(".npz").read_bytes(), comparable(record.path)
    records.compute(TOY, CONFIG, fresh=True)
    assert (record.path.with_suffix(".npz").read_bytes(), comparable(record.path)) == before


def test_packing_depends_on_content_alone():
    one, two = {"a": np.arange(3), "b/c": np.eye(2)}, {"b/c": np.eye(2), "a": np.arange(3)}
    assert files.pack(one) == files.pack(two)
    assert files.pack(one) != files.pack({**one, "a": np.arange(1, 4)})
    dates = {info.date_time for info in zipfile.ZipFile(io.BytesIO(files.pack(one))).infolist()}
    assert dates == {(1980, 1, 1, 0, 0, 0)}, "the hour of packing is not content"


def test_objects_cannot_be_packed():
    with pytest.raises(ValueError, match="pickle"):
        files.pack({"a": np.array([object()])})


# --- NaN -----------------------------------------------------------------------------------


def test_a_fact_that_is_no_number_is_refused():
    """JSON has no NaN; Python would write one."""

    def train(config, checkpoint):
        return dataclasses.replace(TOY.train(config, checkpoint), facts={"parameters": np.nan})

    with pytest.raises(ValueError, match="JSON"):
        records.compute(dataclasses.replace(TOY, train=train), CONFIG)
    assert records.load("toy", CONFIG) is None


def test_a_poisoned_run_fails_and_its_neighbours_go_on(record):
    bad = records.compute(TOY, dataclasses.replace(CONFIG, poison=1))
    assert bad.failed.tolist() == [False, True, False]
    assert bad.failed_at.tolist() == [-1, 12, -1]  # epoch 3 of four steps each
    assert np.isnan(bad.metrics["loss"]).tolist() == [False, True, False]
    neighbours = [0, 2]
    np.testing.assert_array_equal(
        bad.metrics["loss"][neighbours], record.metrics["loss"][neighbours]
    )
    assert "1 of 3" in bad.provenance["status"]
    assert "NaN" not in bad.path.read_text()
    assert records.state_of(TOY, bad.config) == "failed"


def test_numbers_of_a_failed_run_are_void_even_if_finite():
    """A failed run keeps its last finite parameters; measuring them must not make it a result."""

    def train(config, checkpoint):
        outcome = TOY.train(config, checkpoint)
        return dataclasses.replace(outcome, metrics={"loss": [1.0, 2.0, 3.0]})

    experiment = dataclasses.replace(TOY, train=train)
    record = records.compute(experiment, dataclasses.replace(CONFIG, poison=1))
    np.testing.assert_array_equal(record.metrics["loss"], [1.0, np.nan, 3.0])


def test_all_runs_failed_is_a_record_too():
    config = ToyConfig(seeds=(1,), poison=1, epochs=6)
    record = records.compute(TOY, config)
    assert record.failed.tolist() == [True]
    assert records.load("toy", config).failed_at.tolist() == [12]


def test_whatever_is_asked_of_runs_that_all_failed_is_nan(record):
    failed = records.compute(TOY, ToyConfig(seeds=(1,), poison=1, epochs=6))
    assert list(failed.metrics) == []
    np.testing.assert_array_equal(failed.metrics["loss"], [np.nan])
    pooled = records.pooled([record, failed])
    np.testing.assert_array_equal(pooled["loss"], [*record.metrics["loss"], np.nan])
    np.testing.assert_array_equal(records.pooled([failed, failed])["loss"], [np.nan, np.nan])
    with pytest.raises(KeyError):  # a wrong name is still noticed
        record.metrics["lsos"]


def test_numbers_that_cannot_be_measured_fail_the_run():
    def train(config, checkpoint):
        outcome = TOY.train(config, checkpoint)
        return dataclasses.replace(outcome, metrics={"loss": [1.0, np.inf, 2.0]})

    record = records.compute(dataclasses.replace(TOY, train=train), CONFIG)
    assert record.failed_at.tolist() == [-1, UNMEASURED, -1]


# --- corruption ----------------------------------------------------------------------------


def edit(path, change):
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))


def truncate_json(record):
    record.path.write_bytes(record.path.read_bytes()[:-20])


def empty_json(record):
    record.path.write_bytes(b"")


def flip_json(record):
    data = record.path.read_bytes()
    record.path.write_bytes(data.replace(b'"epochs": 6', b'"epochs": 7', 1))


def edit_a_metric(record):
    edit(record.path, lambda d: d["metrics"]["loss"].__setitem__(0, 0.001))


def edit_provenance(record):
    edit(record.path, lambda d: d["provenance"].__setitem__("commit", "0" * 40))


def vouch_for_other_arrays(record):
    def change(document):
        document["arrays"]["sha256"] = "0" * 64
        document.pop("sha256")
        document["sha256"] = digest(document)

    edit(record.path, change)


def swap_config_and_checksum(record):
    def change(document):
        document["config"]["rate"] = 0.5
        document.pop("sha256")
        document["sha256"] = digest(document)

    edit(record.path, change)


def raise_numerics_and_checksum(record):
    """A stale record that was made to look like a present one, or the reverse."""

    def change(document):
        document["numerics"] += 1
        document.pop("sha256")
        document["sha256"] = digest(document)

    edit(record.path, change)


def rename_within(record):
    other = record_id("toy", ToyConfig(label=5, epochs=6))
    for suffix in (".json", ".npz"):
        source = record.path.with_suffix(suffix)
        source.with_name(other + suffix).write_bytes(source.read_bytes())


def not_a_record(record):
    record.path.write_text("[1, 2]")


def truncate_arrays(record):
    path = record.path.with_suffix(".npz")
    path.write_bytes(path.read_bytes()[:-1])


def flip_arrays(record):
    path = record.path.with_suffix(".npz")
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)


def lose_arrays(record):
    record.path.with_suffix(".npz").unlink()


CORRUPTIONS = [
    truncate_json,
    empty_json,
    flip_json,
    edit_a_metric,
    edit_provenance,
    vouch_for_other_arrays,
    swap_config_and_checksum,
    raise_numerics_and_checksum,
    not_a_record,
    truncate_arrays,
    flip_arrays,
    lose_arrays,
]


@pytest.mark.parametrize("corrupt", CORRUPTIONS)
def test_corruption_is_refused_by_load_and_named(record, corrupt):
    corrupt(record)
    with pytest.raises(CorruptFileError, match=record.id):
        records.load("toy", CONFIG)
    assert records.state_of(TOY, CONFIG) == "corrupt"


@pytest.mark.parametrize("corrupt", CORRUPTIONS)
def test_corruption_is_set_aside_and_trained_again(record, corrupt, caplog):
    corrupt(record)
    left = sorted(p.name for p in record.path.parent.iterdir())
    again = records.compute(TOY, CONFIG)
    np.testing.assert_array_equal(again.metrics["loss"], record.metrics["loss"])
    kept = sorted(p.name.partition(".corrupt-")[0] for p in record.path.parent.glob("*.corrupt-*"))
    assert kept == left, "both files are kept for whoever wants to know what happened"
    assert record.path.name in caplog.text


def test_a_record_under_another_name_is_refused(record):
    rename_within(record)
    with pytest.raises(CorruptFileError, match=record.id):
        records.load("toy", ToyConfig(label=5, epochs=6))


def test_objects_are_not_unpickled_even_if_the_checksums_are_right(record):
    """Whoever can write records must not run code on the machine of whoever reads them."""
    path = record.path.with_suffix(".npz")
    np.savez(path, a=np.array([object()]), allow_pickle=True)

    def change(document):
        document["arrays"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        document.pop("sha256")
        document["sha256"] = digest(document)

    edit(record.path, change)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        records.load("toy", CONFIG)


def test_an_edited_record_is_not_published(record, folders):
    edit_a_metric(record)
    with pytest.raises(CorruptFileError, match=record.id):
        files.publish(record.path, folders / "records" / "toy" / record.path.name)
    assert not (folders / "records").exists()


def test_rotten_arrays_are_not_published(record, folders):
    flip_arrays(record)
    with pytest.raises(CorruptFileError, match="expected the arrays"):
        files.publish(record.path, folders / "records" / "toy" / record.path.name)
    assert not (folders / "records").exists()


@pytest.mark.parametrize("moment", ["whole", "half"])
def test_a_record_that_is_being_replaced_is_the_new_one_or_none(record, monkeypatch, moment):
    """Between the reading of its JSON and of its arrays another process puts a new one there."""
    document, arrays = files.read_document(record.path), record.arrays
    honest, done = files.read_arrays, []

    def late(path, about):
        if not done:
            done.append(True)
            files.write(record.path, document, {**arrays, "new": np.ones(1)})
            if moment == "half":
                record.path.unlink()  # as it is before the new JSON is there
        return honest(path, about)

    monkeypatch.setattr("shooting.study.records.record.read_arrays", late)
    found = records.load("toy", CONFIG)
    assert done
    assert (found is None) if moment == "half" else ("new" in found.arrays)


def test_control_an_intact_record_is_not_refused(record):
    assert records.load("toy", CONFIG).id == record.id


def test_death_between_arrays_and_json_leaves_no_record(record, monkeypatch):
    """A fresh run that dies between its two files must not leave a mixed pair."""

    class Dead(BaseException):
        pass

    renamed = []
    original = os.replace

    def second_dies(source, target):
        renamed.append(target.suffix)
        if target.suffix == ".json":
            raise Dead
        original(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", second_dies)
        with pytest.raises(Dead):
            records.compute(TOY, CONFIG, fresh=True)
    assert renamed[-2:] == [".npz", ".json"]
    assert records.load("toy", CONFIG) is None
    assert records.compute(TOY, CONFIG).id == record.id


@pytest.mark.parametrize("full_at", [1, 2])
def test_a_full_disk_leaves_the_old_record_and_no_litter(record, monkeypatch, full_at):
    """Nothing is removed before all that replaces it is on disk."""
    asked = []
    target = store.folders()[1] / "toy" / f"{record.id}.json"
    before = records.compute(TOY, CONFIG, out=target.parents[1])

    def fsync(handle):
        asked.append(handle)
        if len(asked) == full_at:
            raise OSError(errno.ENOSPC, "No space left on device")

    document = files.read_document(target)
    with monkeypatch.context() as patch:
        patch.setattr(storage.os, "fsync", fsync)
        with pytest.raises(OSError, match="No space left"):
            files.write(target, document, {"new": np.ones(3)})
    assert records.read(target, CONFIG).id == before.id
    assert sorted(p.name for p in target.parent.iterdir()) == sorted(
        [target.name, target.with_suffix(".npz").name]
    )


def test_a_record_with_the_word_nan_is_corrupt(record):
    """JSON does not know it, Python's reader does."""
    text = record.path.read_text(encoding="utf-8")
    record.path.write_text(text.replace('"facts": {', '"facts": {"odd": NaN, ', 1), "utf-8")
    with pytest.raises(CorruptFileError, match="expected a record in"):
        records.load("toy", CONFIG)


# --- stale ---------------------------------------------------------------------------------


def test_stale_records_are_listed(folders, monkeypatch):
    config, out = TOY.grid("quick")[0], folders / "records"
    fresh = records.compute(TOY, config, out=out)
    assert records.stale("toy") == []
    other = records.compute(TOY, ToyConfig(label=77, epochs=6), out=out)
    assert records.stale("toy") == [other.path]
    monkeypatch.setattr("shooting.study.records.identity.NUMERICS", 10**6)
    assert set(records.stale("toy")) == {fresh.path, other.path}
    assert records.load("toy", config) is None, "a stale record must not be used"


# --- two processes -------------------------------------------------------------------------

PATIENCE = 240  # seconds for a process to start and import torch on a busy machine


def hold(path, ready):
    with lock(path):
        ready.send("ready")
        time.sleep(4 * PATIENCE)  # killed long before


@pytest.fixture
def elsewhere():
    """Another process that holds the lock of CONFIG."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=hold, args=(store.lock_path(TOY, CONFIG), there))
    process.start()
    assert here.poll(PATIENCE)
    yield process
    process.kill()
    process.join(PATIENCE)


def test_a_run_of_another_process_is_left_alone(elsewhere):
    assert records.state_of(TOY, CONFIG) == "running"
    with pytest.raises(BusyError, match="another process"):
        records.compute(TOY, CONFIG, wait=False)


def test_a_killed_process_leaves_no_lock(elsewhere):
    elsewhere.kill()
    elsewhere.join(PATIENCE)
    assert not is_locked(store.lock_path(TOY, CONFIG))
    assert records.compute(TOY, CONFIG, wait=False).id == record_id("toy", CONFIG)


def train_slowly(result, folder):
    def slow(config, checkpoint):
        with (folder / "trainings").open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.5)
        return TOY.train(config, checkpoint)

    record = records.compute(
        Experiment("toy", ToyConfig, TOY.grid, slow), ToyConfig(epochs=6), seconds=0
    )
    result.put(record.arrays["parameters"].tolist())


def test_two_processes_train_once_and_agree(folders):
    context = multiprocessing.get_context("spawn")
    result = context.Queue()
    both = [context.Process(target=train_slowly, args=(result, folders)) for _ in range(2)]
    for process in both:
        process.start()
    one, two = (result.get(timeout=PATIENCE) for _ in both)
    for process in both:
        process.join(PATIENCE)
    assert one == two
    assert len((folders / "trainings").read_text().split()) == 1
