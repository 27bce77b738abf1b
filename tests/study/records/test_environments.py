"""A training that goes on in another environment says so, and its record knows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import toy
from toy import TOY, ToyConfig

from shooting.study import records
from shooting.study.records import provenance
from shooting.study.records.checkpoints import FileCheckpoint
from shooting.study.records.store import checkpoint_of
from tests.study.records.handling import CONFIG, interrupt

pytestmark = pytest.mark.usefixtures("folders")


def begin_elsewhere(**settings):
    """Train CONFIG in another process that dies in its third epoch."""
    code = (
        "import torch, toy; from shooting.study import records; torch.set_num_threads(1); "
        f"records.compute(toy.TOY, toy.ToyConfig(epochs={CONFIG.epochs}), seconds=0)"
    )
    places = [str(Path(toy.__file__).parent), *filter(None, sys.path)]
    surroundings = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "TOY_KILL": "13"}
    done = subprocess.run([sys.executable, "-c", code], env={**surroundings, **settings})
    assert done.returncode == -9


def test_a_compiler_that_appears_is_recorded(caplog, tmp_path):
    begin_elsewhere(CC="false", XDG_CACHE_HOME=str(tmp_path / "empty"))
    record = records.compute(TOY, CONFIG)
    assert record.provenance["resumed"] == 1
    assert provenance.mixed(record.provenance)
    ways = [e["compiled route"] for e in record.provenance["environments"]]
    assert ways == ["no", "yes"]
    said = [r.message for r in caplog.records if "another environment" in r.message]
    assert len(said) == 1
    assert "compiled route no then, yes now" in said[0]


def test_another_number_of_threads_is_recorded():
    begin_elsewhere(SHOOTING_THREADS="2")
    record = records.compute(TOY, CONFIG)
    assert [e["threads of a solve"] for e in record.provenance["environments"]] == ["2", "1"]


def test_control_the_same_environment_is_not_mixed(monkeypatch, caplog):
    interrupt(monkeypatch)
    record = records.compute(TOY, CONFIG)
    assert record.provenance["resumed"] == 1
    assert "environments" not in record.provenance
    assert not provenance.mixed(record.provenance)
    assert "another environment" not in caplog.text


def test_a_training_without_interruption_has_one(monkeypatch):
    record = records.compute(TOY, ToyConfig(label=1, epochs=6))
    assert not provenance.mixed(record.provenance)


def test_environments_add_up(tmp_path):
    """Three processes, the second and third alike: two environments."""
    path = tmp_path / "state.safetensors"
    for now in ("a", "b", "b"):
        kept = FileCheckpoint(path, environment=lambda now=now: {"where": now})
        kept.load()
        kept.save({})
    assert kept.environments == [{"where": "a"}, {"where": "b"}]
    assert checkpoint_of(TOY, CONFIG).environments == []  # asked only when a state is used
