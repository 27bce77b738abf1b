"""The diagram of relations is what its script draws, and its words fit."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import relations


def test_the_diagram_is_what_the_script_draws():
    committed = relations.TARGET.read_text(encoding="utf-8")
    assert relations.picture() == committed, "run python book/_tools/relations.py"


def test_it_takes_the_colours_of_the_page():
    assert set(re.findall(r'(?:fill|stroke)="(.*?)"', relations.picture())) == {"currentColor"}


def words_fit(node: relations.Node) -> bool:
    letters = max(8 * len(node.name), relations.LETTER * len(node.below))  # bold ones are wider
    return letters <= relations.BOX[0]


def test_words_fit_into_their_boxes():
    assert [n.name for n in relations.NODES.values() if not words_fit(n)] == []
    long = replace(relations.NODES["node"], name="a name that is much too long")
    assert not words_fit(long)  # control


def test_every_edge_joins_two_boxes():
    for edge in relations.EDGES:
        assert {edge.start, edge.end} <= set(relations.NODES)
    with pytest.raises(KeyError):  # control
        relations._edge(replace(relations.EDGES[0], end="nowhere"))


def test_every_name_is_in_the_table_below(root):
    text = (root / "book" / "related.md").read_text(encoding="utf-8").lower()
    names = [part for n in relations.NODES.values() for part in n.name.lower().split(", ")]
    assert [n for n in names if n.removesuffix(" nets") not in text] == []
