"""Printing a page from the browser: what is folded is on the paper, and folded again afterwards."""

from __future__ import annotations

import pytest

from tests.browser.visit import Visit

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PAGE = "notebooks/04_updown.html"
CLOSED = "() => document.querySelectorAll('details:not(.hide, [open])').length"
CODE = "() => document.querySelectorAll('details.hide[open]').length"
# The browser prints what it finds after the last of these.
LISTEN = f"""() => addEventListener('beforeprint', () => {{
    window.printed = [({CLOSED})(), ({CODE})()];
}})"""
PRINTED = "() => window.printed"


@pytest.fixture
def page(browser, address):
    opened = Visit(browser, f"{address}/{PAGE}").page
    yield opened
    opened.close()


def test_proofs_and_solutions_are_on_paper(page):
    before = page.evaluate(CLOSED)
    assert before > 5
    page.evaluate("() => { document.querySelector('details:not(.hide)').open = true; }")
    page.evaluate(LISTEN)
    page.pdf()
    assert page.evaluate(PRINTED) == [0, 0]  # code that the page folds is left out, as in the PDF
    # what the reader had opened stays open
    page.wait_for_function(f"() => ({CLOSED})() === {before - 1}", polling=20)


def test_control_without_the_script_they_stay_folded(browser, address):
    context = browser.new_context()
    context.route("**/print.js*", lambda route: route.abort())
    bare = context.new_page()
    bare.goto(f"{address}/{PAGE}", wait_until="load")
    bare.evaluate(LISTEN)
    bare.pdf()
    assert bare.evaluate(PRINTED)[0] > 5
    context.close()


CARDS = """() => [...document.querySelectorAll('.findings .sd-card-text')].map(p => [
    getComputedStyle(p).display,
    p.scrollWidth <= p.clientWidth,
    p.scrollHeight <= p.clientHeight,
])"""


@pytest.mark.parametrize("width", [390, 768, 1400])
def test_the_words_of_a_card_are_one_paragraph(browser, address, width):
    page = Visit(browser, f"{address}/book/index.html").page
    page.set_viewport_size({"width": width, "height": 900})
    found = page.evaluate(CARDS)
    assert len(found) >= 8
    assert all(card == ["block", True, True] for card in found)
    page.add_style_tag(content=".findings .sd-card-text { display: flex; height: 1rem }")  # control
    assert not any(card == ["block", True, True] for card in page.evaluate(CARDS))
    page.close()
