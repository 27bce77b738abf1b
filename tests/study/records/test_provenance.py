"""The source hash sees what can change a result and nothing else; the commit says if it is all."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import shooting
from shooting.study.records import provenance

PACKAGE = provenance.PACKAGE
TRAINS = ("fit.py", "study/experiments/one.py", "study/data/points.py", "native/step.c")
OTHERS = ("study/records/store.py", "study/figures/b.py", "study/cli.py", "doors.py")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package in a folder of its own, beside it room for the rest of a checkout."""
    tmp_path = tmp_path / "shooting"
    for name, text in {
        "__init__.py": "",
        "fit.py": "a = 1\n",
        "doors.py": "from shooting.study.experiments import one\n",
        "native/step.c": "int a;\n",
        "study/__init__.py": "",
        "study/experiments/__init__.py": "from shooting.study.experiments import one\n",
        "study/experiments/one.py": "def f():\n    import shooting.study.data.points\n",
        "study/data/points.py": "from shooting.fit import a\n",
        "study/records/store.py": "from shooting.study import experiments\n",
        "study/figures/b.py": "b\n",
        "study/cli.py": "c\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    return tmp_path


def source_hash() -> str:
    return provenance.source_hash.__wrapped__()  # afresh, where a process asks once


def commit():
    return provenance.commit.__wrapped__()


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("name", TRAINS)
def test_every_source_that_trains_is_in_the_hash(package, name):
    before = source_hash()
    (package / name).write_text("changed\n")
    assert source_hash() != before


def test_names_are_in_the_hash(package):
    before = source_hash()
    (package / "native" / "step.c").rename(package / "native" / "steps.c")
    assert source_hash() != before


@pytest.mark.parametrize("name", OTHERS)
def test_what_no_training_imports_is_not_in_the_hash(package, name):
    before = source_hash()
    (package / name).write_text("changed\n")
    assert source_hash() == before


def test_a_new_import_brings_its_module_into_the_hash(package):
    (package / "study" / "data" / "points.py").write_text("from shooting.study.figures import b\n")
    before = source_hash()
    (package / "study" / "figures" / "b.py").write_text("changed\n")
    assert source_hash() != before


def test_every_module_that_the_experiments_load_is_in_the_hash():
    """Following imports by hand must find what Python's own import finds."""
    code = "import sys, shooting.study.experiments; print(*sorted(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = [importlib.import_module(n) for n in told.stdout.split() if n.startswith("shooting")]
    files = {Path(module.__file__).resolve() for module in loaded}
    assert len(files) > 20
    assert {Path(shooting.__file__).resolve()} <= files <= {*provenance.source_files()}


def test_no_page_and_no_record_is_in_the_hash():
    """A change of a figure must not make checkpoints useless."""
    found = {p.relative_to(PACKAGE).as_posix() for p in provenance.source_files()}
    study = {name.split("/")[1] for name in found if name.startswith("study/")}
    assert study == {"__init__.py", "data", "experiments", "paths.py", "storage.py"}
    assert {"fit.py", "native/__init__.py"} <= found


def test_the_commit_says_whether_sources_differ_from_it(package):
    git(package.parent, "init", "-q")
    git(package, "add", ".")
    git(package, "commit", "-q", "-m", "one")
    assert commit() == (git(package, "rev-parse", "HEAD"), False)
    (package / "fit.py").write_text("a = 2\n")
    assert commit() == (git(package, "rev-parse", "HEAD"), True)
    git(package, "checkout", "-q", ".")
    (package / "new.py").write_text("n = 1\n")
    assert commit()[1], "a source that git does not know is a change too"


def test_inside_the_checkout_of_something_else_there_is_no_commit(package):
    """Installed in the environment of another project, say, which git ignores there."""
    stranger = package.parents[1]
    git(stranger, "init", "-q")
    git(stranger, "commit", "-q", "--allow-empty", "-m", "not ours")
    assert git(package, "rev-parse", "HEAD")  # git itself would name it
    assert commit() == (None, None)


def test_outside_a_checkout_there_is_no_commit(package, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(package.parent))
    assert commit() == (None, None)


def test_only_the_same_sources_are_present(monkeypatch):
    monkeypatch.setattr(provenance, "source_hash", lambda: "1" * 64)
    assert provenance.is_present("1" * 64)
    assert not provenance.is_present("0" * 64)


CPUINFO = """\
processor\t: 0
cpu family\t: 25
model\t\t: {model}
model name\t: AMD EPYC

processor\t: 1
model\t\t: 99
"""


def test_generations_of_one_name_are_different_processors(monkeypatch):
    """Two machines called "AMD EPYC" gave different last bits, and both were taken for one."""
    for model in (1, 17):
        lines = CPUINFO.format(model=model).splitlines()
        monkeypatch.setattr(provenance, "processor_lines", lambda lines=lines: lines)
        found = provenance.processor.__wrapped__()
        assert found == f"AMD EPYC (family 25, model {model})"


def test_a_processor_held_to_older_instructions_is_another_one(monkeypatch):
    """PyTorch and NumPy then take other kernels, with other last bits."""
    whole = provenance.processor.__wrapped__()
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    held = provenance.processor.__wrapped__()
    assert held != whole
    assert "ATEN_CPU_CAPABILITY=avx2" in held


def test_a_processor_without_cpuinfo_has_the_name_that_python_knows(monkeypatch):
    monkeypatch.setattr(provenance, "processor_lines", list)
    monkeypatch.setattr(provenance.platform, "processor", lambda: "chip")
    assert provenance.processor.__wrapped__() == "chip"
