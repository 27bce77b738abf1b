"""Verdicts as HTML: what was found comes first, and no verdict without its counts."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from shooting.study.claims import tables
from shooting.study.claims.items import Item
from shooting.study.claims.registry import Claim, load_claims
from shooting.study.claims.rule import NOT_RUN, Part, Verdict, combine, compare

LOW = np.linspace(1, 2, 10)
YES, NO = compare("a < b", LOW, LOW + 3), compare("b < a", LOW + 3, LOW)
CLAIM = Claim("K1", "Fig. 2", "It is <low>.", tolerance="lower", page="notebooks/13_circles")
PARTLY = combine([YES, NO], found="It is 0.33 & lower.")
MISSING = Verdict(NOT_RUN, "3 records missing; make runs EXPERIMENT=circles")


def words(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_all_claims_with_what_was_found_before_the_verdict():
    html = tables.overview([(CLAIM, PARTLY), (CLAIM, MISSING)])
    assert "It is &lt;low&gt;." in html
    assert html.index("It is 0.33 &amp; lower.") < html.index("1 of 2 comparisons holds: partly")
    assert MISSING.reason in html
    assert '<a href="../notebooks/13_circles.html">K1</a></td>' in html


@pytest.mark.parametrize(
    ("declared", "mark"),
    [
        ({}, ""),
        ({"changed": "Other."}, "changed"),
        ({"changed": "Added.", "added": True}, "added later"),
    ],
)
def test_a_claim_changed_or_added_after_the_runs_is_marked(declared, mark):
    html = tables.overview([(replace(CLAIM, **declared), PARTLY)])
    marks = re.findall("</a><br><small>([^<]*)", html)
    assert marks == ([mark] if mark else [])


def test_claims_and_the_comparisons_of_those_that_hold_partly_are_counted():
    found = tables.tally(
        [(CLAIM, PARTLY), (CLAIM, PARTLY), (CLAIM, combine([YES])), (CLAIM, MISSING)]
    )
    statuses = {"reproduced": 1, "partly": 2, "not-reproduced": 0, "not-run": 1}
    assert found == {"claims": 4, **statuses, "held": 2, "compared": 4}


def test_no_page_says_partly_without_its_counts():
    html = tables.verdicts_of("10_regression")
    shown = re.findall(r'<span class="verdict">([^<]*)', html)
    mine = [c for c in load_claims() if c.page.endswith("10_regression")]
    assert len(shown) == len(mine)
    for text in shown:
        assert text == "not run" or re.match(
            r"(\d+ of \d+ comparisons holds?|one comparison): ", text
        )


def test_a_page_without_claims_is_refused():
    with pytest.raises(ValueError, match="expected a page with claims, got '01_x'"):
        tables.verdicts_of("01_x")


def test_comparisons_are_folded_with_criterion_effect_and_interval():
    html = tables.comparisons([(CLAIM, PARTLY), (CLAIM, MISSING)])
    assert html.count("<details>") == 1  # nothing to fold where nothing was run
    assert "<summary>K1: 1 of 2 comparisons holds: partly</summary>" in html
    named = tables.comparisons([(replace(CLAIM, short="is low"), PARTLY)])
    assert "<summary>K1, is low: 1 of 2" in named
    text = words(html)
    assert "Criterion: lower" in text
    assert "a &lt; b 1.5 / 4.5 10 / 10 3.00 [2.4" in text
    assert "1 of 2 comparisons holds: partly" in text


def test_single_runs_are_marked_and_rates_in_per_cent():
    one = Part("one", (2.0, 3.0), (1.0, 1.0), "reproduced", (1, 1))
    rate = Part("rate", (0.1, 0.04), (0.043, 0.214), "reproduced", (50, 0), is_rate=True)
    assert tables.effect(one) == "1.50, one run"
    assert tables.effect(rate) == "10 % [4.3, 21.4]"


def test_an_item_sums_up_the_comparisons_of_its_claims():
    item = Item("fig-2", "figure", "Fig. 2", "losses", claims=("K1", "K2"))
    judged = {"K1": PARTLY, "K2": combine([YES])}
    assert tables.of_item(item, judged) == "2 of 3 comparisons hold: 1 reproduced, 1 partly"
    none = Item("eq-1", "equation", "Eq. 1", "a sum", status="holds")
    assert tables.of_item(none, judged) == "holds"
    assert tables.of_item(item, dict.fromkeys(("K1", "K2"), MISSING)) == "not run"


def test_changes_are_listed():
    html = tables.changes([CLAIM, Claim("K2", "x", "y", changed="Added, because.")])
    assert html == '<ul class="changes"><li><b>K2</b>: Added, because.</li></ul>'
