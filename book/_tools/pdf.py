"""Print the whole book, built as one page, with a Chromium of this machine; no network is asked.

Usage: python pdf.py PAGE.html TARGET.pdf, or, to see whether it could, python pdf.py
"""

import argparse
import importlib.util
import shutil
import sys
from pathlib import Path

MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", MAC)
# No name is looked up: the page has everything it needs.
LAUNCH = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND"]
PATIENCE = 540_000  # ms: all equations of the book are set on one page
TYPESET = "() => window.MathJax?.startup?.promise?.then(() => true) ?? true"
# A lazy picture is fetched when it is scrolled to, which nobody does on paper; what is folded stays
# unread there, except for code that the page folds on purpose.
UNFOLD = """async () => {
    document.querySelectorAll('details:not(.hide)').forEach(d => { d.open = true; });
    const over = i => { i.loading = 'eager'; return i.decode().catch(() => null); };
    await Promise.all([...document.images].map(over));
    await document.fonts.ready;
}"""
# A link to another page leads to a place on this one, or nowhere: never to a file of this machine.
REWIRE = """() => {
    for (const link of document.querySelectorAll('a[href]')) {
        const url = new URL(link.href);
        if (url.protocol !== 'file:') continue;
        const page = url.pathname.replace(/\\.html$/, '').split('/').slice(-2).join('/');
        const places = [decodeURIComponent(url.hash.slice(1)), 'document-' + page];
        const place = places.find(name => name && document.getElementById(name));
        if (place) link.setAttribute('href', '#' + place);
        else link.removeAttribute('href');
    }
}"""
NUMBER = """<div style="width:100%; text-align:center; font:8pt sans-serif; color:#555">
    <span class="pageNumber"></span></div>"""


def browser() -> str | None:
    """Path of the first Chromium that is found."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def print_page(page: Path, target: Path, executable: str) -> None:
    """Write `target` once the page is typeset and complete.

    Args:
        page: the book as one page.
        target: the PDF; it appears under this name only when finished.
        executable: path of Chromium.
    """
    from playwright.sync_api import sync_playwright

    partial = target.with_suffix(".tmp.pdf")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=LAUNCH)
        tab = chromium.new_page(color_scheme="light", viewport={"width": 1000, "height": 1400})
        tab.set_default_timeout(PATIENCE)
        tab.goto(page.resolve().as_uri(), wait_until="load")
        tab.evaluate(TYPESET)
        tab.evaluate(UNFOLD)
        tab.evaluate(REWIRE)
        tab.pdf(
            path=str(partial),
            format="A4",
            margin={"top": "18mm", "bottom": "18mm", "left": "17mm", "right": "17mm"},
            scale=0.8,
            print_background=True,
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=NUMBER,
            outline=True,
            tagged=True,
        )
        chromium.close()
    partial.replace(target)


def main() -> int:
    """Parse the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, nargs="?")
    parser.add_argument("target", type=Path, nargs="?")
    arguments = parser.parse_args()
    if arguments.page is not None and arguments.target is None:
        parser.error("expected a page and a target, got the page alone")
    executable = browser()
    if executable is None:
        sys.stderr.write(f"none of {', '.join(BROWSERS)} is there; try installing Chromium\n")
        return 1
    if importlib.util.find_spec("playwright") is None:
        sys.stderr.write("the package playwright is missing; try pip install -e '.[browser]'\n")
        return 1
    if arguments.target is not None:
        print_page(arguments.page, arguments.target, executable)
    return 0


if __name__ == "__main__":
    sys.exit(main())
