"""``python -m shooting new NAME``, in a copy of the checkout: what it writes works at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from test_notebooks_static import assertions, computed, long_definitions, parameters, skipped

from shooting.study import scaffold
from shooting.study.cli import main

NAME = "double_well"
PARTS = (
    "shooting",
    "tests",
    "book",
    "Makefile",
    "pyproject.toml",
    "_config.yml",
    "constraints.txt",
)
LEFT_OUT = shutil.ignore_patterns("records", "__pycache__")


def copied(root: Path, target: Path) -> Path:
    """What the command changes and its tests need, without records and other pages."""
    for part in PARTS:
        source = root / part
        if source.is_dir():
            # `records` is also the name of a folder of the package
            ignored = LEFT_OUT if part == "book" else shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target / part, ignore=ignored)
        else:
            shutil.copy(source, target / part)
    (target / "book" / "records").mkdir()
    (target / "notebooks").mkdir()
    return target


def run(folder: Path, *command: str) -> str:
    """Output of a command in a copy; its package and no other is found."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "SHOOTING_STRICT": "0"}
    environment.pop("SHOOTING_RECORDS", None)
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def copy(root, tmp_path_factory):
    folder = copied(root, tmp_path_factory.mktemp("checkout"))
    told = run(folder, sys.executable, "-m", "shooting", "new", NAME)
    for path in (*scaffold.written(NAME), scaffold.REGISTRY, scaffold.CHECKSUMS, scaffold.CONTENTS):
        assert f"  {path}\n" in told
    return folder


def test_the_new_tests_pass(copy):
    told = run(copy, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
               f"tests/study/experiments/test_{NAME}.py")  # fmt: skip
    assert "7 passed" in told


def test_the_new_experiment_is_known_by_name_and_its_data_have_a_fingerprint(copy):
    assert f"{NAME} (paper): done 0, missing 4" in run(
        copy, sys.executable, "-m", "shooting", "status", "--experiment", NAME
    )
    code = (
        "from shooting.study.experiments import EXPERIMENTS; "
        "from shooting.study.records.data_checksums import fingerprints; "
        f"print(fingerprints(EXPERIMENTS['{NAME}'].grid('paper')[0]))"
    )
    assert run(copy, sys.executable, "-c", code).startswith(f"('{NAME}, 200 points', {{'0': '")


@pytest.mark.parametrize("name", [NAME, "a_name_of_20_letters", "sketch_two"])
def test_what_is_written_is_clean(root, tmp_path, name):
    folder = copied(root, tmp_path)
    written = [str(path) for path in scaffold.new(name, folder) if path.suffix != ".yml"]
    run(folder, sys.executable, "-m", "ruff", "check", *written)
    run(folder, sys.executable, "-m", "ruff", "format", "--check", *written)


def test_the_new_page_keeps_the_rules_of_pages(copy):
    page = nbformat.read(copy / "notebooks" / f"{NAME}.ipynb", as_version=4)
    nbformat.validate(page)
    assert parameters(page)["profile"] == "quick"
    assert computed(page) == [NAME]
    assert assertions(page) >= 2
    assert long_definitions(page) == skipped(page) == []
    text = "\n".join(cell.source for cell in page.cells if cell.cell_type == "markdown")
    for section in ("Trained just now", "The check that can fail", "At the paper's scale",
                    "Paper says / we get / verdict", "Things to try"):  # fmt: skip
        assert f"## {section}\n" in text + "\n"


@pytest.mark.slow
def test_make_page_renders_it(copy):
    told = run(copy, "make", "VENV=", f"PYTHON={sys.executable}", "page", f"PAGE={NAME}")
    built = copy / "_build" / "page" / "html" / "notebooks" / f"{NAME}.html"
    assert f"open _build/page/html/notebooks/{NAME}.html" in told
    html = built.read_text(encoding="utf-8")
    assert 'id="fig-double_well"' in html or 'id="fig-double-well"' in html
    assert "system-message" not in html
    assert "not run yet: the rest; make runs EXPERIMENT=double_well" in html


# --- what is refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["Spiral", "1d", "two words", "a__b", "_a", "class", "a-b", "", "a" * 21, "../x"]
)
def test_a_name_that_is_no_module_is_refused(name, tmp_path, capsys):
    with pytest.raises(ValueError, match=r"^expected a name in lower case.*; try double_well$"):
        scaffold.new(name, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert main(["new", "--", name]) == 1
    assert capsys.readouterr().out.startswith("expected a name in lower case")


@pytest.mark.parametrize("name", ["spiral", "models"])
def test_a_name_that_is_taken_is_refused(name, capsys):
    assert main(["new", name]) == 1
    told = capsys.readouterr().out
    assert told.startswith("expected a name without files yet")
    assert f"shooting/study/experiments/{name}.py" in told


@pytest.mark.parametrize("path", [scaffold.REGISTRY, scaffold.CHECKSUMS, scaffold.CONTENTS])
def test_a_file_that_is_not_as_expected_stops_it_before_anything_is_written(root, tmp_path, path):
    folder = copied(root, tmp_path)
    (folder / path).write_text("nothing\n")
    with pytest.raises(ValueError, match="expected"):
        scaffold.new(NAME, folder)
    assert not any((folder / new).exists() for new in scaffold.written(NAME))
