"""What a notebook shows below a figure names every record, its commit and its command."""

from __future__ import annotations

import dataclasses

import pytest
from bs4 import BeautifulSoup
from toy import TOY, ToyConfig

from shooting.study import records
from shooting.study.records.source_table import COLUMNS, source_table


@pytest.fixture
def made(folders):
    configs = [ToyConfig(epochs=6), ToyConfig(epochs=6, label=1, poison=2)]
    return [records.compute(TOY, config) for config in configs]


def test_every_record_has_a_row(made):
    page = BeautifulSoup(source_table(made)._repr_html_(), "html.parser")
    rows = [[c.text for c in row.find_all("td")] for row in page.find_all("tr")[1:]]
    assert [row[0] for row in rows] == [record.id for record in made]
    assert all(len(row) == len(COLUMNS) for row in rows)
    assert rows[1][1] == "label=1 epochs=6 poison=2"
    assert [row[3] for row in rows] == ["0", "1"]
    assert page.find("details").find("summary").text == "The 2 records behind this"
    assert "python -m shooting run --experiment toy" in page.find("pre").text


def test_a_row_says_how_long_and_by_which_route(made):
    about = {**made[0].provenance, "wall_seconds": 90.0, "route": "by hand"}
    html = source_table([dataclasses.replace(made[0], provenance=about)])._repr_html_()
    (row,) = BeautifulSoup(html, "html.parser").find_all("tr")[1:]
    texts = [c.text for c in row.find_all("td")]
    assert "1.5" in texts  # minutes
    assert any(text.endswith(", by hand") for text in texts)


def test_changes_beyond_the_commit_are_said(made):
    about = {**made[0].provenance, "commit": "a" * 40, "dirty": True}
    html = source_table([dataclasses.replace(made[0], provenance=about)])._repr_html_()
    assert "aaaaaaaaaa with changes" in html


def test_text_is_escaped(made):
    about = {**made[0].provenance, "processor": "<b>fast</b>"}
    html = source_table([dataclasses.replace(made[0], provenance=about)])._repr_html_()
    assert "<b>" not in html
