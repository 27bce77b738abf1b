"""The script that counts lines: every source belongs to one part, and fields need no file."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
import size


def test_every_source_is_counted_once(tracked):
    found = size.lines("HEAD")
    sums = size.table(found)
    assert sum(found.values()) == sums["library"] + sums["compiled"] + sums["study"]
    assert sums["library"] == sums["mathematics"] + sums["speed"] + sums["training"]


def test_no_source_of_the_library_is_counted_as_the_study(tracked):
    # __main__ hands over to the command line, which is the study's
    found = [p for p in size.lines("HEAD") if p.parts[1] not in ("study", "__main__.py")]
    assert len(found) > 30
    assert [str(p) for p in found if size.part(p) == "study"] == []


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("shooting/fields.py", "mathematics"),
        ("shooting/adjoint/merged.py", "speed"),
        ("shooting/native/solve.c", "compiled"),
        ("shooting/fit.py", "training"),
        ("shooting/study/cli.py", "study"),
        ("shooting/claims/rule.py", "study"),  # as it was called before
    ],
)
def test_a_source_belongs_to_a_part(path, part):
    assert size.part(PurePosixPath(path)) == part


def test_fields_need_no_file_and_a_solver_one():
    needed = {what: len(files) for what, files in size.additions().items()}
    assert needed == {
        "a dense field": 0,
        "a convolution": 0,
        "a solver": 1,
        "an experiment": 6,
    }
