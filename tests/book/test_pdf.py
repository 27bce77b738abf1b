"""`make pdf` prints every link to a place in the book, and none to a file of this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pdf
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PAGE = """<!doctype html><title>t</title><span id="document-book/b"></span><h1 id="here">b</h1>
<a href="other.html#here">there</a> <a href="../book/b.html">page</a>
<a href="gone.html">gone</a> <a href="https://example.org/">outside</a>"""


@pytest.fixture
def executable() -> str:
    pytest.importorskip("playwright", reason="needs the extra 'browser'")
    path = pdf.browser()
    if path is None:
        pytest.skip("needs Chromium on the PATH")
    return path


def printed(folder: Path, executable: str) -> bytes:
    page = folder / "page.html"
    page.write_text(PAGE, encoding="utf-8")
    pdf.print_page(page, folder / "page.pdf", executable)
    assert sorted(path.name for path in folder.iterdir()) == ["page.html", "page.pdf"]
    return (folder / "page.pdf").read_bytes()


def test_no_link_leads_to_a_file(tmp_path, executable):
    written = printed(tmp_path, executable)
    assert written.startswith(b"%PDF")
    assert b"https://example.org/" in written
    assert b"file:" not in written
    assert written.count(b"/Subtype /Link") == 3  # the one that led nowhere is text


def test_control_without_rewiring_they_do(tmp_path, executable, monkeypatch):
    monkeypatch.setattr(pdf, "REWIRE", "() => null")
    assert b"file:" in printed(tmp_path, executable)


def test_without_chromium_one_line_says_so(root, tmp_path):
    command = [sys.executable, root / "book" / "_tools" / "pdf.py", "page.html", "page.pdf"]
    run = subprocess.run(command, cwd=tmp_path, env={"PATH": ""}, capture_output=True, text=True)
    assert run.returncode == 1
    assert "try installing Chromium" in run.stderr


def test_a_page_without_a_target_is_refused(root, tmp_path):
    command = [sys.executable, root / "book" / "_tools" / "pdf.py", "page.html"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 2
    assert "a page and a target" in run.stderr
