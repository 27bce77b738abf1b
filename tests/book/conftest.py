"""Fixtures of the book's tests: the built pages, and figures that nobody sees."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import pytest
from site_folder import built_site

mpl.use("Agg")


@pytest.fixture(scope="session")
def site(root: Path) -> Path:
    """The built book."""
    return built_site(root)
