"""The manifest names every record that changed since it was written."""

from __future__ import annotations

import json
import subprocess
import time

import pytest
from toy import TOY, ToyConfig

from shooting.study import records
from shooting.study.cli import main
from shooting.study.records import manifest
from shooting.study.records.identity import digest, record_id
from shooting.study.storage import CorruptFileError

pytestmark = pytest.mark.usefixtures("folders")
RUN = ("run", "--experiment", "toy", "--profile", "quick", "--out")


def forge(path):
    """Another number, its checksum made anew."""
    document = json.loads(path.read_bytes())
    document["metrics"]["loss"][0] *= 0.5
    document.pop("sha256")
    document["sha256"] = digest(document)
    path.write_text(json.dumps(document))


@pytest.fixture
def kept(tmp_path):
    """A folder of two records with a manifest."""
    folder = tmp_path / "kept"
    for label in range(2):
        records.compute(TOY, ToyConfig(label=label, epochs=6), out=folder)
    manifest.keep(folder, [])
    return folder


def test_a_forged_record_is_named_without_training(kept, capsys):
    path = kept / "toy" / f"{record_id('toy', ToyConfig(epochs=6))}.json"
    assert manifest.changes(kept) == []
    assert main(["status", "--experiment", "toy", "--out", str(kept)]) == 0
    forge(path)
    assert records.read(path, ToyConfig(epochs=6))  # the control: its own checksum says nothing
    assert manifest.changes(kept) == [f"toy/{path.name} was changed since it was written"]
    assert main(["status", "--experiment", "toy", "--out", str(kept)]) == 1
    assert f"changed: toy/{path.name}" in capsys.readouterr().out


def test_recording_adds_what_it_wrote_and_nothing_else(kept, capsys):
    first, second = (f"toy/{record_id('toy', ToyConfig(label=i, epochs=6))}.json" for i in (0, 1))
    forge(kept / first)
    (kept / second).unlink()
    assert main([*RUN, str(kept)]) == 0
    assert manifest.changes(kept) == [f"{first} was changed since it was written"]


def test_removed_and_unlisted_records_are_named(kept):
    name = f"toy/{record_id('toy', ToyConfig(epochs=6))}.json"
    (kept / name).rename(kept / "toy" / "0123.json")
    assert manifest.changes(kept) == [
        "toy/0123.json is not in the manifest",
        f"{name} was removed since it was written",
    ]


def test_the_commit_that_added_a_record(kept):
    git = ["git", "-C", str(kept), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "toy"], ["commit", "-q", "-m", "records"]):
        subprocess.run([*git, *words], check=True)
    manifest.keep(kept, [])
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    commits = {entry["commit"] for entry in manifest.read(kept).values()}
    assert commits == {head.stdout[:12]}


@pytest.mark.parametrize("data", [b"[]", b"{", b'{"a": 1}', b"[" * 100_000])
def test_another_file_in_its_place_is_refused(kept, data):
    (kept / manifest.NAME).write_bytes(data)
    with pytest.raises(CorruptFileError, match=manifest.NAME):
        manifest.changes(kept)


def test_the_committed_manifest_holds(root):
    folder, begun = root / "book" / "records", time.monotonic()
    assert len(manifest.read(folder)) >= 376
    assert manifest.changes(folder) == []
    assert time.monotonic() - begun < 5  # the promise; 0.2 s on the machine that wrote this
