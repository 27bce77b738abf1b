"""Every environment variable that the package reads stands in one table, and is read in one way."""

from __future__ import annotations

import re
from pathlib import Path

import shooting
from shooting.study import paths

SOURCES = sorted(Path(shooting.__file__).parent.rglob("*.py"))
READ = re.compile(r"\b(?:variable|count|cache_folder)\(\s*[\"']([A-Z_]+)[\"']")
BY_HAND = re.compile(r"\b(?:environ|getenv)\b")
EXCEPT = {"environment.py", "__main__.py"}  # the one place, and what runs before any import


def listed() -> set[str]:
    """The first column of the table."""
    return set(re.findall(r"^``([A-Z_]+)``", paths.__doc__ or "", re.MULTILINE))


def test_the_table_has_every_variable_that_is_read():
    found = {name for path in SOURCES for name in READ.findall(path.read_text(encoding="utf-8"))}
    assert {"FRESH", "SHOOTING_STATE", "SHOOTING_ROUTE", "CC"} <= found
    assert found | {"OMP_NUM_THREADS"} == listed()


def test_variables_are_read_in_one_place():
    by_hand = {p.name for p in SOURCES if BY_HAND.search(p.read_text(encoding="utf-8"))}
    assert by_hand == EXCEPT


def test_control_other_ways_of_reading_are_found():
    assert READ.findall('count("NEW_ONE") or variable(\n    "OTHER"\n)') == ["NEW_ONE", "OTHER"]
    assert BY_HAND.search('os.environ["HOME"]')
    assert BY_HAND.search('os.getenv("HOME")')
