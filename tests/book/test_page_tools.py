"""What the book's extensions write on pages: provenance, files of figures, times of notebooks."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter

import accessible
import checkout
import figure_files
import footer
import html_checks as checks
import measured
import nbformat
import pytest
import run_notebook

from shooting.study.claims import judge_all
from shooting.study.records import files

# --- the front page ------------------------------------------------------------------------

ROWS = {
    "reproduced": "reproduced",
    "in part": "partly",
    "not reproduced": "not reproduced",
    "not run, because records are missing": "not run",
}


@pytest.fixture(scope="module")
def front(site):
    return checks.parse(site / "book" / "index.html").find("article")


def counted(front) -> dict[str, int]:
    rows = [[c.get_text(" ", strip=True) for c in row("td")] for row in front("tr")]
    return {ROWS[row[0]]: int(row[1]) for row in rows if row and row[0] in ROWS}


def test_front_page_counts_verdicts_as_the_claims_do(front):
    verdicts = Counter(verdict.status for _, verdict in judge_all())
    assert counted(front) == {name: verdicts[name] for name in ROWS.values()}
    assert f"We give {sum(verdicts.values())} verdicts" in front.get_text()


def test_control_a_count_that_was_typed_is_noticed(front):
    verdicts = Counter(verdict.status for _, verdict in judge_all())
    page = checks.BeautifulSoup(str(front), "html.parser")
    cell = next(row for row in page("tr") if row.get_text(" ", strip=True).startswith("in part"))
    cell("td")[1].string = str(verdicts["partly"] + 1)
    assert counted(page) != {name: verdicts[name] for name in ROWS.values()}


def test_front_page_says_what_was_measured(front, root):
    stored = json.loads((root / "book" / "times.json").read_text(encoding="utf-8"))
    text = front.get_text()
    for words in measured.substitutions(stored).values():
        assert words.replace("`", "") in text
    half = stored | {"seconds": {k: v / 2 for k, v in stored["seconds"].items()}}
    assert measured.substitutions(half)["longest_time"].replace("`", "") not in text  # control


def test_times_are_those_of_notebooks(root):
    stored = json.loads((root / "book" / "times.json").read_text(encoding="utf-8"))
    assert set(stored["seconds"]) <= {p.stem for p in root.glob("notebooks/*.ipynb")}
    assert min(stored["seconds"].values()) > 0


# --- times ---------------------------------------------------------------------------------


def executed(folder, name: str, **stamp):
    metadata = {"papermill": {"end_time": "2026-11-25T10:00:00", "parameters": {}}}
    if stamp:
        metadata["shooting"] = stamp
    notebook = nbformat.v4.new_notebook(metadata=metadata)
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


def test_times_of_a_few_notebooks_leave_the_others(tmp_path):
    known = {"seconds": {"a": 1.0, "b": 2.0}, "date": "2026-01-01"}
    paths = [executed(tmp_path, "b", cpu_seconds=5.0), executed(tmp_path, "c")]
    found = measured.update(known, paths)
    assert found["seconds"] == {"a": 1.0, "b": 5.0}  # c carries no trace of an execution
    assert found["date"] == "2026-11-25"


# --- provenance ----------------------------------------------------------------------------


def git(folder, *arguments: str) -> None:
    identity = ["-c", "user.name=n", "-c", "user.email=n@example.org"]
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


def test_commit_is_that_of_the_files_and_changes_show(tmp_path):
    assert checkout.last_commit(root=tmp_path) is None  # no checkout
    git(tmp_path, "init", "-q")
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-q", "-m", name)
    checkout.last_commit.cache_clear()
    first, last = (checkout.last_commit(*paths, root=tmp_path) for paths in (("a",), ()))
    assert first.name != last.name
    assert not last.dirty
    (tmp_path / "b").write_text("changed")
    checkout.last_commit.cache_clear()
    assert checkout.last_commit(root=tmp_path).dirty
    assert not checkout.last_commit("a", root=tmp_path).dirty
    (tmp_path / "inner").mkdir()
    assert checkout.last_commit(root=tmp_path / "inner") is None  # someone else's checkout


def test_every_page_says_where_it_comes_from(site):
    pages = [p for p in checks.pages(site) if p.parent.name in ("book", "notebooks")]
    feet = {p: checks.parse(p).select_one(".provenance") for p in pages}
    assert [str(p) for p, foot in feet.items() if foot is None] == []
    words = {p: foot.get_text(" ", strip=True) for p, foot in feet.items()}
    assert all(re.search(r"Built from (commit \w{7,} |sources)", text) for text in words.values())
    runs = [text for p, text in words.items() if p.parent.name == "notebooks"]
    assert all("profile quick" in text for text in runs)
    assert sum(" records of circles, trained 20" in text for text in runs) >= 2


def test_records_of_a_page_are_listed_by_id(root, site):
    page = checks.parse(site / "notebooks" / "12_circles.html").select_one(".provenance")
    stored = {p.stem for p in (root / "book" / "records" / "circles").glob("*.json")}
    assert {code.get_text() for code in page.select("details code")} == stored
    other = checks.parse(site / "notebooks" / "01_optimal_control.html")
    assert other.select(".provenance details") == []  # control: a page that reads none


def test_stale_records_are_counted(tmp_path, monkeypatch):
    folder = tmp_path / "circles"
    folder.mkdir()
    for n, source in enumerate(("now", "now", "before")):
        made = {"ended": f"2026-11-2{n}T00:00:00", "source": source}
        files.write(folder / f"r{n}.json", {"id": f"r{n}", "provenance": made}, {})
    monkeypatch.setattr(footer, "RECORDS", tmp_path)
    monkeypatch.setattr(footer, "is_present", lambda source: source == "now")
    text = footer.records(["circles"], "quick")
    assert "3 records of circles, trained 2026-11-20 to 2026-11-22, 1 of them before" in text
    assert footer.records(["circles"], "quick").count("<code>") == 3
    assert footer.records([], "quick") == ""


def test_a_full_page_counts_the_records_made_here_each_once_and_those_since_fresh(
    tmp_path, monkeypatch
):
    """Committed and local ones; make leaves the state folder to the package."""
    committed, local = tmp_path / "committed", tmp_path / "state" / "records"
    for folder, names in ((committed, "ab"), (local, "bc")):
        for day, name in enumerate(names, start=1):
            moment = f"2026-11-0{day}T00:00:00+00:00"
            made = {"started": moment, "ended": moment, "source": "now"}
            document = {"id": name, "provenance": made}
            (folder / "circles").mkdir(parents=True, exist_ok=True)
            files.write(folder / "circles" / f"{name}.json", document, {})
    monkeypatch.setattr(footer, "RECORDS", committed)
    monkeypatch.setattr(footer, "state_folder", lambda: tmp_path / "state")

    def named(profile):
        footer.provenance.cache_clear()
        return re.findall(r"<code>(\w)</code>", footer.records(["circles"], profile))

    assert named("paper") == ["a", "b", "c"]
    assert named("quick") == ["a", "b"]
    monkeypatch.setenv("FRESH", "2026-11-02")
    assert named("paper") == ["b", "c"]
    footer.provenance.cache_clear()


def test_an_execution_is_dated_and_a_stored_output_is_not(tmp_path):
    stamp = {"name": "abc1234", "date": "2026-11-25", "dirty": True}
    path = executed(tmp_path, "x", cpu_seconds=1.0, commit=stamp)
    fresh = json.loads(path.read_text(encoding="utf-8"))
    text = footer.outputs(fresh, "x.ipynb")
    assert "executed on 2026-11-25 10:00 UTC from commit <code>abc1234</code> with" in text
    stored = {"metadata": {}, "cells": [{"source": 'profile = "quick"\n', "cell_type": "code"}]}
    assert "profile <code>quick</code>, as stored in" in footer.outputs(stored, "x.ipynb")
    fresh["metadata"]["papermill"]["parameters"]["profile"] = "paper"
    assert "<code>paper</code>" in footer.outputs(fresh, "x.ipynb")


# --- files of figures ----------------------------------------------------------------------


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
    bare = figure_files.line("notebooks/12_circles", "flow", "make it")
    assert "<a " not in bare
    assert "<code>make it</code>" in bare
    for kind in figure_files.KINDS:
        (tmp_path / f"flow.{kind}").write_text(kind)
    full = figure_files.line("notebooks/12_circles", "flow", "make it")
    assert re.findall(r'href="\.\./_figures/flow\.(\w+)"', full) == ["svg", "pdf", "png"]


def test_every_figure_on_a_page_says_how_to_redraw_it(site):
    for page in checks.pages(site):
        if page.parent.name == "notebooks":
            parsed = checks.parse(page)
            drawn = parsed.select("figure.align-default, figure.moving")
            assert len(drawn) == len(parsed.select(".figure-files")), page.name


def test_a_moving_figure_offers_its_file_wherever_it_stands(site):
    """Its notebook's page and the front page, which shows it too."""
    for name in ("notebooks/00_opening", "book/index"):
        (figure,) = checks.parse(site / f"{name}.html").select("figure.moving")
        below = figure.find_next_sibling()
        assert below["class"] == ["figure-files"], name
        assert "make _build/runs/quick/00_opening.ipynb" in below.text
        assert "PDF" not in below.text  # which cannot move


