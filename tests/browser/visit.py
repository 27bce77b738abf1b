"""A page of the built book, opened in Chromium, with everything that it said and asked for."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

DESKTOP, PHONE = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
PATIENCE = 240_000  # ms until something that should happen is taken to have failed
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
OVERFLOW = """() => {
    const width = window.innerWidth;
    if (document.scrollingElement.scrollWidth <= width) return [];
    return [...document.querySelectorAll('article *')]
        .filter(e => e.getBoundingClientRect().right > width)
        .map(e => e.tagName + '.' + e.className).slice(0, 5).concat(['page']);
}"""
# Code and tables of which a part is out of sight until the reader scrolls in their box.
CUT = """() => [...document.querySelectorAll('article div.highlight pre, article table')]
    .filter(e => e.offsetParent !== null)
    .flatMap(e => {
        let box = e;
        while (box && box.tagName !== 'ARTICLE' && box.scrollWidth <= box.clientWidth + 1)
            box = box.parentElement;
        return box && box.tagName !== 'ARTICLE'
            ? [`${e.tagName} by ${box.scrollWidth - box.clientWidth} px: `
                + e.textContent.trim().slice(0, 60)]
            : [];
    })"""
# Formulas of the text whose end is out of sight even when the reader has scrolled to it; what is
# folded is looked at too. A formula is as wide as its drawing; 1 px is for rounding.
LOST = """() => {
    const folds = [...document.querySelectorAll('article details:not([open])')];
    folds.forEach(fold => { fold.open = true; });
    const wide = [...document.querySelectorAll('article span.math')]
        .map(box => [box, box.querySelector('mjx-container > svg')])
        .filter(([box, svg]) => svg && svg.getBoundingClientRect().width > box.clientWidth + 1);
    const lost = wide.filter(([box, svg]) => {
        if (getComputedStyle(box).overflowX === 'hidden') return true;  // no finger moves it
        box.scrollLeft = 1e6;
        const gap = svg.getBoundingClientRect().right - box.getBoundingClientRect().right;
        box.scrollLeft = 0;
        return gap > 1;
    });
    const found = lost.map(([box, svg]) =>
        `by ${Math.round(svg.getBoundingClientRect().width - box.clientWidth)} px: `
            + box.parentElement.textContent.trim().slice(0, 60));
    folds.forEach(fold => { fold.open = false; });
    return found;
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
        self._resize(viewport)
        return self.page.evaluate(OVERFLOW)

    def cut(self, viewport: dict[str, int]) -> list[str]:
        """Code and tables that show only a part of themselves at this window size."""
        self._resize(viewport)
        return self.page.evaluate(CUT)

    def lost(self, viewport: dict[str, int]) -> list[str]:
        """Formulas of the text that cannot be seen to their end at this window size."""
        self._resize(viewport)
        return self.page.evaluate(LOST)

    def _resize(self, viewport: dict[str, int]) -> None:
        self.page.set_viewport_size(viewport)
        self.page.wait_for_function(f"window.innerWidth === {viewport['width']}", polling=20)
