"""What can be wrong with a built page, found without a browser: each check lists problems."""

from __future__ import annotations

import copy
import functools
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup

ASSETS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src"}
LINKED = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "preconnect"}
MARKUP = re.compile(r"\$\$|\{(?:eq|ref|numref|doc|cite:\w|prf:ref|glue:?\w*)\}`|\\begin\{")


def parse(path: Path) -> BeautifulSoup:
    """Read a page; it is shared by all checks, so copy what you change."""
    return _parsed(path, path.stat().st_mtime_ns)


@functools.cache
def _parsed(path: Path, _written: int) -> BeautifulSoup:
    page = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    for name in page.select(".column[hidden]"):  # a column's name in a cell, for phones
        name.decompose()
    return page


def pages(site: Path) -> list[Path]:
    """Every page with content; the root page only redirects."""
    found = sorted(site.rglob("*.html"))
    return [p for p in found if p != site / "index.html" and "_static" not in p.parts]


def asset_urls(page: BeautifulSoup) -> list[str]:
    """Addresses the browser loads by itself."""
    urls = [tag.get(attribute) for name, attribute in ASSETS.items() for tag in page(name)]
    urls += [tag.get("href") for tag in page("link") if LINKED & set(tag.get("rel") or [])]
    return [url for url in urls if url]


def remote_assets(page: BeautifulSoup) -> list[str]:
    """Assets that would be fetched from another machine."""
    return [url for url in asset_urls(page) if urlsplit(url).netloc]


def remote_css(site: Path) -> list[str]:
    """Style sheets that import something from another machine."""
    pattern = re.compile(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//")
    return [str(p) for p in site.rglob("*.css") if pattern.search(p.read_text(encoding="utf-8"))]


def dead_targets(site: Path, path: Path) -> list[str]:
    """Links and assets inside the site whose file or anchor does not exist."""
    page = parse(path)
    links = [tag["href"] for tag in page("a", href=True)]
    return [url for url in links + asset_urls(page) if _is_dead(site, path, url)]


def _is_dead(site: Path, path: Path, url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme or parts.netloc or url == "#":
        return False
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.is_relative_to(site.resolve()) or not target.is_file():
        return True
    if not parts.fragment or target.suffix != ".html":
        return False
    return unquote(parts.fragment) not in _ids(target, target.stat().st_mtime_ns)


@functools.cache  # the map links to hundreds of places; each page is parsed once
def _ids(path: Path, _written: int) -> frozenset[str]:
    return frozenset(tag["id"] for tag in parse(path).find_all(attrs={"id": True}))


def images_without_words(page: BeautifulSoup) -> list[str]:
    """Images of the article whose alternative text is missing or a file name."""
    shown = (page.find("article") or page)("img")
    alts = [(tag.get("src", "?"), (tag.get("alt") or "").strip()) for tag in shown]
    return [src for src, alt in alts if len(alt) < 10 or re.fullmatch(r"\S+\.\w{3,4}", alt)]


def raw_markup(page: BeautifulSoup) -> list[str]:
    """Markup that reached the reader instead of being rendered."""
    article = copy.copy(page.find("article") or page)
    for tag in article.select("pre, code, script, style, .math"):
        tag.decompose()
    leftovers = [line.strip() for line in article.get_text("\n").splitlines()]
    return [line for line in leftovers if MARKUP.search(line)]


def complaints(page: BeautifulSoup) -> list[str]:
    """Messages of the builder, and error outputs, that landed on the page."""
    found = page.select(".system-message, .problematic, .output.traceback, .output.stderr")
    return [tag.get_text(" ", strip=True)[:120] for tag in found]


def skeleton(page: BeautifulSoup) -> list[str]:
    """What a page must have: a language, a title, one main heading."""
    headings = len((page.find("article") or page)("h1"))
    language = page.html.get("lang") if page.html else None
    title = page.title.get_text(strip=True) if page.title else ""
    return (
        ([] if language == "en" else [f"lang is {language!r}"])
        + ([] if title else ["no title"])
        + ([] if headings == 1 else [f"{headings} main headings"])
    )


def trails(page: BeautifulSoup) -> list[dict[str, list[str]]]:
    """Folded tables of the records behind figures: ids, commits, and commands without their id."""
    found = []
    for box in page.select("article details"):
        if box.summary is None or not box.summary.text.endswith("records behind this"):
            continue
        cells = [[c.get_text() for c in row.find_all("td")] for row in box.select("tbody tr")]
        names = [c.get_text() for c in box.select("thead th")]
        column = {name: [row[i] for row in cells] for i, name in enumerate(names)}
        found.append({**column, "commands": [pre.get_text().strip() for pre in box.select("pre")]})
    return found
