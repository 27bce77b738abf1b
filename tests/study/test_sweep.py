"""A sweep that is killed goes on: nothing lost, nothing run twice, the same summary."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from toy import TOY

from shooting import study
from shooting.study import records
from shooting.study.storage import is_locked

pytest.importorskip("snakemake", reason="the extra 'sweep' is not installed")
pytestmark = [pytest.mark.sweep, pytest.mark.slow, pytest.mark.timeout(1800)]

SWEEP = Path(study.__file__).parent / "sweep"
TOY_FILE = Path(__file__).with_name("toy.py")
# Snakemake takes ten seconds to start; SHOOTING_KILLS=20 has been tried and takes minutes
KILLS = int(os.environ.get("SHOOTING_KILLS", "3"))
PATIENCE = 240  # seconds until a step that should happen is taken to have failed


class Sweep:
    """Sweeps of the toy grid in a folder of their own."""

    def __init__(self, folder: Path, profile: str = "local"):
        self.folder, self.profile = folder, profile
        self.log, self.source = folder / "log", folder / "sources" / "a.py"
        self.source.parent.mkdir(parents=True)
        self.source.write_text("a = 1\n")  # stands for the package, which others may edit
        self.environment = {
            **os.environ,
            "SHOOTING_STATE": str(folder / "state"),
            "SHOOTING_RECORDS": str(folder / "records"),
            "TOY_LOG": str(self.log),
            "XDG_CACHE_HOME": str(folder / "cache"),
        }

    def start(self, *options: str, **config: object) -> subprocess.Popen[str]:
        settings = {
            "experiment": "toy",
            "profile": "quick",
            "command": shlex.join([sys.executable, str(TOY_FILE)]),
            "checkpoint_seconds": 0,
            "sources": self.source.parent,
            **config,
        }
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(SWEEP / "Snakefile")]
        command += ["--profile", str(SWEEP / "profiles" / self.profile)]
        command += [] if self.profile == "stub" else ["--cores", "2"]
        command += [*options, "--config", *(f"{k}={v}" for k, v in settings.items())]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *options: str, **config: object) -> str:
        process = self.start(*options, **config)
        try:
            said, _ = process.communicate(timeout=3 * PATIENCE)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # leaves nothing behind that runs on
        assert process.returncode == 0, said
        return said

    def files(self) -> list[Path]:
        return sorted((self.folder / "state" / "records" / "toy").glob("*.json"))

    def epochs(self) -> Counter[str]:
        """How often each epoch of each config was trained."""
        return Counter(self.log.read_text().splitlines() if self.log.exists() else [])

    def summary(self) -> dict[str, object]:
        """All records, provenance apart."""
        return {path.stem: without_provenance(path) for path in self.files()}


def without_provenance(path: Path) -> dict[str, object]:
    document = json.loads(path.read_bytes())
    return {k: v for k, v in document.items() if k not in ("provenance", "sha256")}


def wait_for(condition, what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited {PATIENCE} s for {what}"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A sweep that nobody disturbed."""
    sweep = Sweep(tmp_path_factory.mktemp("whole") / "run")
    sweep.said = sweep.run()
    return sweep


def test_a_sweep_trains_the_grid_once_and_reports(whole):
    assert set(whole.epochs().values()) == {1}
    assert len(whole.files()) == len(TOY.grid("quick"))
    assert "toy (quick): done 2, missing 0" in whole.said


def test_a_second_sweep_has_nothing_to_do(whole):
    assert "Nothing to be done" in whole.run("--dry-run")


def test_a_sweep_into_a_folder_agrees_with_itself(tmp_path):
    """It ended with "2 of 2 steps done" and "done 0, missing 2", and began again when asked."""
    sweep, out = Sweep(tmp_path / "run"), tmp_path / "out of it"
    said = sweep.run(out=out)
    assert "toy (quick): done 2, missing 0" in said
    assert len(list((out / "toy").glob("*.json"))) == 2
    assert "Nothing to be done" in sweep.run("--dry-run", out=out)
    assert "train        2" in sweep.run("--dry-run")  # control: elsewhere there is nothing
    assert set(sweep.epochs().values()) == {1}


def test_a_corrupt_record_is_trained_again_and_changed_sources_are_looked_at(whole):
    """The receipt of a corrupt record is void; a valid record outlives a changed source."""
    corrupt, valid = whole.files()
    before, kept = corrupt.read_bytes(), valid.stat().st_mtime_ns
    whole.source.write_text("a = 2\n")
    planned = whole.run("--dry-run")
    assert str(whole.source) in planned
    assert "train        2" in planned
    corrupt.write_bytes(before[:-9])
    whole.run()
    assert without_provenance(corrupt) == {
        k: v for k, v in json.loads(before).items() if k not in ("provenance", "sha256")
    }
    assert valid.stat().st_mtime_ns == kept
    assert sorted(whole.epochs().values()) == [1] * 6 + [2] * 6


def kill(sweep: Sweep, epochs: int) -> bool:
    """SIGKILL a sweep, jobs and all, after some more epochs; False if it was done before."""
    process, before = sweep.start(profile="paper"), sum(sweep.epochs().values())
    enough = before + epochs
    wait_for(
        lambda: sum(sweep.epochs().values()) >= enough or process.poll() is not None,
        f"{epochs} more epochs",
    )
    done = process.poll() is not None
    if not done:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    wait_for(lambda: not any(map(is_locked, sweep.folder.rglob("*.lock"))), "the end of the jobs")
    return not done


def test_a_sweep_killed_again_and_again_is_one_in_one_go(tmp_path, monkeypatch):
    """At random moments: nothing lost, nothing run twice, the same summary."""
    sweep, draw, kills = Sweep(tmp_path / "run"), random.Random(2), 0
    epochs = sum(config.epochs for config in TOY.grid("paper"))
    for _ in range(KILLS):
        done = {path: path.stat().st_mtime_ns for path in sweep.files()}
        kills += kill(sweep, draw.randint(1, epochs // KILLS))
        assert {path: path.stat().st_mtime_ns for path in done} == done
    assert kills > KILLS / 2, "most kills must have hit a sweep that was running"
    sweep.run(profile="paper")
    assert {path: path.stat().st_mtime_ns for path in done} == done

    monkeypatch.setenv("SHOOTING_STATE", str(tmp_path / "serial"))
    monkeypatch.setenv("SHOOTING_RECORDS", str(tmp_path / "none"))
    serial = [records.compute(TOY, config).path for config in TOY.grid("paper")]
    assert sweep.summary() == {path.stem: without_provenance(path) for path in serial}
    # an epoch is repeated only if it was in flight: one for each of two processes and each kill
    times = sweep.epochs()
    assert len(times) == epochs
    assert sum(times.values()) - len(times) <= 2 * kills


def test_a_cluster_with_a_submit_command(tmp_path, whole):
    pytest.importorskip("snakemake_executor_plugin_cluster_generic")
    sweep = Sweep(tmp_path / "run", profile="stub")
    said = sweep.run()
    assert "Submitted" in said
    assert sweep.summary() == whole.summary()
    assert set(sweep.epochs().values()) == {1}


def test_the_slurm_profile_is_understood(tmp_path):
    """Snakemake parses it and plans the jobs; there is no Slurm here to submit to."""
    pytest.importorskip("snakemake_executor_plugin_slurm")
    sweep = Sweep(tmp_path / "run", profile="slurm")
    assert "train" in sweep.run("--dry-run")
