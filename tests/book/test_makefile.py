"""The Makefile: what it would run, told by `make -n`, and what it hands to its recipes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from test_notebooks_static import NOTEBOOKS, ROOT, code_cells, computed

from shooting.study.experiments import EXPERIMENTS
from shooting.study.figures.paper import FIGURES, TABLES

READS = ("records.load_all(", "judge_all(", "load_items(")  # records that another page computes


def make(*arguments: str, fails: bool = False) -> str:
    """What make says in the active environment; if it fails, on the error channel."""
    command = ["make", "VENV=", "PYTHON=python", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == (2 if fails else 0), done.stderr
    return done.stderr if fails else done.stdout


def told_by_make(folder: Path, variable: str, *settings: str) -> str:
    """What make hands to its recipes in a variable of the environment."""
    (folder / "told.mk").write_text(f"told: ; @echo $${{{variable}-}}\n")
    return make("-f", "Makefile", "-f", str(folder / "told.mk"), "told", *settings).strip()


def page_code(path: Path) -> str:
    return "\n".join(cell.source for cell in code_cells(nbformat.read(path, as_version=4)))


# --- the front door ------------------------------------------------------------------------


def test_help_lists_every_command_and_every_figure():
    told = make()
    front = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = set(re.findall(r"^([a-z][a-z-]*):(?!=)", front, re.MULTILINE))
    listed = set(re.findall(r"^  make ([\w-]+) ", told, re.MULTILINE))
    assert {"book", "paper", "page", "check", "test", "runs", "verify", "sweep"} <= commands
    assert listed == commands | {"fig2"}
    (line,) = (line for line in told.splitlines() if "make fig2" in line)
    assert "into _build/figures: " in line
    assert set(line.rpartition(": ")[2].split()) == {*FIGURES, *TABLES}


def test_the_front_door_can_be_read_in_a_minute():
    front = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    assert len(front) < 130
    recipes = re.split(r"^(?!\t|$)", "\n".join(front), flags=re.MULTILINE)
    assert max(len(recipe.splitlines()) for recipe in recipes) <= 8


@pytest.mark.parametrize("name", sorted({*FIGURES, *TABLES}))
def test_make_draws_each_figure(name):
    assert f"-m shooting figure {name}" in make("-n", name)


def test_a_figure_goes_where_help_says_unless_a_folder_is_set(tmp_path, monkeypatch):
    monkeypatch.delenv("SHOOTING_FIGDIR", raising=False)
    assert Path(told_by_make(tmp_path, "SHOOTING_FIGDIR")) == ROOT / "_build" / "figures"
    monkeypatch.setenv("SHOOTING_FIGDIR", "elsewhere")
    assert told_by_make(tmp_path, "SHOOTING_FIGDIR") == "elsewhere"


def test_check_runs_lint_and_the_library_without_the_book():
    told = make("-n", "-B", "check")
    assert "ruff check" in told
    (line,) = (line for line in told.splitlines() if "-m pytest" in line)
    assert {f"--ignore=tests/{folder}" for folder in ("study", "book", "browser")} <= {
        *line.split()
    }
    assert "jupyter_book" not in told
    assert "jupyter_book" in make("-n", "-B", "test")  # the control: the full thing builds the book


# --- scales and order ----------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "scale"), [((), "paper"), (("PROFILE=quick",), "quick")])
@pytest.mark.parametrize(
    ("command", "told"), [("runs", "--profile {}"), ("sweep-run", "profile={} ")]
)
def test_trainings_asked_for_by_name_are_the_papers_unless_said(command, told, asked, scale):
    assert told.format(scale) in make("-n", command, "EXPERIMENT=spiral", *asked) + " "


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("runs", "EXPERIMENT=spiral", "PROFILE=big"), "PROFILE must be quick or paper, got 'big'"),
        (("book", "PROFILE=paper"), "make book is quick, make paper has the paper's scale"),
        (("reference", "PROFILE=paper"), "pages have no PROFILE"),
        (("runs",), "EXPERIMENT is missing"),
        (("page",), "try make page PAGE=20_own_model"),
        (("page", "PAGE=99_nothing"), "got '99_nothing'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(arguments, sentence):
    assert sentence in make("-n", *arguments, fails=True)


def test_a_quick_page_takes_its_defaults_and_reads_committed_records_only():
    quick, paper = (
        make("-n", "-B", f"_build/runs/{scale}/13_circles.ipynb") for scale in ("quick", "paper")
    )
    (line,) = (line for line in quick.splitlines() if "run_notebook.py" in line)
    assert "--profile" not in line
    assert 'SHOOTING_STATE="' in line
    assert 'SHOOTING_FIGDIR="' in line
    (line,) = (line for line in paper.splitlines() if "run_notebook.py" in line)
    assert "--profile paper" in line
    assert "SHOOTING_STATE" not in line


def executed_at_scale(*arguments: str) -> list[str]:
    """Names of the pages that make executes, in this order, were all of them out of date."""
    told = [line for line in make("-n", "-B", *arguments).splitlines() if "--profile paper" in line]
    return [Path(line.split("run_notebook.py ")[1].split()[0]).name for line in told]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_make_paper_finds_the_page_of_an_experiment(experiment):
    (page,) = executed_at_scale("paper", f"EXPERIMENT={experiment}")
    assert experiment in computed(nbformat.read(ROOT / "notebooks" / page, as_version=4))


def test_make_paper_executes_every_page():
    assert sorted(executed_at_scale("paper")) == [path.name for path in NOTEBOOKS]


def test_pages_that_read_records_wait_for_those_that_compute_them():
    computing = {p.name for p in NOTEBOOKS if computed(nbformat.read(p, as_version=4))}
    reading = {p.name for p in NOTEBOOKS if any(word in page_code(p) for word in READS)}
    assert len(reading - computing) >= 4
    for name in reading - computing:
        *before, last = executed_at_scale(f"_build/runs/paper/{name}")
        assert (set(before), last) == (computing, name)
        alone = executed_at_scale(f"_build/runs/paper/{name}", "READING=")
        assert alone == [name]  # the control: nothing else makes it wait
    # this one computes some and reads the others
    pair = executed_at_scale("_build/runs/paper/14_ablations.ipynb")
    assert pair == ["10_regression.ipynb", "14_ablations.ipynb"]


def test_make_paper_knows_no_other_experiment():
    told = make("-n", "paper", "EXPERIMENT=squares", fails=True)
    assert "no page computes 'squares': try make paper EXPERIMENT=circles" in told


def test_one_page_is_a_book_of_its_own():
    told = make("-n", "-B", "page", "PAGE=13_circles")
    executed = [line for line in told.splitlines() if "run_notebook.py" in line]
    assert [line.split()[-1] for line in executed] == ["_build/runs/quick/13_circles.ipynb"]
    assert "root: notebooks/13_circles" in told
    assert "open _build/page/html/notebooks/13_circles.html" in told


# --- the environment -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "told"),
    [("1", r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"), ("2026-11-26", "2026-11-26"), ("", "")],
)
def test_make_passes_on_the_moment_since_which_records_count(asked, told, tmp_path):
    assert re.fullmatch(told, told_by_make(tmp_path, "FRESH", f"FRESH={asked}"))


def test_make_paper_hands_one_moment_to_all_its_pages():
    """Not the word 1, which each call of make would take for another moment."""
    told = make("-n", "paper", "FRESH=1", "MAKE=echo")  # what it would call is shown, not called
    assert re.search(r"^_build/paper/html/.done FRESH=20\d\d-\d\d-\d\dT", told, re.MULTILINE)


def test_make_paper_refuses_what_is_no_moment_before_it_removes_pages():
    told = make("-n", "paper", "EXPERIMENT=spiral", "FRESH=26.11")
    asked, removed = told.index("-m shooting status"), told.index("rm -f _build/runs/paper/12_")
    assert asked < removed


def test_make_lists_fonts_before_it_executes_pages(tmp_path):
    """Matplotlib would say on some page that it is at it; and no cache of the user's is read."""
    told = make("-n", "-B", f"_build/runs/quick/{NOTEBOOKS[0].name}")
    assert told.index("import matplotlib.font_manager") < told.index("run_notebook.py")
    assert Path(told_by_make(tmp_path, "MPLCONFIGDIR")) == ROOT / "_build" / "matplotlib"


