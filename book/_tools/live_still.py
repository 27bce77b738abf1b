"""Draw book/_static/live.svg, the picture for readers without JavaScript, by the page's script.

``python book/_tools/live_still.py`` (extra 'browser'), after a change of live.js or live.html; a
test fails while the two differ.
"""

from __future__ import annotations

import re
from pathlib import Path

import pdf

from shooting.study.storage import atomic_write

STATIC = Path(__file__).resolve().parent.parent / "_static"
STYLE = """<style>
path, circle { fill: none; vector-effect: non-scaling-stroke }
.live-ghost { stroke: #999; stroke-dasharray: 1 4 }
.live-thread { stroke: #666 }
.upright { stroke-width: 2 }
.particle-1 { color: #0173b2 }
.particle-2 { color: #c1600a }
.trail, .arrow, .live-handle path { stroke: currentcolor; stroke-width: 2.5 }
.now, .momentum path { fill: currentcolor }
.position path { fill: white }
</style><rect x="-2.3" y="-2.3" width="4.6" height="4.6" fill="white"/>"""
DRAWN = """() => {
    const copy = document.querySelector('.live-plane').cloneNode(true);
    copy.querySelectorAll('.live-target').forEach(e => e.remove());
    copy.querySelectorAll('g').forEach(g => [...g.attributes].forEach(a => {
        if (!['class', 'transform'].includes(a.name)) g.removeAttribute(a.name);
    }));
    return copy.innerHTML;
}"""


def still(page) -> str:
    """The picture as the script draws it at first, as a file of its own.

    Args:
        page: A page of playwright's browser; its content is replaced.

    Returns:
        The text of the SVG file.
    """
    source = (STATIC / "live.html").read_text(encoding="utf-8")
    page.set_content(re.sub(r"<(link|script|img)\b[^>]*>", "", source))
    page.add_script_tag(path=STATIC / "live.js")
    page.wait_for_selector(".live-chart .entry[d]", state="attached")
    shapes = page.evaluate(DRAWN).replace("><", ">\n<")
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-2.3 -2.3 4.6 4.6">'
    return f"{head}\n{STYLE}\n{shapes}\n</svg>\n"


if __name__ == "__main__":
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=pdf.browser(), args=pdf.LAUNCH)
        atomic_write(STATIC / "live.svg", still(browser.new_page()).encode())
        browser.close()
