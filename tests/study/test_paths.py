"""The study's folders: each has a variable, a default, and a sentence where there is neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from shooting.study import paths

VARIABLES = {
    "SHOOTING_STATE": paths.state_folder,
    "SHOOTING_RECORDS": paths.records_folder,
    "SHOOTING_DATA": paths.data_folder,
    "SHOOTING_FIGDIR": paths.figures_folder,
}


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    for name in (*VARIABLES, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", VARIABLES)
def test_a_folder_is_where_its_variable_says(name, monkeypatch):
    monkeypatch.setenv(name, "somewhere/else")
    assert VARIABLES[name]() == Path("somewhere/else")
    monkeypatch.setenv(name, "")  # as if it were not set
    assert VARIABLES[name]() != Path("somewhere/else")


def test_defaults(monkeypatch, tmp_path, root):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert paths.state_folder() == tmp_path / "shooting" / "state"
    assert paths.records_folder() == root / "book" / "records"
    assert paths.data_folder() is None
    assert paths.figures_folder() is None


def test_without_a_home_the_variable_is_named(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(RuntimeError, match="set SHOOTING_STATE"):
        paths.state_folder()


def test_a_file_of_the_book_is_found_or_asked_for(root, monkeypatch, tmp_path):
    assert paths.book_file("claims.yaml") == root / "book" / "claims.yaml"
    monkeypatch.setattr(paths, "CHECKOUT", tmp_path)
    with pytest.raises(paths.NotInCheckoutError, match=r"book/claims.yaml .* found none in .*; "):
        paths.book_file("claims.yaml")