def test_make_keeps_the_assertions_of_the_pages(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONOPTIMIZE", "1")
    assert told_by_make(tmp_path, "PYTHONOPTIMIZE") == ""


@pytest.mark.parametrize(
    "name", ["MPLBACKEND", "MATPLOTLIBRC", "PYTHONSTARTUP", "PYTHONWARNINGS", "PYTHONINSPECT"]
)
def test_make_hands_no_setting_of_the_user_to_pages(tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, "of the user")
    assert told_by_make(tmp_path, name) == ""
    monkeypatch.setenv("OF_NO_CONCERN", "kept")  # control
    assert told_by_make(tmp_path, "OF_NO_CONCERN") == "kept"


def test_tests_of_pages_start_kernels_without_the_users_settings():
    told = make("-n", "test").replace("\\\n", "")
    (line,) = (line for line in told.splitlines() if "--nbval" in line)
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        assert f'{name}="{ROOT}/_build/jupyter"' in line
    assert "JUPYTER_PATH= " in line


def test_set_up_installs_into_the_environment_whatever_is_set_for_pip(tmp_path, monkeypatch):
    """With PIP_USER=1 pip refused; told what make tells it, it takes the environment."""
    recipe = make("-n", "-B", "lint", f"VENV={tmp_path / 'v'}", f"PYTHON={sys.executable}")
    (line,) = (line for line in recipe.splitlines() if "pip install" in line)
    settings = line.split('"')[0]
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "elsewhere"))
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "v"], check=True)
    asked = f"{tmp_path / 'v'}/bin/python -m pip install --no-index pip"
    told = subprocess.run(asked.split(), capture_output=True, text=True, check=False)
    assert told.returncode != 0  # control: as they are set, pip refuses
    subprocess.run(["bash", "-c", f"{settings} {asked}"], check=True, capture_output=True)


@pytest.mark.parametrize("done", [False, True])
def test_an_environment_that_was_left_half_made_is_made_again(tmp_path, done):
    """Interrupted before pip was in it, or made where venv lacks pip: a python alone is none."""
    command = [sys.executable, "-m", "venv", *([] if done else ["--without-pip"]), tmp_path / "v"]
    subprocess.run(command, check=True)
    (tmp_path / "v" / "kept").touch()
    recipe = make("-n", "lint", f"VENV={tmp_path / 'v'}", f"PYTHON={sys.executable}")
    (line,) = (line for line in recipe.splitlines() if "-m venv" in line)
    subprocess.run(["bash", "-c", line], cwd=ROOT, check=True)
    assert (tmp_path / "v" / "kept").exists() == done
    asked = [tmp_path / "v" / "bin" / "python", "-m", "pip", "--version"]
    assert subprocess.run(asked, capture_output=True, check=False).returncode == 0
