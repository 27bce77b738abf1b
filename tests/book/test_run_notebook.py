"""Executing one notebook: what it says, what it leaves, and what a failure leaves."""

from __future__ import annotations

import checkout
import nbformat
import pytest
import run_notebook


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
