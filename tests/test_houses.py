"""The library stands alone, the study stands on it, and imports run one way inside both.

Sources are read, not imported, so that this also runs where only the library is installed.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

Rows = Sequence[tuple[str, ...]]

OURS = {"torch", "torchdiffeq", "numpy", "tqdm"}  # what the library may import
CHECKING = {"pytest", "hypothesis"}  # what its tests may import besides
# What `import shooting` must not load. SciPy and torchdiffeq take as long as the half of PyTorch.
HEAVY = {
    *("shooting.study", "matplotlib", "seaborn", "pandas", "yaml", "PIL", "safetensors"),
    *("scipy", "torchdiffeq"),
}

# A module imports modules of the rows above its own. A new module fails until it has a row.
LIBRARY: Rows = (
    ("transforms",),
    ("errors",),
    ("environment", "fixed", "randomness"),
    ("activations", "metrics", "times"),
    ("spaces", "features"),
    ("fields",),
    ("named_fields", "automatic", "hamiltonian"),
    ("solvers", "conservation", "dense", "learned", "lift"),
    ("layers",),
    ("adjoint",),
    ("native",),
    ("routes", "reference"),
    ("flow",),
    ("diagnosis", "kicks"),
    ("parametrizations",),
    ("optim", "paste", "watch"),
    ("fit",),
    ("__init__",),  # the public names, which no module takes from here
)
# Trainings come before the theory: what they import decides which records are stale.
STUDY: Rows = (
    ("paths", "storage"),
    ("data",),
    ("experiments",),
    ("records",),
    ("theory",),
    ("universality",),
    ("claims",),
    ("figures", "scaffold"),
    ("cli",),
    ("__init__",),
)


@pytest.fixture
def package(root, tmp_path) -> Path:
    """A copy of the sources, to plant mistakes in."""
    return Path(
        shutil.copytree(
            root / "shooting",
            tmp_path / "shooting",
            ignore=shutil.ignore_patterns("__pycache__", "*.so"),
        )
    )


def imported(path: Path) -> set[str]:
    """Every module that a source names in an import, wherever in it; names in a module too.

    A relative import keeps its dots, and so is nobody's.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            found |= {f"{origin}.{alias.name}" for alias in node.names}
    return found


def library(package: Path) -> list[Path]:
    """The library's sources: all but the study and the door to its command line."""
    found = [path for path in package.rglob("*.py") if package / "study" not in path.parents]
    return sorted(path for path in found if path != package / "__main__.py")


def intruders(paths: Iterable[Path], allowed: set[str]) -> set[str]:
    """Imports of the study, and of packages that are neither allowed nor Python's own."""
    known = {*sys.stdlib_module_names, *allowed, "shooting"}
    return {
        f"{path.name}: {name}"
        for path in paths
        for name in imported(path)
        if name.partition(".")[0] not in known or name.startswith("shooting.study")
    }


def parts_used(path: Path, folder: Path, prefix: str) -> set[str]:
    """Parts of a package that a source imports; a name that is no part is of ``__init__``."""
    dotted = {f"{name}." for name in imported(path)}
    used = {n.removeprefix(prefix).partition(".")[0] for n in dotted if n.startswith(prefix)}
    return {name if name and is_part(folder / name) else "__init__" for name in used}


def is_part(path: Path) -> bool:
    return path.is_dir() or path.with_suffix(".py").exists()


def uphill(folder: Path, rows: Rows, prefix: str) -> set[str]:
    """Imports that run against the order, and modules that have no place in it.

    Args:
        folder: A package whose modules and packages are the parts that are ordered.
        rows: The order.
        prefix: The package's name, with a dot.
    """
    place = {name: row for row, names in enumerate(rows) for name in names}
    found = set()
    for path in sorted(folder.rglob("*.py")):
        part = path.relative_to(folder).with_suffix("").parts[0]
        if part in ("study", "__main__"):  # which may import everything
            continue
        if part not in place:
            found.add(f"{part} has no row")
            continue
        others = parts_used(path, folder, prefix) - {part}
        found |= {f"{part} imports {o}" for o in others if place.get(o, len(rows)) >= place[part]}
    return found


def test_the_library_imports_neither_the_study_nor_other_packages(root):
    sources = library(root / "shooting")
    assert len(sources) > 15
    assert intruders(sources, OURS) == set()


@pytest.mark.parametrize(
    "line",
    [
        "from shooting.study import records",
        "from shooting import study",
        "def f():\n    import shooting.study.claims",
        "import matplotlib.pyplot as plt",
        "from .study import records",
    ],
)
def test_control_a_planted_import_is_found(package, line):
    path = package / "solvers.py"
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    assert len(intruders(library(package), OURS)) == 1


def test_the_tests_of_the_library_need_no_more_than_it_and_pytest(root):
    """Packaging apart, which concerns the whole checkout."""
    folder = root / "tests"
    sources = {path for path in folder.glob("*.py") if path.name != "test_packaging.py"}
    own = {path.stem for path in sources}
    assert intruders(sources, OURS | CHECKING | own) == set()
    study = (folder / "study").glob("*.py")  # the control
    assert intruders(study, OURS | CHECKING | own) != set()


def loaded(names: set[str]) -> set[str]:
    """Which modules a process has after ``import shooting``."""
    code = f"import sys, shooting; print(*({names!r} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(told.stdout.split())


def test_importing_the_library_loads_nothing_heavy():
    assert loaded(HEAVY) == set()
    assert loaded({"torch"}) == {"torch"}  # the control


def test_imports_of_the_library_run_one_way(root):
    assert uphill(root / "shooting", LIBRARY, "shooting.") == set()


def test_imports_of_the_study_run_one_way(root):
    assert uphill(root / "shooting" / "study", STUDY, "shooting.study.") == set()


@pytest.mark.parametrize(
    ("name", "line", "told"),
    [
        ("fields.py", "from shooting.flow import shoot", "fields imports flow"),
        ("fields.py", "from shooting import flow", "fields imports flow"),
        ("fields.py", "def f():\n    import shooting.fit", "fields imports fit"),
        ("native/build.py", "from shooting import UpDown", "native imports __init__"),
        ("fit.py", "import shooting", "fit imports __init__"),
        ("fit.py", "from shooting import study", "fit imports study"),
        ("spaces.py", "from shooting.features import Identity", "spaces imports features"),
        ("brand_new.py", "", "brand_new has no row"),
    ],
)
def test_control_an_import_against_the_order_of_the_library_is_found(package, name, line, told):
    with (package / name).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    assert uphill(package, LIBRARY, "shooting.") == {told}


@pytest.mark.parametrize(
    ("name", "line", "told"),
    [
        ("data/circles.py", "from shooting.study import records", "data imports records"),
        (
            "experiments/base.py",
            "from shooting.study.theory.linear import solve",
            "experiments imports theory",
        ),
        (
            "experiments/base.py",
            "import shooting.study.universality.bounds",
            "experiments imports universality",
        ),
        ("records/store.py", "from shooting.study import claims", "records imports claims"),
        ("claims/rule.py", "from shooting.study.figures import save", "claims imports figures"),
        ("brand_new.py", "", "brand_new has no row"),
    ],
)
def test_control_an_import_against_the_order_of_the_study_is_found(package, name, line, told):
    with (package / "study" / name).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    assert uphill(package / "study", STUDY, "shooting.study.") == {told}
