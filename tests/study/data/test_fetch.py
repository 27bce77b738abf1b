"""Fetching MNIST's test files, from mirrors in a folder: no test asks a network."""

from __future__ import annotations

import hashlib
import http.server
import threading

import pytest

from shooting.errors import MissingDataError
from shooting.study.data import fetch


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A mirror with two small files that pass for the published ones."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    for name in fetch.FILES:
        (folder / name).write_bytes(name.encode())
        known = hashlib.sha256(name.encode()).hexdigest()
        monkeypatch.setitem(fetch.FILES, name, known)
    return folder


def address(folder):
    return f"{folder.as_uri()}/"


def test_what_is_missing_is_fetched_once(tmp_path, published):
    target, mirrors = tmp_path / "data", [address(published)]
    assert fetch.fetch_mnist(target, mirrors=mirrors) == [target / name for name in fetch.FILES]
    assert {p.name: p.read_bytes() for p in target.iterdir()} == {
        n: n.encode() for n in fetch.FILES
    }
    assert fetch.fetch_mnist(target, mirrors=mirrors) == []


def test_what_is_right_asks_nobody(tmp_path, published):
    assert fetch.fetch_mnist(published, mirrors=[]) == []


def test_what_is_damaged_is_fetched_again(tmp_path, published):
    target, mirrors = tmp_path / "data", [address(published)]
    fetch.fetch_mnist(target, mirrors=mirrors)
    broken = target / next(iter(fetch.FILES))
    broken.write_bytes(b"half")
    assert fetch.fetch_mnist(target, mirrors=mirrors) == [broken]
    assert broken.read_bytes() == broken.name.encode()


def test_the_next_mirror_is_asked(tmp_path, published):
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    for name in fetch.FILES:
        (wrong / name).write_bytes(b"something else")
    mirrors = [address(tmp_path / "gone"), address(wrong), address(published)]
    assert len(fetch.fetch_mnist(tmp_path / "data", mirrors=mirrors)) == len(fetch.FILES)


def test_other_content_is_refused_in_one_sentence(tmp_path, published):
    (published / next(iter(fetch.FILES))).write_bytes(b"something else")
    mirrors = [address(tmp_path / "gone"), address(published)]
    with pytest.raises(MissingDataError) as error:
        fetch.fetch_mnist(tmp_path / "data", mirrors=mirrors)
    assert "other content" in str(error.value)
    assert "by hand" in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "data").exists()


def test_half_an_answer_is_no_answer(tmp_path, published):
    class Half(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"ten bytes.")

        def log_message(self, *about):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Half) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        half = f"http://127.0.0.1:{server.server_port}/"
        with pytest.raises(MissingDataError, match="bytes read"):
            fetch.fetch_mnist(tmp_path / "data", mirrors=[half])
        found = fetch.fetch_mnist(tmp_path / "data", mirrors=[half, address(published)])
        server.shutdown()
    assert len(found) == len(fetch.FILES)
