"""Fixtures of the study's tests: folders of a test's own, the toy experiment, figures unseen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import pytest
import torch
from toy import TOY

from shooting.study.experiments import EXPERIMENTS

mpl.use("Agg")


@pytest.fixture(autouse=True)
def own_drawing_settings() -> Iterator[None]:
    """A test that switches the book's style on (the command `figure` does) leaves none behind."""
    with mpl.rc_context():
        yield


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """State and records in a folder of the test's own, and the toy experiment among the known."""
    monkeypatch.setenv("SHOOTING_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("SHOOTING_RECORDS", str(tmp_path / "records"))
    monkeypatch.delenv("FRESH", raising=False)
    monkeypatch.setitem(EXPERIMENTS, "toy", TOY)
    return tmp_path


@pytest.fixture
def only_toy(folders: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The toy experiment as the only one; threads that a command has set are taken back."""
    for name in reversed(list(EXPERIMENTS)):  # they come back in the opposite order
        if name != "toy":
            monkeypatch.delitem(EXPERIMENTS, name)
    yield
    torch.set_num_threads(1)
