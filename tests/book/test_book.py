"""The built pages, read as files. Each check has a control: a page on which it must object."""

from __future__ import annotations

import re

import html_checks as checks
import pytest
import yaml
from bs4 import BeautifulSoup

RECORDED = ("10_regression", "11_convex_trap", "12_spiral", "13_circles", "14_ablations")
GENERATED = {"genindex.html", "search.html", "prf-prf.html"}


def broken(html: str) -> BeautifulSoup:
    return BeautifulSoup(html, "html.parser")


@pytest.fixture(scope="module")
def chapters(site):
    return [path for path in checks.pages(site) if path.name not in GENERATED]


def toc_entries(root) -> list[str]:
    toc = yaml.safe_load((root / "book" / "_toc.yml").read_text(encoding="utf-8"))
    chapters = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    return [toc["root"], *chapters]


def test_every_entry_of_the_contents_has_a_page(root, site):
    assert [name for name in toc_entries(root) if not (site / f"{name}.html").is_file()] == []


def test_every_source_is_in_the_contents(root):
    """A page or notebook that nobody can reach is not part of the book."""
    sources = [*root.glob("book/*.md"), *root.glob("notebooks/*.ipynb")]
    names = {path.relative_to(root).with_suffix("").as_posix() for path in sources}
    assert names == set(toc_entries(root))


def test_nothing_is_loaded_from_another_machine(site):
    assert {
        str(p): r for p in checks.pages(site) if (r := checks.remote_assets(checks.parse(p)))
    } == {}
    assert checks.remote_css(site) == []


def test_control_a_remote_script_is_found():
    page = broken('<script src="https://cdn.example.org/x.js"></script><img src="a.png">')
    assert checks.remote_assets(page) == ["https://cdn.example.org/x.js"]
    assert checks.remote_assets(broken('<link rel="stylesheet" href="//x.org/a.css">')) != []


def test_math_is_vendored(site):
    page = (site / "book" / "index.html").read_text(encoding="utf-8")
    assert page.count("_static/mathjax/tex-svg.js") == 1
    assert (site / "_static" / "mathjax" / "LICENSE").is_file()


def test_every_internal_link_leads_somewhere(site):
    dead = {str(p): d for p in checks.pages(site) if (d := checks.dead_targets(site, p))}
    assert dead == {}


def test_control_dead_links_are_found(tmp_path):
    (tmp_path / "b.html").write_text('<h1 id="here">b</h1>')
    (tmp_path / "a.html").write_text(
        '<a href="b.html#here">1</a><a href="b.html#gone">2</a><a href="c.html">3</a>'
    )
    assert checks.dead_targets(tmp_path, tmp_path / "a.html") == ["b.html#gone", "c.html"]


def test_every_figure_is_described_in_words(chapters):
    bare = {str(p): i for p in chapters if (i := checks.images_without_words(checks.parse(p)))}
    assert bare == {}


def test_control_a_file_name_is_no_description():
    page = broken('<article><img src="a.png" alt="_images/a.png"><img src="b.png"></article>')
    assert checks.images_without_words(page) == ["a.png", "b.png"]
    thumb = '<article><figure class="thumb"><img src="a.png"{}></figure></article>'
    assert checks.images_without_words(broken(thumb.format(' alt=""'))) == ["a.png"]
    assert checks.images_without_words(broken(thumb.format(' alt="a curve that bends"'))) == []
    assert checks.images_without_words(broken(thumb.format(""))) == ["a.png"]


def test_no_markup_reaches_the_reader(chapters):
    raw = {str(p): r for p in chapters if (r := checks.raw_markup(checks.parse(p)))}
    assert raw == {}


def test_control_raw_markup_is_found():
    page = broken("<article><p>so $$x = 1$$ and {eq}`eq-a`</p><code>$$</code></article>")
    assert len(checks.raw_markup(page)) == 1


def test_no_complaint_is_on_a_page(chapters):
    assert {str(p): c for p in chapters if (c := checks.complaints(checks.parse(p)))} == {}


def test_control_a_complaint_is_found():
    assert checks.complaints(broken('<div class="system-message">Unknown role</div>')) != []


def test_every_page_has_language_title_and_one_heading(chapters):
    assert {str(p): s for p in chapters if (s := checks.skeleton(checks.parse(p)))} == {}


def test_control_a_page_without_heading_is_found():
    assert len(checks.skeleton(broken("<html><article></article></html>"))) == 3


def test_every_entry_of_the_bibliography_is_printed(root, site):
    source = (root / "book" / "references.bib").read_text(encoding="utf-8")
    page = checks.parse(site / "book" / "bibliography.html")
    assert len(page.select("div.citation")) == source.count("\n@") + 1


def test_every_page_with_records_leads_to_their_runs(site, root):
    """From a figure in two clicks: open the fold, copy the command and the id."""
    for name in RECORDED:
        (found,) = checks.trails(checks.parse(site / "notebooks" / f"{name}.html"))
        stored = {p.stem: p.parent.name for p in (root / "book" / "records").glob("*/*.json")}
        assert found["record"], name
        assert set(found["record"]) <= set(stored), name
        experiments = {stored[i] for i in found["record"]}
        assert found["commands"] == [
            f"python -m shooting run --experiment {e} --ids ID" for e in sorted(experiments)
        ]
        assert all(re.fullmatch("[0-9a-f]{10}", c) for c in found["commit"]), name
        assert "".join(found["settings"]), name


def test_control_a_page_without_records_has_no_trail():
    assert (
        checks.trails(broken("<article><details><summary>Hints</summary></details></article>"))
        == []
    )
    row = "<tr><td>1</td></tr>"
    table = f"<table><thead><tr><th>record</th></tr></thead><tbody>{row}</tbody></table>"
    text = "<summary>The 1 records behind this</summary>"
    page = broken(f"<article><details>{text}<pre>run</pre>{table}</details></article>")
    assert checks.trails(page) == [{"record": ["1"], "commands": ["run"]}]
