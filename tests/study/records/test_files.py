"""The two files of a record: packed alike, written or published as a pair or not at all."""

from __future__ import annotations

import errno
import io
import os
import zipfile

import numpy as np
import pytest
from toy import TOY

from shooting.study import records, storage
from shooting.study.records import files, store
from shooting.study.storage import CorruptFileError
from tests.study.records.handling import CONFIG, edit_a_metric, flip_arrays

pytestmark = pytest.mark.usefixtures("folders")


def test_packing_depends_on_content_alone():
    one, two = {"a": np.arange(3), "b/c": np.eye(2)}, {"b/c": np.eye(2), "a": np.arange(3)}
    assert files.pack(one) == files.pack(two)
    assert files.pack(one) != files.pack({**one, "a": np.arange(1, 4)})
    dates = {info.date_time for info in zipfile.ZipFile(io.BytesIO(files.pack(one))).infolist()}
    assert dates == {(1980, 1, 1, 0, 0, 0)}, "the hour of packing is not content"


def test_objects_cannot_be_packed():
    with pytest.raises(ValueError, match="pickle"):
        files.pack({"a": np.array([object()])})


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
