"""Every page in a real browser: typeset, complete, quiet, within the window, without network."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pdf
import pytest
import yaml

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]
DESKTOP, PHONE = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
PATIENCE = 240_000  # ms until something that should happen is taken to have failed
# No name is looked up, so that a slow or absent name server changes nothing.
LAUNCH = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
# Chromium's remark on a font that was fetched early and is used late depends on the machine's load.
TIMING = "was preloaded using link preload but not used"
# MathJax is there; it has set what it found; fonts and pictures are there, or have failed.
LOADED = """() => !document.querySelector('script[src*="tex-svg"]')
    || Boolean(window.MathJax?.startup?.promise)"""
TYPESET = "() => window.MathJax?.startup?.promise?.then(() => true) ?? true"
SETTLED = """async () => {
    const images = [...document.images].filter(i => i.src);
    images.forEach(i => { i.loading = 'eager'; });
    const over = i => new Promise(r => { i.onload = i.onerror = r; if (i.complete) r(); });
    await Promise.all(images.map(over));
    await document.fonts.ready;
}"""
BAD_MATH = "() => document.querySelectorAll('mjx-merror, [data-mjx-error], [mathcolor=red]').length"
UNSET_MATH = """() => [...document.querySelectorAll('.math')]
    .filter(e => !e.querySelector('mjx-container')).map(e => e.textContent)"""
BLANK = """() => [...document.images].filter(i => i.src && !(i.complete && i.naturalWidth > 0))
    .map(i => i.src)"""
OVERFLOW = """() => {
    const width = window.innerWidth;
    if (document.scrollingElement.scrollWidth <= width) return [];
    return [...document.querySelectorAll('article *')]
        .filter(e => e.getBoundingClientRect().right > width)
        .map(e => e.tagName + '.' + e.className).slice(0, 5).concat(['page']);
}"""


# A scan visits every element; what is repeated a thousand times on a page is kept once: drawings of
# formulas go, of each kind of word in listings one stays, and of long tables the first rows.
THIN = """() => {
    document.querySelectorAll('mjx-container').forEach(e => e.replaceChildren());
    const seen = new Set();
    document.querySelectorAll('.highlight span').forEach(e => {
        if (seen.has(e.className)) e.replaceWith(e.textContent);
        seen.add(e.className);
    });
    const more = 'tr:nth-child(n+7), nav li:nth-child(n+4), dl.jump a:nth-child(n+4)';
    document.querySelectorAll(`${more}, .moving circle, .moving path`).forEach(e => e.remove());
    const freeze = document.createElement('style');
    freeze.textContent = '* { transition: none !important }';
    document.head.append(freeze);
}"""
# Findings that keep someone from reading.
SERIOUS = """async rules => {
    const found = await axe.run({runOnly: rules, resultTypes: ['violations']});
    return found.violations
        .filter(v => ['serious', 'critical'].includes(v.impact))
        .flatMap(v => v.nodes.map(n => v.id + ': ' + n.html.slice(0, 120) + ' ' + (
            [...n.any, ...n.all, ...n.none][0]?.message ?? '')));
}"""
STANDARD = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
DARK = "() => { document.documentElement.dataset.theme = 'dark'; }"


def _pages() -> list[str]:
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    chapters = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    return [toc["root"], *chapters, "search"]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_args) -> None:
        """Say nothing for each request."""


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128  # a browser opens many connections at once; none is refused


def serve(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine; yields the address."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def address(site) -> Iterator[str]:
    yield from serve(site)


@pytest.fixture(scope="module")
def browser():
    """Chromium of this machine; closed with the module, so that its event loop ends here."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the extra 'browser'")
    path = pdf.browser()
    if path is None:
        pytest.skip("needs Chromium on the PATH")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=LAUNCH, timeout=PATIENCE)
        yield chromium
        chromium.close()


class Visit:
    """One page, opened once, with everything it said and asked for."""

    def __init__(self, browser, url: str) -> None:
        self.url = url
        self.said: list[str] = []
        self.requested: list[str] = []
        self.page = browser.new_page(viewport=DESKTOP)
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.requested.append(request.url))
        self.page.goto(url, wait_until="load")
        self.page.wait_for_function(LOADED, polling=20)
        self.page.evaluate(TYPESET)
        self.page.evaluate(SETTLED)

    def _hear(self, message) -> None:
        if message.type in ("error", "warning") and TIMING not in message.text:
            self.said.append(f"{message.text} ({message.location.get('url')})")

    def serious(self, axe: str, rules: list[str]) -> list[str]:
        """What an accessibility scan objects to; formulas are gone afterwards."""
        self.page.set_viewport_size(DESKTOP)
        self.page.evaluate(THIN)
        self.page.evaluate(axe)
        return self.page.evaluate(SERIOUS, rules)

    def strangers(self) -> list[str]:
        """Requests that left the machine."""
        hosts = {url: urlsplit(url) for url in self.requested}
        return [
            url
            for url, parts in hosts.items()
            if parts.scheme not in ("data", "blob", "file") and parts.hostname != "127.0.0.1"
        ]

    def overflow(self, viewport: dict[str, int]) -> list[str]:
        """Elements that make the page scroll sideways at this window size."""
        self.page.set_viewport_size(viewport)
        self.page.wait_for_function(f"window.innerWidth === {viewport['width']}", polling=20)
        return self.page.evaluate(OVERFLOW)


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core, as a Python package brings it."""
    package = pytest.importorskip("axe_playwright_python", reason="needs the extra 'browser'")
    return (Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


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
        objections = " ".join(opened.serious(axe, STANDARD))
        assert "image-alt" in objections
        assert "color-contrast" in objections
        end = time.monotonic() + PATIENCE / 1000
        while not opened.said:  # messages come in their own time
            assert time.monotonic() < end, "the missing picture was not complained about"
            opened.page.wait_for_timeout(20)
        opened.page.close()
