"""The front page: it counts verdicts as the claims do, and says what was measured."""

from __future__ import annotations

import json
from collections import Counter

import html_checks as checks
import measured
import pytest

from shooting.study.claims import judge_all

ROWS = {
    "reproduced": "reproduced",
    "in part": "partly",
    "not reproduced": "not reproduced",
    "not run, because records are missing": "not run",
}


@pytest.fixture(scope="module")
def front(site):
    return checks.parse(site / "book" / "index.html").find("article")


def counted(front) -> dict[str, int]:
    rows = [[c.get_text(" ", strip=True) for c in row("td")] for row in front("tr")]
    return {ROWS[row[0]]: int(row[1]) for row in rows if row and row[0] in ROWS}


def test_front_page_counts_verdicts_as_the_claims_do(front):
    verdicts = Counter(verdict.status for _, verdict in judge_all())
    assert counted(front) == {name: verdicts[name] for name in ROWS.values()}
    assert f"We give {sum(verdicts.values())} verdicts" in front.get_text()


def test_control_a_count_that_was_typed_is_noticed(front):
    verdicts = Counter(verdict.status for _, verdict in judge_all())
    page = checks.BeautifulSoup(str(front), "html.parser")
    cell = next(row for row in page("tr") if row.get_text(" ", strip=True).startswith("in part"))
    cell("td")[1].string = str(verdicts["partly"] + 1)
    assert counted(page) != {name: verdicts[name] for name in ROWS.values()}


def test_front_page_says_what_was_measured(front, root):
    stored = json.loads((root / "book" / "times.json").read_text(encoding="utf-8"))
    text = front.get_text()
    for words in measured.substitutions(stored).values():
        assert words.replace("`", "") in text
    half = stored | {"seconds": {k: v / 2 for k, v in stored["seconds"].items()}}
    assert measured.substitutions(half)["longest_time"].replace("`", "") not in text  # control
