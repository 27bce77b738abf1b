"""The front page: findings with numbers, routes, verdicts as the claims count them, times."""

from __future__ import annotations

import json
import re
from collections import Counter

import front as numbers
import html_checks as checks
import measured
import pytest

from shooting.study.claims import judge_all

ROWS = {
    "reproduced": "reproduced",
    "partly": "partly",
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
    cell = next(row for row in page("tr") if row.get_text(" ", strip=True).startswith("partly"))
    cell("td")[1].string = str(verdicts["partly"] + 1)
    assert counted(page) != {name: verdicts[name] for name in ROWS.values()}


def findings(front) -> list[tuple[str, str, bool, str]]:
    """Of each card: title, text, whether it has a thumbnail, and where it leads."""
    return [
        (
            card.select_one(".sd-card-title").get_text(" ", strip=True),
            " ".join(p.get_text(" ", strip=True) for p in card.select("p.sd-card-text")),
            card.select_one("figure.thumb img") is not None,
            card.select_one("a.sd-stretched-link")["href"],
        )
        for card in front.select(".findings .sd-card")
    ]


def test_findings_are_numbered_and_each_has_a_number_a_picture_and_a_link(front):
    cards = findings(front)
    assert 6 <= len(cards) <= 8
    assert [int(title.split()[0]) for title, *_ in cards] == [*range(1, len(cards) + 1)]
    assert all(re.search(r"\d", text) and drawn for _, text, drawn, _ in cards)
    assert len({link for *_, link in cards}) == len(cards)
    assert max(len(text.split()) for _, text, *_ in cards) <= 45  # one sentence
    one = front.select_one(".findings .sd-card")  # control
    bare = checks.BeautifulSoup(f'<div class="findings">{one}</div>', "html.parser")
    bare.figure.decompose()
    assert not findings(bare)[0][2]


def test_a_link_of_a_card_says_what_was_found_and_where_it_leads(front):
    """To those who hear a page, a list of its links gives these words alone."""
    for card in front.select(".findings .sd-card"):
        title = card.select_one(".sd-card-title").get_text(" ", strip=True).partition(" · ")[2]
        said = card.select_one("a.sd-stretched-link").get_text(" ", strip=True)
        assert said.startswith(f"{title}: ")
        assert len(said) > len(title) + 5


def test_the_routes_have_three_links_each(front):
    routes = front.select(".routes .sd-card")
    assert [r.select_one(".sd-card-title").text.strip() for r in routes] == [
        "Read",
        "Teach",
        "Audit",
    ]
    assert [len(r.select("li a")) for r in routes] == [3, 3, 3]


def test_a_lecture_is_two_clicks_away(front, site):
    (course,) = {a["href"] for a in front.select(".routes a") if "learning.html" in a["href"]} - {
        a["href"] for a in front.select(".routes a") if "#" in a["href"]
    }
    page = checks.parse(site / "book" / course).find("article")
    assert page.select('a[href="#lecture-3"]')
    assert page.select_one("#lecture-3") is not None


def test_what_fifteen_particles_and_five_blocks_need(front):
    found = numbers.comparison()
    text = findings(front)[0][1]
    for name in ("few", "many"):
        assert found[name]["count"] in text
        assert found[name]["loss"] in text
    assert float(found["few"]["loss"]) < float(found["many"]["loss"])


def test_control_a_missing_record_is_called_so():
    assert numbers._loss(None)["loss"] == "(not run)"


def test_front_page_says_what_was_measured(front, root):
    stored = json.loads((root / "book" / "times.json").read_text(encoding="utf-8"))
    text = front.get_text()
    for words in measured.substitutions(stored).values():
        assert words.replace("`", "") in text
    half = stored | {"seconds": {k: v / 2 for k, v in stored["seconds"].items()}}
    assert measured.substitutions(half)["longest_time"].replace("`", "") not in text  # control
