"""Below each figure: its files, and the command that draws it."""

from __future__ import annotations

import re
from types import SimpleNamespace

import figure_files
import html_checks as checks
from bs4 import BeautifulSoup

from shooting.study.figures.contrast import ENOUGH, contrast


def test_every_figure_of_a_notebook_names_its_files(root):
    nameless = {
        (path.stem, label)
        for path in root.glob("notebooks/*.ipynb")
        for label, names in figure_files.figures(path).items()
        if not names
    }
    assert nameless == set()


def test_control_a_figure_that_is_not_saved_is_noticed():
    assert figure_files.file_names("draw(fig)\nplt.show()") == []
    assert figure_files.file_names('save(draw(x, "y"), "name");') == ["name"]
    assert figure_files.file_names('show("fig7", "fig8")') == ["fig7-fig8"]


def test_a_figure_offers_the_files_there_are(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOOTING_FIGDIR", str(tmp_path))
    bare = figure_files.line("notebooks/13_circles", "flow", "make it")
    assert "<a " not in bare
    assert "<code>make it</code>" in bare
    for kind in figure_files.KINDS:
        (tmp_path / f"flow.{kind}").write_text(kind)
    full = figure_files.line("notebooks/13_circles", "flow", "make it")
    assert re.findall(r'href="\.\./_figures/flow\.(\w+)"', full) == ["svg", "pdf", "png"]


def test_every_figure_on_a_page_says_how_to_redraw_it(site):
    for page in checks.pages(site):
        if page.parent.name == "notebooks":
            parsed = checks.parse(page)
            drawn = parsed.select("figure.align-default, figure.moving")
            assert len(drawn) == len(parsed.select(".figure-files")), page.name


def test_a_moving_figure_offers_its_file(site):
    (figure,) = checks.parse(site / "notebooks" / "00_opening.html").select("figure.moving")
    below = figure.find_next_sibling()
    assert below["class"] == ["figure-files"]
    assert "make _build/runs/quick/00_opening.ipynb" in below.text
    assert "PDF" not in below.text  # which cannot move


def test_control_only_the_notebook_that_writes_a_movie_is_named(root):
    found = [n for n in root.glob("notebooks/*.ipynb") if figure_files.saves(n, "opening-flow")]
    assert [n.stem for n in found] == ["00_opening"]


def test_a_drawing_is_shown_in_two_versions():
    parsed = BeautifulSoup(
        figure_files.picture("notebooks/13_circles", "flow", 'a "flow"'), "html.parser"
    )
    images = parsed.select("img")
    assert [i["src"] for i in images] == ["../_figures/flow.svg", "../_figures/flow-dark.svg"]
    assert [i["class"] for i in images] == [["plot", "only-light"], ["plot", "only-dark"]]
    assert {i["alt"] for i in images} == {'a "flow"'}


def test_dark_drawings_turn_greys_and_keep_colours():
    svg = '<svg width="9pt"><path style="fill: #ffffff; stroke: #0173b2"/><path stroke="#000000"/>'
    dark = figure_files.darkened(svg)
    assert 'style="fill: #121212; stroke: #0173b2"' in dark
    assert 'stroke="#ced6dd"' in dark
    assert dark.startswith('<svg fill="#ced6dd" width')
    assert figure_files.darkened("<svg id='#ffffff1'>").count("#ffffff1") == 1  # control: no colour


def test_words_in_a_colour_are_light_enough_on_dark_pages():
    """Blue words reach 3.7 to 1 as they are; the line that they name keeps its blue."""
    words = '<g id="text_{}">\n<!-- b -->\n<g style="fill: #0173b2" transform="x">'
    line = '<path style="stroke: #0173b2"/><g id="patch_1"><path style="fill: #0173b2"/>'
    dark = figure_files.darkened("<svg >" + words.format(1) + line + words.format(22))
    inks = re.findall(r"fill: (#\w{6})\" transform", dark)
    assert [contrast(ink, "#121212") >= ENOUGH for ink in inks] == [True, True]
    assert dark.count("#0173b2") == 2
    assert contrast("#0173b2", "#121212") < ENOUGH  # control


def unreadable(svg: str, ground: str) -> set[str]:
    """Colours of words that stand out too little; none for those of the ground's own colour."""
    inks = {found[2] for found in figure_files.WORDS.finditer(svg)}
    return {ink for ink in inks if 1.2 < contrast(ink, ground) < ENOUGH}


def test_words_of_all_drawings_can_be_read(site):
    drawings = [*(site / figure_files.FOLDER).glob("*.svg")]
    bad = {
        path.name: found
        for path in drawings
        if (found := unreadable(path.read_text(), "#121212" if "-dark." in path.name else "white"))
    }
    assert bad == {}


def test_control_orange_words_on_white_are_noticed():
    words = '<g id="text_3">\n<g style="fill: #de8f05" transform="x">'
    assert unreadable(words, "white") == {"#de8f05"}
    assert unreadable(words, "#121212") == set()


def test_a_thumbnail_is_the_drawing_or_the_stored_picture(root):
    drawn = figure_files.thumbnail("book/index", "flow", drawn=True, alt='a "flow"')
    assert re.findall(r'src="(\S+)"', drawn) == [
        "../_figures/flow.svg",
        "../_figures/flow-dark.svg",
    ]
    assert drawn.count('alt="a &quot;flow&quot;"') == 2
    plain = figure_files.thumbnail("book/index", "flow", drawn=False, alt="")
    assert re.findall(r'src="(\S+)"', plain) == ["../_figures/flow.png"]
    (trap,) = root.glob("notebooks/*_convex_trap.ipynb")
    assert figure_files.stored(trap, "trap-strips").startswith(b"\x89PNG")
    assert figure_files.stored(trap, "no-such-figure") is None


def test_every_thumbnail_has_the_words_of_its_figure(root):
    words = figure_files.alternatives(root / "notebooks")
    pages = [path.read_text(encoding="utf-8") for path in root.glob("book/*.md")]
    names = {name for page in pages for name in figure_files.THUMB.findall(page)}
    assert len(names) > 8
    assert {name for name in names if len(words.get(name, "")) < 40} == set()
    assert "no-such-figure" not in words  # control


def test_thumbnails_of_the_book_as_one_page_have_its_addresses(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOOTING_FIGDIR", str(tmp_path))
    (tmp_path / "flow.svg").write_text("<svg/>")
    for builder, start in (("html", "../_figures"), ("singlehtml", "_figures")):
        app = SimpleNamespace(
            builder=SimpleNamespace(name=builder), env=SimpleNamespace(), srcdir=str(tmp_path)
        )
        context = {"body": '<figure class="thumb" data-name="flow"></figure>'}
        figure_files._fill_thumbnails(app, "book/index", "", context, None)
        assert f'src="{start}/flow.svg"' in context["body"]
