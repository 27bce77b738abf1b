"""Decisions: one short dated file each, all of them on one page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

NAME = re.compile(r"20\d\d-[01]\d-[0-3]\d-[a-z0-9]+(-[a-z0-9]+)*")
PARTS = ("**Context.** ", "**Decision.** ", "**Consequence.** ")


def complaints(path: Path) -> list[str]:
    """What is wrong with a decision; empty if it is short, dated and whole."""
    text = path.read_text(encoding="utf-8")
    found = [] if NAME.fullmatch(path.stem) else [f"name {path.stem}"]
    found += [] if len(re.findall(r"^# \S", text, re.MULTILINE)) == 1 else ["no single title"]
    found += [] if f"\n*{path.stem[:10]}" in text else ["no date"]
    starts = [text.find(f"\n{part}") for part in PARTS]
    found += [] if -1 not in starts and starts == sorted(starts) else ["parts"]
    found += [] if len(text.splitlines()) <= 15 and len(text) < 1800 else ["too long"]
    return found


@pytest.fixture(scope="module")
def files(root) -> list[Path]:
    return sorted((root / "book" / "decisions").glob("*"))


def test_every_decision_is_short_dated_and_whole(files):
    assert len(files) > 20
    assert {path.name: said for path in files if (said := complaints(path))} == {}


def test_the_page_includes_every_decision_newest_first(root, files):
    page = (root / "book" / "decisions.md").read_text(encoding="utf-8")
    included = re.findall(r"^```\{include\} decisions/(\S+)$", page, re.MULTILINE)
    assert included == sorted((path.name for path in files), reverse=True)


def test_what_is_superseded_says_when(files):
    dates = {path.stem[:10] for path in files}
    found = [re.search(r"superseded on (\S+)\*", p.read_text(encoding="utf-8")) for p in files]
    assert {match[1] for match in found if match} <= dates
    assert sum(match is not None for match in found) >= 2


def test_control_a_decision_without_parts_or_date_is_found(tmp_path):
    path = tmp_path / "2026-11-31-Draft.md"
    path.write_text("# One\n\n# Two\n\n**Context.** x\n" + "y\n" * 20)
    assert complaints(path) == ["name 2026-11-31-Draft", "no single title", "no date", "parts",
                                "too long"]  # fmt: skip


def test_the_built_page_has_them_all(site, files):
    """One page in the contents, with a heading for each."""
    html = (site / "book" / "decisions.html").read_text(encoding="utf-8")
    assert html.count("<h2>") >= len(files)
    assert html.count("<strong>Context.</strong>") == len(files)
