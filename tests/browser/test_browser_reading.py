"""Reading with the keyboard alone, and the moving picture of the opening, in a real browser."""

from __future__ import annotations

import pytest

from tests.browser.visit import Visit

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PAGE = "notebooks/13_circles.html"
FOCUSED = "() => document.activeElement.textContent.trim()"
IN_ARTICLE = "() => document.activeElement.closest('article') !== null"
ON_CODE = "() => document.activeElement.matches('details.hide > summary')"
ON_THEME = "() => document.activeElement.matches('.theme-switch-button')"
KEYS = 80  # the longest way: the sidebar's list of chapters comes before the page


def tab_until(page, condition: str, keys: int = KEYS) -> bool:
    """Press Tab until the focus is where it should be; whether it got there."""
    for _ in range(keys):
        page.keyboard.press("Tab")
        if page.evaluate(condition):
            return True
    return False


@pytest.fixture
def page(browser, address):
    opened = Visit(browser, f"{address}/{PAGE}").page
    yield opened
    opened.close()


def test_first_key_offers_to_skip_to_the_content(page):
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED) == "Skip to main content"
    page.keyboard.press("Enter")
    assert page.url.endswith("#main-content")
    assert tab_until(page, IN_ARTICLE, keys=6)  # the few buttons above the text


def test_a_folded_cell_opens_by_keyboard(page):
    assert tab_until(page, ON_CODE)
    assert not page.evaluate("() => document.activeElement.parentElement.open")
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.parentElement.open")


def test_formulas_are_no_stops_on_the_way(page):
    """A page has hundreds; MathJax would make each a stop of the Tab key."""
    assert page.locator("mjx-container").count() > 20
    assert page.locator("mjx-container[tabindex='0']").count() == 0


def test_light_and_dark_are_reached_by_keyboard(page):
    before = page.evaluate("() => document.documentElement.dataset.mode")
    assert tab_until(page, ON_THEME)
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.documentElement.dataset.mode") != before


def test_control_what_the_keyboard_cannot_reach_is_noticed(page):
    page.evaluate("() => document.querySelectorAll('summary').forEach(e => { e.tabIndex = -1; })")
    assert not tab_until(page, ON_CODE)


# --- the moving picture --------------------------------------------------------------------

SEEN = """() => ['.moves', '.still'].map(name =>
    getComputedStyle(document.querySelector('.moving ' + name)).display !== 'none')"""
# Where the last large dot is drawn at some second of the film.
PLACE = """([name, second]) => {
    const drawing = document.querySelector('.moving ' + name);
    drawing.setCurrentTime(second);
    const dot = [...drawing.querySelectorAll('circle[r="7"]')].at(-1).getBoundingClientRect();
    return [Math.round(dot.x), Math.round(dot.y)];
}"""


@pytest.fixture
def opening(browser, address):
    opened = Visit(browser, f"{address}/notebooks/00_opening.html").page
    yield opened
    opened.close()


def test_the_picture_moves(opening):
    assert opening.evaluate(SEEN) == [True, False]
    assert opening.evaluate(PLACE, [".moves", 0.1]) != opening.evaluate(PLACE, [".moves", 5])


def test_a_reader_can_stop_it(opening):
    opening.get_by_label("hold still").check()
    assert opening.evaluate(SEEN) == [False, True]
    # control: the still does not move
    assert opening.evaluate(PLACE, [".still", 0.1]) == opening.evaluate(PLACE, [".still", 5])


@pytest.mark.parametrize("medium", [{"media": "print"}, {"reduced_motion": "reduce"}], ids=str)
def test_paper_and_readers_who_want_less_motion_get_the_still(opening, medium):
    opening.emulate_media(**medium)
    assert opening.evaluate(SEEN) == [False, True]
