"""How long notebooks take, as it is stored for the pages."""

from __future__ import annotations

import json

import measured

from tests.book.executed import executed


def test_times_are_those_of_notebooks(root):
    stored = json.loads((root / "book" / "times.json").read_text(encoding="utf-8"))
    assert set(stored["seconds"]) <= {p.stem for p in root.glob("notebooks/*.ipynb")}
    assert min(stored["seconds"].values()) > 0


def test_times_of_a_few_notebooks_leave_the_others(tmp_path):
    known = {"seconds": {"a": 1.0, "b": 2.0}, "date": "2026-01-01"}
    paths = [executed(tmp_path, "b", cpu_seconds=5.0), executed(tmp_path, "c")]
    found = measured.update(known, paths)
    assert found["seconds"] == {"a": 1.0, "b": 5.0}  # c carries no trace of an execution
    assert found["date"] == "2026-11-25"
