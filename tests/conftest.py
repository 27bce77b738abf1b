"""Fixtures of all tests, and the strict mode in which a skipped check counts as a failure.

Nothing here needs more than the library: what the study, the book or the browser needs is in the
conftest.py of its own folder.

SHOOTING_STRICT=1 is set where everything that the tests need has been installed (.ci/run).
There a skip would hide a check that nobody runs; only tests marked `gpu` may skip.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

os.environ["GIT_OPTIONAL_LOCKS"] = "0"  # tests kill processes that may be asking git
torch.set_num_threads(1)
settings.register_profile(
    "shooting", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shooting")


def _strict() -> bool:
    return os.environ.get("SHOOTING_STRICT", "") not in ("", "0")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Under SHOOTING_STRICT turn the skip of any test but a GPU test into a failure."""
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if _strict() and skipped and item.get_closest_marker("gpu") is None:
        report.outcome = "failed"
        report.longrepr = f"SHOOTING_STRICT forbids this skip: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Under SHOOTING_STRICT turn the skip of a whole module into a collection error."""
    report = yield
    if _strict() and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"SHOOTING_STRICT forbids skipping {collector.nodeid}: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """A model built without a seed asks PyTorch's generator: the same in every run of a test."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def project() -> dict:
    """The table [project] of pyproject.toml."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]


@pytest.fixture(scope="session")
def tracked() -> list[Path]:
    """Every file that git tracks, or would track."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no git checkout here")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    return [path for path in paths if path.is_file()]


@pytest.fixture(scope="module")
def float64() -> Iterator[None]:
    """Double precision for a module: ``pytestmark = pytest.mark.usefixtures("float64")``."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)
