"""The source hash sees what can change a result and nothing else; the commit says if it is all."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from shooting.study.records import provenance
from shooting.study.records.provenance import NO_TRAINING

PACKAGE = provenance.PACKAGE
LEFT_OUT = tuple(name.removesuffix(".py") for name in NO_TRAINING)
WITNESS = "provenance"  # says in a record where it is from, and changes no number of it


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package in a folder of its own, beside it room for the rest of a checkout."""
    tmp_path = tmp_path / "shooting"
    for name, text in {
        "fit.py": "a = 1\n",
        "native/step.c": "int a;\n",
        "figures/b.py": "b\n",
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


@pytest.mark.parametrize("name", ["fit.py", "native/step.c"])
def test_every_source_that_trains_is_in_the_hash(package, name):
    before = source_hash()
    (package / name).write_text("changed\n")
    assert source_hash() != before


def test_names_are_in_the_hash(package):
    before = source_hash()
    (package / "fit.py").rename(package / "fits.py")
    assert source_hash() != before


@pytest.mark.parametrize("name", NO_TRAINING)
def test_what_no_training_imports_is_not_in_the_hash(package, name):
    before = source_hash()
    path = package / name if name.endswith(".py") else package / name / "new.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text("c = 3\n")
    assert source_hash() == before


@pytest.mark.parametrize("name", NO_TRAINING)
def test_what_is_left_out_exists(name):
    assert (PACKAGE / name).exists()


def imported(text: str) -> set[str]:
    """Parts of the package that a source imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        names = (
            [a.name for a in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        )
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{name}" for name in names]
        found |= {n.split(".")[1] for n in names if n.startswith("shooting.")}
    return found


def test_no_source_in_the_hash_imports_one_outside_it():
    """Else a result could change and the hash would not."""
    sources = [p for p in provenance.source_files() if p.suffix == ".py"]
    assert len(sources) > 20
    offenders = {
        str(p.relative_to(PACKAGE)): found
        for p in sources
        if (found := imported(p.read_text(encoding="utf-8")) & {*LEFT_OUT} - {WITNESS})
    }
    assert offenders == {}


def test_control_an_import_inside_a_function_is_found():
    assert imported("def f():\n    from shooting.study.theory import linear\n") == {"theory"}
    assert imported("from shooting import figures, fit\nimport shooting.study.claims.rule") == {
        "figures",
        "fit",
        "claims",
    }


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


def test_a_processor_without_cpuinfo_has_the_name_that_python_knows(monkeypatch):
    monkeypatch.setattr(provenance, "processor_lines", list)
    monkeypatch.setattr(provenance.platform, "processor", lambda: "chip")
    assert provenance.processor.__wrapped__() == "chip"
