"""Executing one notebook: what it says, what it leaves, and what a failure leaves."""

from __future__ import annotations

import os

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


# --- a user's settings ---------------------------------------------------------------------

SEES = """
import os, sys
import matplotlib as mpl
import matplotlib.pyplot as plt
try:
    assert False
except AssertionError:
    print("asserts hold")
print(sys.executable, sys.flags.optimize, sys.warnoptions, "planted" in globals())
print(mpl.rcParams["lines.linewidth"], os.environ.get("MPLBACKEND"))
plt.plot([0, 1]);
"""
WIDE = "lines.linewidth: 77"
SET = {
    "MPLBACKEND": lambda folder: "agg",
    "MATPLOTLIBRC": lambda folder: written(folder / "r" / "matplotlibrc", WIDE),
    "MPLCONFIGDIR": lambda folder: written(folder / "m" / "matplotlibrc", WIDE).parent,
    "JUPYTER_PATH": lambda folder: other_kernel(folder / "jupyter"),
    "JUPYTER_DATA_DIR": lambda folder: other_kernel(folder / "data"),
    "JUPYTER_CONFIG_DIR": lambda folder: written(
        folder / "c" / "jupyter_config.py", "raise SystemExit('of the user')"
    ).parent,
    "IPYTHONDIR": lambda folder: written(
        folder / "i" / "profile_default" / "startup" / "a.py", "planted = 1"
    ).parents[2],
    "PYTHONSTARTUP": lambda folder: written(folder / "startup.py", "planted = 1"),
    "PYTHONWARNINGS": lambda folder: "error",
    "PYTHONOPTIMIZE": lambda folder: "2",
}  # fmt: skip


def written(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def other_kernel(folder):
    """A kernel of the usual name that another environment has left, or removed."""
    about = '{"argv": ["/no/such/python", "{connection_file}"], "display_name": "x"}'
    written(folder / "kernels" / "python3" / "kernel.json", about)
    return folder


def outputs_of(target):
    (*_, last) = nbformat.read(target, as_version=4).cells
    said = "".join(o["text"] for o in last["outputs"] if o.get("name") == "stdout")
    return said, [set(o["data"]) for o in last["outputs"] if "data" in o]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The outputs where nothing is set."""
    folder = tmp_path_factory.mktemp("plain")
    with pytest.MonkeyPatch.context() as patch:
        for name in SET:
            patch.delenv(name, raising=False)
        status, target = run(folder, patch, SEES)
    assert status == 0
    said, pictures = outputs_of(target)
    assert "asserts hold" in said
    assert any("image/png" in kinds for kinds in pictures)
    return said, pictures


@pytest.mark.parametrize("name", SET)
def test_what_a_user_has_set_changes_no_page(tmp_path, monkeypatch, undisturbed, name):
    monkeypatch.setenv(name, str(SET[name](tmp_path)))
    status, target = run(tmp_path, monkeypatch, SEES)
    assert status == 0
    assert outputs_of(target) == undisturbed


def test_the_environment_is_as_before_afterwards(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    before = dict(os.environ)
    with run_notebook.own_settings():
        assert "MPLBACKEND" not in os.environ  # control: inside it is another
    assert dict(os.environ) == before


def committed(folder, outputs):
    cell = nbformat.v4.new_code_cell("print('a')", outputs=outputs)
    about = {"language_info": {"name": "python"}}
    path = folder / "committed.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=about), path)
    return path


TEXT = nbformat.v4.new_output("stream", name="stdout", text="a\n")
PICTURE = nbformat.v4.new_output("display_data", data={"image/png": "", "text/plain": "x"})


@pytest.mark.parametrize("fewer", [False, True])
def test_a_page_with_fewer_pictures_than_committed_is_an_error(
    tmp_path, monkeypatch, capsys, fewer
):
    source, target = committed(tmp_path, [TEXT, PICTURE]), tmp_path / "out.ipynb"
    options = ["--fewer"] if fewer else []
    monkeypatch.setattr("sys.argv", ["run_notebook.py", str(source), str(target), *options])
    assert run_notebook.main() == (0 if fewer else 1)
    assert target.exists() == fewer
    said = capsys.readouterr().err
    if not fewer:
        assert "1 image/png in cell 1, 1 text/plain in cell 1 missing; see" in said
        assert "make reference FEWER=1" in said


def test_control_a_page_with_as_many_outputs_or_more_is_none(tmp_path, monkeypatch):
    for outputs in ([], [TEXT], [TEXT, nbformat.v4.new_output("stream", name="stderr", text="w")]):
        source, target = committed(tmp_path, outputs), tmp_path / "out.ipynb"
        monkeypatch.setattr("sys.argv", ["run_notebook.py", str(source), str(target)])
        assert run_notebook.main() == 0


def test_the_page_of_checklists_names_what_was_tried(root):
    text = (root / "book" / "checklists.md").read_text(encoding="utf-8")
    tried = text.partition("## What was tried against foreign settings")[2]
    assert {name for name in [*SET, "CC", "HOME", "PIP_USER"] if f"`{name}`" not in tried} == set()
