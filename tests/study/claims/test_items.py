"""The list of the paper's items is complete and sound, and the pages made from it say so."""

import re
from dataclasses import replace

import pytest

from shooting.study.claims import items, links, load_claims
from shooting.study.claims.items import COUNTS, STATUSES, Item, complaints, load_items
from shooting.study.figures.paper import FIGURES, TABLES

CLAIMS = [c.id for c in load_claims()]
LABELS = {  # every numbered equation, and every statement, by name: counting alone would not do
    "equation": [f"(1.{k})" for k in (1, 2)]
    + [f"(3.{k})" for k in range(1, 10)]
    + [f"(A.{k})" for k in range(1, 8)]
    + ["(D.1)", "(D.2)"],
    "figure": [f"Figure {k}" for k in range(1, 12)],
    "statement": ["Theorem 1", "Theorem 2", "Corollary 3", "Remark 4"]
    + ["Lemma 5", "Lemma 6", "Proposition 7"],
    "footnote": [f"Footnote {k}" for k in range(1, 6)],
}


@pytest.fixture(scope="module")
def errata(root):
    return (root / "book" / "errata.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def listed():
    return load_items()


def test_the_list_is_complete(listed, errata):
    assert complaints(listed, CLAIMS, errata) == []
    assert {i.number for i in listed if i.number} == {f"K{k}" for k in range(1, 28)}


@pytest.mark.parametrize("kind", LABELS)
def test_each_numbered_thing_is_listed_under_its_number(listed, kind):
    assert [i.place for i in listed if i.kind == kind] == LABELS[kind]


def test_control_a_broken_list_is_refused(listed, errata):
    def broken(change):
        return complaints([replace(listed[0], **change), *listed[1:]], CLAIMS, errata)

    assert complaints(listed[1:], CLAIMS, errata) == ["19 of kind equation, expected 20"]
    assert "2 items named eq-1.2" in broken({"id": "eq-1.2"})
    assert broken({"claims": ("K99",)})
    assert broken({"errata": ("E99",)}) == ["eq-1.1: no correction E99"]
    assert broken({"status": "fine"})
    assert broken({"status": ""})
    assert broken({"see": ()}) == ["eq-1.1: neither a page nor a reason"]
    assert broken({"status": "not here"}) == ["eq-1.1: neither a page nor a reason"]
    assert complaints(listed, [*CLAIMS, "K99"], errata) == ["claim K99 belongs to no item"]
    assert set(COUNTS) == {i.kind for i in listed}
    assert {i.status for i in listed} - {""} <= set(STATUSES)


def test_every_address_exists(listed):
    addresses = [links.address(place) for item in listed for place in item.see]
    assert len(addresses) > 100
    assert all(a.startswith(("../notebooks/", "../book/")) for a in addresses)


def test_every_command_exists(listed, root):
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    targets = {*re.findall(r"^([\w-]+):", makefile, re.MULTILINE), *FIGURES, *TABLES}
    commands = [i.command.split() for i in listed if i.command]
    assert {c[0] for c in commands} == {"make"}
    assert {c[1] for c in commands} <= targets
    assert "fig99" not in targets
    # and each figure that can be redrawn is offered
    assert {*FIGURES, *TABLES} <= {c[1] for c in commands}


def test_runs_select_something(listed):
    wanted = [items.cost(i) for i in listed if i.runs]
    assert all(0 <= c.recorded <= c.wanted > 0 for c in wanted)
    assert items.cost(listed[0]) is None
    with pytest.raises(AttributeError):
        items.cost(replace(listed[0], runs={"experiment": "circles", "colour": ["red"]}))


def test_claims_decide_where_there_are_any():
    item = Item("claim-K5", "claim", "here", "what", status="open")
    assert item.judged_by(["K5a", "K5b-released", "K50", "K15"]) == ["K5a", "K5b-released"]
    assert item.verdict({"K5a": "reproduced", "K6": "partly"}) == "reproduced"
    assert item.verdict({"K6": "partly"}) == "open"
    assert items.summary(["partly", "reproduced", "partly"]) == "1 reproduced, 2 partly"
