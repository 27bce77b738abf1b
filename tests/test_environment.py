"""Environment variables and the cache folder: read in one place, refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from shooting import environment
from shooting.environment import cache_folder, count, variable

NAME = "SHOOTING_OF_THIS_TEST"


@pytest.mark.parametrize(("text", "value"), [("x", "x"), ("0", "0"), ("", None)])
def test_an_empty_variable_is_none(monkeypatch, text, value):
    assert variable(NAME) is None
    monkeypatch.setenv(NAME, text)
    assert variable(NAME) == value


def test_a_count_is_a_whole_number(monkeypatch):
    assert count(NAME) is None
    monkeypatch.setenv(NAME, "3")
    assert count(NAME) == 3


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "two", ""])
def test_what_is_no_count_is_refused(monkeypatch, text):
    monkeypatch.setenv(NAME, text)
    with pytest.raises(ValueError, match=rf"expected {NAME} to be .*, got '{text}'; try "):
        count(NAME)


@pytest.mark.parametrize(("system", "inside"), [("linux", ".cache"), ("darwin", "Library/Caches")])
def test_the_cache_is_where_the_system_has_it(monkeypatch, tmp_path, system, inside):
    monkeypatch.setattr(environment.sys, "platform", system)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder(NAME) == tmp_path / inside / "shooting"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "chosen"))
    assert cache_folder(NAME) == tmp_path / "chosen" / "shooting"


def test_without_a_home_the_variable_to_set_is_named(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(RuntimeError, match=f"expected a home folder .*; set {NAME}"):
        cache_folder(NAME)
