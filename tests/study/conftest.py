"""Fixtures of the study's tests: folders of a test's own, the toy experiment, figures unseen."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import pytest
from toy import TOY

from shooting.study.experiments import EXPERIMENTS

mpl.use("Agg")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """State and records in a folder of the test's own, and the toy experiment among the known."""
    monkeypatch.setenv("SHOOTING_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("SHOOTING_RECORDS", str(tmp_path / "records"))
    monkeypatch.delenv("FRESH", raising=False)
    monkeypatch.setitem(EXPERIMENTS, "toy", TOY)
    return tmp_path
