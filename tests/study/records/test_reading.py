"""A record that is not what was written is refused, by name, or set aside."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from toy import TOY, ToyConfig

from shooting.study import records
from shooting.study.records.identity import digest, record_id
from shooting.study.storage import CorruptFileError
from tests.study.records.handling import CONFIG, edit, edit_a_metric, flip_arrays, truncate_json

pytestmark = pytest.mark.usefixtures("folders")


def empty_json(record):
    record.path.write_bytes(b"")


def flip_json(record):
    data = record.path.read_bytes()
    record.path.write_bytes(data.replace(b'"epochs": 6', b'"epochs": 7', 1))


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


def test_nothing_recorded_is_none():
    assert records.load("toy", CONFIG) is None


def test_control_an_intact_record_is_not_refused(record):
    assert records.load("toy", CONFIG).id == record.id


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


def test_a_record_with_the_word_nan_is_corrupt(record):
    """JSON does not know it, Python's reader does."""
    text = record.path.read_text(encoding="utf-8")
    record.path.write_text(text.replace('"facts": {', '"facts": {"odd": NaN, ', 1), "utf-8")
    with pytest.raises(CorruptFileError, match="expected a record in"):
        records.load("toy", CONFIG)
