"""Each module has its tests where one looks for them: in the mirrored place, or in a list here."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

# Modules without a test file of their name: where their tests are, and why there.
ELSEWHERE: Mapping[str, tuple[str, str]] = {
    "__main__.py": ("study/test_cli.py", "hands over to the command line, and does no more"),
    "adjoint/solve.py": ("test_adjoint.py", "shows in the gradients of a whole solve"),
    "adjoint/merged.py": ("test_adjoint.py", "shows in the gradients of a whole solve"),
    "adjoint/carrying.py": ("test_adjoint.py", "shows in the gradients of a whole solve"),
    "adjoint/stagewise.py": ("test_adjoint.py", "shows in the gradients of a whole solve"),
    "parametrizations/base.py": ("test_parametrizations.py", "what all four models do"),
    "parametrizations/particles.py": (
        "test_parametrizations.py",
        "what all four models do",
    ),
    "parametrizations/direct.py": ("test_parametrizations.py", "what all four models do"),
    "parametrizations/measure.py": ("test_parametrizations.py", "what all four models do"),
    "native/build.py": ("test_native_build.py", "tests of the library lie in one folder"),
    "native/cache.py": ("test_native_build.py", "tests of the library lie in one folder"),
    "study/records/record.py": ("study/records/test_reading.py", "every way in which one can lie"),
    "study/records/store.py": ("study/records/test_computing.py", "by concern: also fresh, killed"),
    "study/theory/critical.py": ("study/theory/test_ensemble.py", "a property of ensembles"),
    "study/theory/linear.py": ("study/theory/test_ensemble.py", "the ensemble in closed form"),
    "study/theory/meanfield.py": ("study/theory/test_ensemble.py", "ensembles of many particles"),
    "study/theory/terminal.py": ("study/theory/test_ensemble.py", "ensembles shot backwards"),
}


def modules(package: Path) -> list[str]:
    """Modules of the package; a package whose own file defines something is one too."""
    found = []
    for path in package.rglob("*.py"):
        if path.name == "__init__.py":
            if not defines(path, ""):
                continue
            path = path.parent.with_suffix(".py")
        found.append(path.relative_to(package).as_posix())
    return sorted(found)


def defines(path: Path, prefix: str) -> bool:
    """Whether a file defines a function or class whose name begins so."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    kinds = ast.FunctionDef | ast.ClassDef
    return any(isinstance(node, kinds) and node.name.startswith(prefix) for node in body)


def has_tests(path: Path) -> bool:
    return path.is_file() and defines(path, "test_")


def mirrored(module: str) -> str:
    """Where the tests of a module are looked for, below the folder of tests."""
    path = Path(module)
    return path.with_name(f"test_{path.name}").as_posix()


def problems(
    names: Iterable[str], tests: Path, elsewhere: Mapping[str, tuple[str, str]]
) -> set[str]:
    """Modules without tests, and entries of the list that are wrong or no longer needed."""
    names = set(names)
    found = {f"{name} has no {mirrored(name)}" for name in names - set(elsewhere)
             if not has_tests(tests / mirrored(name))}  # fmt: skip
    for name, (place, reason) in elsewhere.items():
        if name not in names:
            found.add(f"{name} is listed and does not exist")
        elif has_tests(tests / mirrored(name)):
            found.add(f"{name} is listed and has {mirrored(name)}")
        elif not has_tests(tests / place) or not reason:
            found.add(f"{name} is listed with no tests in {place}, or without a reason")
    return found


def test_every_module_has_its_tests(root):
    names = modules(root / "shooting")
    assert len(names) > 100
    assert "native.py" in names  # a package with code of its own
    assert "adjoint.py" not in names  # one that only collects names
    assert problems(names, root / "tests", ELSEWHERE) == set()


@pytest.mark.parametrize(
    ("names", "listed", "told"),
    [
        (["a.py"], {}, "a.py has no test_a.py"),
        (["in/b.py"], {}, "in/b.py has no in/test_b.py"),
        (["empty.py"], {}, "empty.py has no test_empty.py"),
        (["c.py"], {"c.py": ("test_c.py", "why")}, "c.py is listed and has test_c.py"),
        ([], {"gone.py": ("test_c.py", "why")}, "gone.py is listed and does not exist"),
        (["a.py"], {"a.py": ("test_x.py", "why")}, "a.py is listed with no tests in test_x.py, "),
        (["a.py"], {"a.py": ("test_c.py", "")}, "a.py is listed with no tests in test_c.py, or "),
    ],
)
def test_control_what_has_no_tests_is_found(tmp_path, names, listed, told):
    (tmp_path / "test_c.py").write_text("def test_it():\n    assert True\n")
    (tmp_path / "test_empty.py").write_text("import pytest\n")
    (problem,) = problems(names, tmp_path, listed)
    assert problem.startswith(told)


def test_control_a_sound_list_has_no_problem(tmp_path):
    (tmp_path / "test_c.py").write_text("def test_it():\n    assert True\n")
    assert problems(["a.py", "c.py"], tmp_path, {"a.py": ("test_c.py", "why")}) == set()
