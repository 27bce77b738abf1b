"""Every page in a real browser: typeset, complete, quiet, within the window, without network."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.browser.visit import DESKTOP, PATIENCE, PHONE, Visit, serve

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]
BAD_MATH = "() => document.querySelectorAll('mjx-merror, [data-mjx-error], [mathcolor=red]').length"
UNSET_MATH = """() => [...document.querySelectorAll('.math')]
    .filter(e => !e.querySelector('mjx-container')).map(e => e.textContent)"""
BLANK = """() => [...document.images].filter(i => i.src && !(i.complete && i.naturalWidth > 0))
    .map(i => i.src)"""
STANDARD = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
DARK = "() => { document.documentElement.dataset.theme = 'dark'; }"


def _pages() -> list[str]:
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    chapters = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    return [toc["root"], *chapters, "search"]


@pytest.fixture(scope="module", params=_pages())
def visit(request, browser, address) -> Iterator[Visit]:
    opened = Visit(browser, f"{address}/{request.param}.html")
    yield opened
    opened.page.close()


def test_page_is_quiet(visit):
    assert not visit.said, visit.said


def test_page_asks_no_other_machine(visit):
    assert visit.strangers() == []


def test_math_is_typeset(visit):
    assert visit.page.evaluate(BAD_MATH) == 0
    assert visit.page.evaluate(UNSET_MATH) == []


def test_images_load(visit):
    assert visit.page.evaluate(BLANK) == []


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_page_never_scrolls_sideways(visit, viewport):
    assert visit.overflow(viewport) == []


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_no_code_or_table_is_cut(visit, viewport):
    assert visit.cut(viewport) == []


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_formula_is_seen_to_its_end(visit, viewport):
    assert visit.lost(viewport) == []


def test_page_is_accessible(visit, axe):
    """After the tests that look at formulas, since the scan removes them."""
    assert visit.serious(axe, STANDARD) == []


def test_words_are_readable_in_dark_mode(visit, axe):
    """The last test on a page, since it leaves it dark."""
    visit.page.evaluate(DARK)
    assert visit.serious(axe, ["color-contrast"]) == []


def test_search_finds_a_term(browser, address):
    opened = Visit(browser, f"{address}/search.html?q=costate")
    # The hits are listed one by one: wait for the one looked for, not for the first.
    opened.page.locator('#search-results li a[href*="notation"]').first.wait_for()
    opened.page.close()


CONTROL = """<!doctype html><html lang="en"><head><link rel="icon" href="data:,">
<script>window.MathJax = {startup: {pageReady: () => MathJax.startup.defaultPageReady()}};</script>
<script src="tex-svg.js"></script></head><body><article>
<div class="math">\\[ x = \\nosuchmacro \\]</div>
<img src="gone.png" alt="an image that is not there"><div style="width: 900px">wide</div>
<img src="http://stranger.invalid/x.png" alt="an image on another machine">
<p><span class="math" style="display: inline-flex; max-width: 100%; overflow: hidden">
\\( a + b + c + d + e + f + g + h + i + j + k + l + m + n + o + p + q + r + s + t + u + v + w \\)
</span></p>
<div style="overflow-x: auto"><table><tr><td style="min-width: 900px">wide</td></tr></table></div>
<img src="data:," id="mute"><p style="color: #bbb; background: #fff">pale words on white</p>
</article></body></html>"""


def test_control_a_bad_page_fails_every_check(browser, axe, root, tmp_path):
    shutil.copy(root / "book" / "_static" / "mathjax" / "tex-svg.js", tmp_path)
    (tmp_path / "bad.html").write_text(CONTROL, encoding="utf-8")
    for address in serve(tmp_path):
        opened = Visit(browser, f"{address}/bad.html")
        assert opened.page.evaluate(BAD_MATH) > 0
        assert len(opened.page.evaluate(BLANK)) == 3
        assert opened.strangers() == ["http://stranger.invalid/x.png"]
        assert opened.overflow(PHONE) != []
        assert opened.cut(DESKTOP) == []
        assert len(opened.cut(PHONE)) == 1
        assert opened.lost(DESKTOP) == []
        assert len(opened.lost(PHONE)) == 1
        objections = " ".join(opened.serious(axe, STANDARD))
        assert "image-alt" in objections
        assert "color-contrast" in objections
        end = time.monotonic() + PATIENCE / 1000
        while not opened.said:  # messages come in their own time
            assert time.monotonic() < end, "the missing picture was not complained about"
            opened.page.wait_for_timeout(20)
        opened.page.close()
