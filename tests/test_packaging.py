"""One set of exact versions, ranges that allow them, and a checkout that names no machine."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import shooting

LINE = re.compile(r"^(?P<name>[a-z0-9][a-z0-9.-]*)==(?P<version>[0-9][A-Za-z0-9.!]*)$")
# Text that may name a folder or a host of one machine: vendored files are exempt.
TEXT = {".py", ".md", ".ipynb", ".toml", ".txt", ".yml", ".yaml", ".cfg", ".cff", ".json", ".css"}
# Spelled in pieces, so that this file passes its own test.
FOLDERS = ("home", "root", "Users", "tmp", "opt", "work", "mnt", "scratch")


@pytest.fixture(scope="module")
def pins(root) -> dict[str, str]:
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lines if line and not line.startswith("#")]
    malformed = [line for line in pinned if LINE.match(line) is None]
    assert malformed == [], "only name==version, without local suffix, path or option"
    return dict(line.split("==") for line in pinned)


@pytest.fixture(scope="module")
def requirements(project) -> list[Requirement]:
    extras = project["optional-dependencies"].values()
    listed = project["dependencies"] + [text for extra in extras for text in extra]
    return [r for r in map(Requirement, listed) if r.name != project["name"]]


def distributions(project, *extras: str) -> set[str]:
    """Distributions that an installation with some extras asks for by name."""
    found: set[str] = set()
    listed = [*project["dependencies"]]
    for extra in extras:
        listed += project["optional-dependencies"][extra]
    for requirement in map(Requirement, listed):
        if requirement.name == project["name"]:
            found |= distributions(project, *requirement.extras)
        found.add(canonicalize_name(requirement.name))
    return found - {project["name"]}


def test_every_requirement_is_pinned_within_its_range(requirements, pins):
    outside = [
        f"{requirement} but {pins.get(canonicalize_name(requirement.name))}"
        for requirement in requirements
        if not requirement.specifier.contains(
            pins.get(canonicalize_name(requirement.name), "0.dev0"), prereleases=True
        )
    ]
    assert outside == []


def test_ranges_have_no_exact_version(requirements):
    """constraints.txt is the only place with exact versions."""
    exact = [str(r) for r in requirements if any(s.operator in ("==", "===") for s in r.specifier)]
    assert exact == []


def test_every_requirement_has_a_lower_bound(requirements):
    loose = [str(r) for r in requirements if not any(s.operator == ">=" for s in r.specifier)]
    assert loose == []


# --- what is imported, and what is asked for -----------------------------------------------


@functools.cache  # reads the metadata of everything that is installed
def providers() -> Mapping[str, list[str]]:
    """Distributions by the names under which their packages are imported."""
    return packages_distributions()


def imported(source: str) -> set[str]:
    """Distributions of the packages that a source imports, wherever in it; none of Python's own."""
    named: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            named |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            named.add(node.module.partition(".")[0])
    known = providers()
    third = named - set(sys.stdlib_module_names) - {"shooting"}
    return {canonicalize_name(known.get(name, [name])[0]) for name in third}


def used(paths: Iterable[Path]) -> set[str]:
    return set().union(*(imported(path.read_text(encoding="utf-8")) for path in paths))


@pytest.fixture(scope="module")
def houses(root) -> tuple[list[Path], list[Path]]:
    """Sources of the library and of the study."""
    every = sorted((root / "shooting").rglob("*.py"))
    study = [path for path in every if (root / "shooting" / "study") in path.parents]
    return [path for path in every if path not in study], study


def test_the_library_needs_its_base_dependencies_and_nothing_else(houses, project):
    assert used(houses[0]) == distributions(project)
    assert distributions(project) == {"torch", "torchdiffeq", "numpy", "tqdm"}


def test_the_study_needs_its_extra_and_nothing_else(houses, project):
    assert used(houses[1]) <= distributions(project, "study")
    assert not used(houses[1]) <= distributions(project)  # the control: the extra is needed


def test_each_extra_contains_the_one_it_builds_on(project):
    assert distributions(project, "study") <= distributions(project, "book")
    assert distributions(project, "check") <= distributions(project, "test")
    base = distributions(project)
    assert distributions(project, "check") & distributions(project, "study") == base


@pytest.mark.parametrize(
    ("line", "distribution"),
    [
        ("import matplotlib.pyplot as plt", "matplotlib"),
        ("from PIL import Image", "pillow"),
        ("def f():\n    import yaml", "pyyaml"),
        ("import no_such_package", "no-such-package"),
    ],
)
def test_control_a_foreign_import_is_found(line, distribution):
    assert imported(f"import os\nfrom shooting import fit\n{line}") == {distribution}


# -------------------------------------------------------------------------------------------


def test_installed_versions_are_the_pinned_ones(pins):
    installed = {}
    for name in pins:
        try:
            installed[name] = Version(version(name)).public
        except PackageNotFoundError:
            continue  # belongs to an extra that is not installed here
    assert {"torch", "jupyter-book", "pytest"} <= set(installed)
    different = {n: (v, pins[n]) for n, v in installed.items() if Version(v) != Version(pins[n])}
    assert different == {}


def test_environment_file_defers_to_the_constraints(root):
    environment = yaml.safe_load((root / "environment.yml").read_text(encoding="utf-8"))
    names = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert [name.split("=")[0] for name in names] == ["python", "pip"]
    assert pip == ["-c constraints.txt", "-e .[book,test]"]


def test_version_is_the_same_everywhere(project, root):
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert shooting.__version__ == project["version"] == str(citation["version"])
    assert f"## [{project['version']}]" in changes


def test_import_is_silent():
    """What it loads is the matter of test_houses.py."""
    command = [sys.executable, "-W", "error", "-c", "import shooting"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("", "")


def machine_paths(text: str) -> list[str]:
    """Absolute paths that exist on one machine only."""
    return re.findall(rf"(?<![\w.:/<~-])/(?:{'|'.join(FOLDERS)})/[\w.-]+", text)


def test_no_file_names_a_path_of_one_machine(tracked, root):
    found = {
        str(path.relative_to(root)): paths
        for path in tracked
        if path.suffix in TEXT | {""} and "mathjax" not in path.parts
        if (paths := machine_paths(path.read_text(encoding="utf-8")))
    }
    assert found == {}


@pytest.mark.parametrize("folder", FOLDERS)
def test_control_a_path_of_one_machine_is_found(folder):
    assert machine_paths(f'open("/{folder}/me/data.npz")') == [f"/{folder}/me"]
    assert machine_paths("see https://example.org/home/page and ./tmp/x") == []


def test_no_large_file(tracked, root):
    """Vendored MathJax (2.1 MB) is the one exception to half a megabyte."""
    large = [
        str(path.relative_to(root))
        for path in tracked
        if path.stat().st_size > 500_000 and "mathjax" not in path.parts
    ]
    assert large == []
