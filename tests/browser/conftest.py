"""Fixtures of the tests in a browser: the built pages, served, and Chromium of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pdf
import pytest
from site_folder import built_site

from tests.browser.visit import PATIENCE, serve

# No name is looked up, so that a slow or absent name server changes nothing.
LAUNCH = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]


@pytest.fixture(scope="session")
def site(root: Path) -> Path:
    """The built book."""
    return built_site(root)


@pytest.fixture(scope="module")
def address(site) -> Iterator[str]:
    yield from serve(site)


@pytest.fixture(scope="module")
def browser():
    """Chromium of this machine; closed with the module, so that its event loop ends here."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the extra 'browser'")
    path = pdf.browser()
    if path is None:
        pytest.skip("needs Chromium on the PATH")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=LAUNCH, timeout=PATIENCE)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core, as a Python package brings it."""
    package = pytest.importorskip("axe_playwright_python", reason="needs the extra 'browser'")
    return (Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
