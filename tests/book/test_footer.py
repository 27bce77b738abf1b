"""The foot of a page: its commit, its profile, the records it has read."""

from __future__ import annotations

import json
import re

import footer
import html_checks as checks

from shooting.study.records import files
from tests.book.executed import executed


def test_every_page_says_where_it_comes_from(site):
    pages = [p for p in checks.pages(site) if p.parent.name in ("book", "notebooks")]
    feet = {p: checks.parse(p).select_one(".provenance") for p in pages}
    assert [str(p) for p, foot in feet.items() if foot is None] == []
    words = {p: foot.get_text(" ", strip=True) for p, foot in feet.items()}
    assert all(re.search(r"Built from (commit \w{7,} |sources)", text) for text in words.values())
    runs = [text for p, text in words.items() if p.parent.name == "notebooks"]
    assert all("profile quick" in text for text in runs)
    assert sum(" records of circles, trained 20" in text for text in runs) >= 2


def test_records_of_a_page_are_listed_by_id(root, site):
    page = checks.parse(site / "notebooks" / "12_circles.html").select_one(".provenance")
    stored = {p.stem for p in (root / "book" / "records" / "circles").glob("*.json")}
    assert {code.get_text() for code in page.select("details code")} == stored
    other = checks.parse(site / "notebooks" / "01_optimal_control.html")
    assert other.select(".provenance details") == []  # control: a page that reads none


def test_stale_records_are_counted(tmp_path, monkeypatch):
    folder = tmp_path / "circles"
    folder.mkdir()
    for n, source in enumerate(("now", "now", "before")):
        made = {"ended": f"2026-11-2{n}T00:00:00", "source": source}
        files.write(folder / f"r{n}.json", {"id": f"r{n}", "provenance": made}, {})
    monkeypatch.setattr(footer, "RECORDS", tmp_path)
    monkeypatch.setattr(footer, "is_present", lambda source: source == "now")
    text = footer.records(["circles"], "quick")
    assert "3 records of circles, trained 2026-11-20 to 2026-11-22, 1 of them before" in text
    assert footer.records(["circles"], "quick").count("<code>") == 3
    assert footer.records([], "quick") == ""


def test_a_full_page_counts_the_records_made_here_each_once_and_those_since_fresh(
    tmp_path, monkeypatch
):
    """Committed and local ones; make leaves the state folder to the package."""
    committed, local = tmp_path / "committed", tmp_path / "state" / "records"
    for folder, names in ((committed, "ab"), (local, "bc")):
        for day, name in enumerate(names, start=1):
            moment = f"2026-11-0{day}T00:00:00+00:00"
            made = {"started": moment, "ended": moment, "source": "now"}
            document = {"id": name, "provenance": made}
            (folder / "circles").mkdir(parents=True, exist_ok=True)
            files.write(folder / "circles" / f"{name}.json", document, {})
    monkeypatch.setattr(footer, "RECORDS", committed)
    monkeypatch.setattr(footer, "state_folder", lambda: tmp_path / "state")

    def named(profile):
        footer.provenance.cache_clear()
        return re.findall(r"<code>(\w)</code>", footer.records(["circles"], profile))

    assert named("paper") == ["a", "b", "c"]
    assert named("quick") == ["a", "b"]
    monkeypatch.setenv("FRESH", "2026-11-02")
    assert named("paper") == ["b", "c"]
    footer.provenance.cache_clear()


def test_an_execution_is_dated_and_a_stored_output_is_not(tmp_path):
    stamp = {"name": "abc1234", "date": "2026-11-25", "dirty": True}
    path = executed(tmp_path, "x", cpu_seconds=1.0, commit=stamp)
    fresh = json.loads(path.read_text(encoding="utf-8"))
    text = footer.outputs(fresh, "x.ipynb")
    assert "executed on 2026-11-25 10:00 UTC from commit <code>abc1234</code> with" in text
    stored = {"metadata": {}, "cells": [{"source": 'profile = "quick"\n', "cell_type": "code"}]}
    assert "profile <code>quick</code>, as stored in" in footer.outputs(stored, "x.ipynb")
    fresh["metadata"]["papermill"]["parameters"]["profile"] = "paper"
    assert "<code>paper</code>" in footer.outputs(fresh, "x.ipynb")
