"""The foot of a page: its commit, its profile, the runs behind it."""

from __future__ import annotations

import json
import re

import footer
import html_checks as checks

from shooting.study.records import files
from shooting.study.records.identity import NUMERICS
from tests.book.executed import executed


def test_every_page_says_where_it_comes_from(site):
    pages = [p for p in checks.pages(site) if p.parent.name in ("book", "notebooks")]
    feet = {p: checks.parse(p).select_one(".provenance") for p in pages}
    assert [str(p) for p, foot in feet.items() if foot is None] == []
    words = {p: foot.get_text(" ", strip=True) for p, foot in feet.items()}
    assert all(re.search(r"Built from (commit \w{7,} |sources)", text) for text in words.values())
    runs = [text for p, text in words.items() if p.parent.name == "notebooks"]
    assert all("profile quick" in text for text in runs)
    behind = re.compile(r"Behind this page: [\d,]+ training runs in \d+ records, 20")
    assert sum(bool(behind.search(text)) for text in runs) > 5
    # the committed records are those of the code as it is (test_committed_records.py)
    assert not any("not used" in text for text in runs)


def test_records_of_a_page_are_listed_by_id(root, site):
    page = checks.parse(site / "notebooks" / "13_circles.html").select_one(".provenance")
    stored = {p.stem for p in (root / "book" / "records" / "circles").glob("*.json")}
    assert {code.get_text() for code in page.select("details code")} == stored
    other = checks.parse(site / "notebooks" / "01_optimal_control.html")
    assert other.select(".provenance details") == []  # control: a page that reads none


COMMITTED = footer.RECORDS / "circles"


def document(name, *, day="2026-11-20", numerics=NUMERICS, runs=10):
    """A committed record with another day and number of runs."""
    whole = files.read_document(next(COMMITTED.glob("*.json")))
    moment = f"{day}T00:00:00+00:00"
    made = {**whole["provenance"], "started": moment, "ended": moment}
    none = {"metrics": {}, "early": [], "history": {"epochs": 0, "first": [], "last": []}}
    about = {"id": name, "numerics": numerics, "failed_at": [-1] * runs, "provenance": made}
    return {**whole, **none, **about}


def test_runs_are_counted_and_records_of_other_numerics_named(tmp_path, monkeypatch):
    (tmp_path / "circles").mkdir()
    for n, numerics in enumerate((NUMERICS, NUMERICS, NUMERICS - 1)):
        made = document(f"r{n}", day=f"2026-11-2{n}", numerics=numerics, runs=500)
        files.write(tmp_path / "circles" / f"r{n}.json", made, {})
    monkeypatch.setattr(footer, "RECORDS", tmp_path)
    text = footer.records(["circles"], "quick")
    assert (
        "1,500 training runs in 3 records, 2026-11-20 to 2026-11-22; records not used, since"
        in text
    )
    assert text.count("<code>") == 3
    (tmp_path / "circles" / "r2.json").unlink()
    footer.origins.cache_clear()
    text = footer.records(["circles"], "quick")
    assert "1,000 training runs in 2 records" in text
    assert f"made with the numerics of the code as it is (version {NUMERICS})." in text
    assert footer.records([], "quick") == ""
    footer.origins.cache_clear()


def test_a_full_page_counts_the_records_made_here_each_once_and_those_since_fresh(
    tmp_path, monkeypatch
):
    """Committed and local ones; make leaves the state folder to the package."""
    committed, local = tmp_path / "committed", tmp_path / "state" / "records"
    for folder, names in ((committed, "ab"), (local, "bc")):
        for day, name in enumerate(names, start=1):
            made = document(name, day=f"2026-11-0{day}")
            (folder / "circles").mkdir(parents=True, exist_ok=True)
            files.write(folder / "circles" / f"{name}.json", made, {})
    monkeypatch.setattr(footer, "RECORDS", committed)
    monkeypatch.setattr(footer, "state_folder", lambda: tmp_path / "state")

    def named(profile):
        footer.origins.cache_clear()
        return re.findall(r"<code>(\w)</code>", footer.records(["circles"], profile))

    assert named("paper") == ["a", "b", "c"]
    assert named("quick") == ["a", "b"]
    monkeypatch.setenv("FRESH", "2026-11-02")
    assert named("paper") == ["b", "c"]
    footer.origins.cache_clear()


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