def test_control_only_the_notebook_that_writes_a_movie_is_named(root):
    found = [n for n in root.glob("notebooks/*.ipynb") if figure_files.saves(n, "opening-flow")]
    assert [n.stem for n in found] == ["00_opening"]


# --- accessibility and narrow windows ------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "mended"),
    [
        ('<table class="dataframe">', '<table tabindex="0" class="dataframe">'),
        (
            '<table border="1" class="a dataframe texts" id="t">',
            '<table tabindex="0" border="1" class="a dataframe texts" id="t">',
        ),
        ('<table class="dataframes">', '<table class="dataframes">'),  # another class
        ('<table class="docutils">', '<table class="docutils">'),
        ('<div role="list" class="citation-list">', '<div class="citation-list">'),
        ('<div role="list" class="other">', '<div role="list" class="other">'),
    ],
)
def test_wide_tables_are_reached_by_keyboard_and_roles_are_true(written, mended):
    assert accessible.mend(written) == mended
    assert accessible.mend(mended) == mended


@pytest.mark.parametrize(
    ("glued", "shown"),
    [
        ("7.4e-05", "7.4&nbsp;·&nbsp;10<sup>−5</sup>"),
        ("-1.2e+10", "−1.2&nbsp;·&nbsp;10<sup>10</sup>"),
        ("1e-05", "10<sup>−5</sup>"),
        ("0.39", "0.39"),
        ("release-1e-05", "release-1e-05"),
    ],
)
def test_glued_numbers_are_written_as_people_write_them(glued, shown):
    before, after = '<span class="pasted-text">', "</span>"
    assert accessible.mend(f"{before}{glued}{after}") == f"{before}{shown}{after}"
    assert accessible.mend(f"<code>{glued}</code>") == f"<code>{glued}</code>"  # not in listings


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{}.", "«{}.»"),
        ("{}, so", "«{},» so"),
        ("of ({}) only", "of «({})» only"),
        ("[{} or", "«[{}» or"),
        ("{}-fold", "«{}-»fold"),
        ("for {0} and {0}.", "for {0} and «{0}.»"),
        ("<em>on {}</em>: then", "<em>on {}</em>&#8288;: then"),
        ("{}<em>: then</em>", "{}&#8288;<em>: then</em>"),
    ],
)
def test_no_line_breaks_between_a_formula_and_its_punctuation(before, after):
    formula = r'<span class="math notranslate nohighlight">\(t\)</span>'
    held = after.replace("«", '<span class="unbroken">').replace("»", "</span>")
    assert accessible.mend(before.format(formula)) == held.format(formula)
    assert accessible.mend(f"for {formula} small") == f"for {formula} small"  # words may part


