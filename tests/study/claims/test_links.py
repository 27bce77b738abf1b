"""Addresses of labels on the pages, and the tables that show them."""

import json

import pytest

from shooting.study.claims import links


def test_control_a_wrong_address_is_refused():
    with pytest.raises(LookupError, match="expected a label of 02_shooting"):
        links.address("02_shooting#thm-no-such")
    with pytest.raises(FileNotFoundError):
        links.address("99_nowhere")


def test_undrawn_figures_lead_to_what_stands_before_them(tmp_path, monkeypatch):
    def cell(kind, source, name="", outputs=()):
        figure = {"mystnb": {"figure": {"name": name}}} if name else {}
        return {"cell_type": kind, "source": [source], "metadata": figure, "outputs": outputs}

    drawn = [{"data": {"image/png": ""}}]
    cells = [
        cell(
            "markdown",
            "# Page\n\n(sec-y)=\n## The part's *end*\n```{math}\n:label: eq-x\n```\n"
            "````{prf:theorem} Its name\n:label: thm-z\n````",
        ),
        cell("code", "", "fig-drawn", drawn),
        cell("code", "", "fig-missing"),
    ]
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "p.ipynb").write_text(json.dumps({"cells": cells}))
    monkeypatch.setattr(links, "CHECKOUT", tmp_path)
    assert {name: mark.anchor for name, mark in links.anchors("p").items()} == {
        "page": "page",
        "the-part-s-end": "the-part-s-end",
        "eq-x": "equation-eq-x",
        "sec-y": "sec-y",
        "thm-z": "thm-z",
        "fig-drawn": "fig-drawn",
        "fig-missing": "thm-z",
    }
    assert links.links(["p#eq-x", "p#thm-z"]) == (
        'Page: <a href="../notebooks/p.html#equation-eq-x">equation</a>, '
        '<a href="../notebooks/p.html#thm-z">Its name</a>'
    )


def test_tables_escape_nothing_twice_and_have_a_name():
    html = links.table(("a & b",), [(links.badge("x < y"),)], name="t")
    assert 'id="t"' in html
    assert "a &amp; b" in html
    assert '<span class="verdict">x &lt; y</span>' in html
