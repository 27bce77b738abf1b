"""Where the built book is, for the tests of the book and of the browser."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def built_site(root: Path) -> Path:
    """The built book: SHOOTING_SITE, or where `make test` builds it; skips if there is none."""
    folder = Path(os.environ.get("SHOOTING_SITE", root / "_build" / "test" / "html"))
    if not (folder / "index.html").exists():
        pytest.skip(f"no built book in {folder}: run make test, or set SHOOTING_SITE")
    return folder