# --- executing -----------------------------------------------------------------------------


@pytest.mark.parametrize(("profile", "kept"), [("paper", False), (None, True)])
def test_what_full_runs_say_aside_goes_to_the_terminal(tmp_path, capfd, profile, kept):
    """On a page it would stop the build; a quick page must say nothing there, so it stays."""
    code = "import sys; print('result'); print('starts afresh', file=sys.stderr)"
    parameters = nbformat.v4.new_code_cell("profile = 'quick'", metadata={"tags": ["parameters"]})
    source, target = tmp_path / "in.ipynb", tmp_path / "out.ipynb"
    cells = [parameters, nbformat.v4.new_code_cell(code)]
    about = {"language_info": {"name": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=about), source)
    run_notebook.execute(source, target, profile)
    (*_, last) = nbformat.read(target, as_version=4).cells
    assert [o["name"] for o in last["outputs"]] == ["stdout"] + ["stderr"] * kept
    assert ("starts afresh" in capfd.readouterr().err) == (not kept)


# --- one notebook executed -----------------------------------------------------------------


def run(folder, monkeypatch, code):
    """Exit status of a notebook with one cell, and where its pages would be."""
    cell = nbformat.v4.new_code_cell(code)
    about = {"language_info": {"name": "python"}}
    source, target = folder / "in.ipynb", folder / "out.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=about), source)
    monkeypatch.setattr("sys.argv", ["run_notebook.py", str(source), str(target)])
    return run_notebook.main(), target


def test_an_executed_page_says_how_long_it_took_and_from_which_commit(
    tmp_path, monkeypatch, capsys
):
    """Its kernel's processor time, not that of the few lines that start it."""
    dirty = checkout.Commit("abc1234", "2026-11-27", dirty=True)
    monkeypatch.setattr(checkout, "last_commit", lambda *paths: dirty)
    busy = "import time\nwhile time.process_time() < 2: pass"
    status, target = run(tmp_path, monkeypatch, busy)
    assert status == 0
    stamp = nbformat.read(target, as_version=4).metadata["shooting"]
    assert stamp["cpu_seconds"] > 2
    assert stamp["commit"] == {"name": "abc1234", "date": "2026-11-27", "dirty": True}
    assert capsys.readouterr().out.startswith("  in ")


def test_a_page_whose_cell_fails_does_not_appear(tmp_path, monkeypatch, capsys):
    """Nor does an older one go: make removes what it is about to make, this does not."""
    (tmp_path / "out.ipynb").write_text("the last good one")
    status, target = run(tmp_path, monkeypatch, "value = 0\n1 / value")
    assert status == 1
    assert target.read_text() == "the last good one"
    said = capsys.readouterr().err
    assert "cell [1] stopped with ZeroDivisionError: division by zero\n    value = 0" in said
    assert "out.tmp.ipynb" in said


def test_a_kernel_that_dies_is_a_sentence(tmp_path, monkeypatch, capsys):
    status, target = run(tmp_path, monkeypatch, "import os; os._exit(3)")
    assert status == 1
    assert not target.exists()
    assert "its kernel died, most likely for want of memory; try JOBS=1" in capsys.readouterr().err
