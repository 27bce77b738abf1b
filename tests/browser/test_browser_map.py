"""The paper-to-book map in a browser: one click to a figure, and a box that sifts the rows."""

from __future__ import annotations

import pytest

from tests.browser.visit import Visit

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROWS = """() => [...document.querySelectorAll('table.texts tbody tr')]
    .filter(row => row.offsetParent).map(row => row.cells[0].textContent)"""


@pytest.fixture
def opened(browser, address):
    visit = Visit(browser, f"{address}/notebooks/41_map.html")
    yield visit.page
    visit.page.close()


def test_the_box_shows_only_matching_rows(opened):
    every = opened.evaluate(ROWS)
    assert len(every) > 120
    box = opened.get_by_label("Find")
    box.fill(" Figure 3 ")
    assert set(opened.evaluate(ROWS)) < set(every)
    assert opened.evaluate(ROWS)[0] == "Figure 3"
    box.fill("no such thing")  # control: nothing matches
    assert opened.evaluate(ROWS) == []
    box.fill("")
    assert opened.evaluate(ROWS) == every


def test_one_click_leads_to_the_figure(opened):
    opened.get_by_role("link", name="Figure 2", exact=True).click()
    opened.wait_for_url("**/10_regression.html#fig-fig2")
    assert opened.locator("#fig-fig2 img:visible").count() == 1


def test_the_search_finds_the_map(browser, address):
    visit = Visit(browser, f"{address}/search.html?q=Figure+3")
    visit.page.locator('#search-results li a[href*="41_map"]').first.wait_for()
    visit.page.close()
