"""Several processes at one record: one trains, and nobody reads half of it."""

from __future__ import annotations

import multiprocessing
import os
import time

import numpy as np
import pytest
from toy import TOY, ToyConfig

from shooting.study import records
from shooting.study.experiments import Experiment
from shooting.study.records import files, store
from shooting.study.records.identity import record_id
from shooting.study.storage import BusyError, is_locked, lock
from tests.study.records.handling import CONFIG

pytestmark = pytest.mark.usefixtures("folders")
PATIENCE = 240  # seconds for a process to start and import torch on a busy machine


def hold(path, ready):
    with lock(path):
        ready.send("ready")
        time.sleep(4 * PATIENCE)  # killed long before


@pytest.fixture
def elsewhere():
    """Another process that holds the lock of CONFIG."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=hold, args=(store.lock_path(TOY, CONFIG), there))
    process.start()
    assert here.poll(PATIENCE)
    yield process
    process.kill()
    process.join(PATIENCE)


def test_a_run_of_another_process_is_left_alone(elsewhere):
    assert records.state_of(TOY, CONFIG) == "running"
    with pytest.raises(BusyError, match="another process"):
        records.compute(TOY, CONFIG, wait=False)


def test_a_killed_process_leaves_no_lock(elsewhere):
    elsewhere.kill()
    elsewhere.join(PATIENCE)
    assert not is_locked(store.lock_path(TOY, CONFIG))
    assert records.compute(TOY, CONFIG, wait=False).id == record_id("toy", CONFIG)


def train_slowly(result, folder):
    def slow(config, checkpoint):
        with (folder / "trainings").open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.5)
        return TOY.train(config, checkpoint)

    record = records.compute(
        Experiment("toy", ToyConfig, TOY.grid, slow), ToyConfig(epochs=6), seconds=0
    )
    result.put(record.arrays["parameters"].tolist())


def test_two_processes_train_once_and_agree(folders):
    context = multiprocessing.get_context("spawn")
    result = context.Queue()
    both = [context.Process(target=train_slowly, args=(result, folders)) for _ in range(2)]
    for process in both:
        process.start()
    one, two = (result.get(timeout=PATIENCE) for _ in both)
    for process in both:
        process.join(PATIENCE)
    assert one == two
    assert len((folders / "trainings").read_text().split()) == 1


@pytest.mark.parametrize("moment", ["whole", "half"])
def test_a_record_that_is_being_replaced_is_the_new_one_or_none(record, monkeypatch, moment):
    """Between the reading of its JSON and of its arrays another process puts a new one there."""
    document, arrays = files.read_document(record.path), record.arrays
    honest, done = files.read_arrays, []

    def late(path, about):
        if not done:
            done.append(True)
            files.write(record.path, document, {**arrays, "new": np.ones(1)})
            if moment == "half":
                record.path.unlink()  # as it is before the new JSON is there
        return honest(path, about)

    monkeypatch.setattr("shooting.study.records.record.read_arrays", late)
    found = records.load("toy", CONFIG)
    assert done
    assert (found is None) if moment == "half" else ("new" in found.arrays)
