"""Ensembles that failed whole: claims judge them, figures, tables and ranges leave them out."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from shooting.study import records
from shooting.study.claims import judge_all
from shooting.study.claims.published import PUBLISHED
from shooting.study.figures import circles, paper, spiral
from shooting.study.records import store
from shooting.study.records.record import Unmeasured

STILL_IN_PART = {"K7c"}  # 0 of 50 successes are compatible with the published 4 %


@pytest.fixture
def every_run_failed(monkeypatch):
    """The committed records, as they would be if every run of every ensemble had met NaN."""
    fail(monkeypatch, lambda config: True)


@pytest.fixture
def paper_model_failed(monkeypatch):
    """The same for the dynamic model with particles alone."""
    fail(monkeypatch, lambda config: getattr(config, "model", "") == "dynamic_particles")


def fail(monkeypatch, which):
    whole = store.read

    def read(path, config):
        found = whole(path, config)
        if not which(config):
            return found
        runs = len(found.failed_at)
        nothing = {"metrics": Unmeasured(runs), "arrays": {}, "facts": {}}
        return replace(found, failed_at=np.zeros(runs, int), **nothing)

    monkeypatch.setattr(store, "read", read)


@pytest.mark.usefixtures("every_run_failed")
def test_nothing_is_reproduced():
    status = {claim.id: verdict.status for claim, verdict in judge_all()}
    assert set(status.values()) == {"not reproduced", "partly", "not run"}
    assert {name for name, word in status.items() if word == "partly"} == STILL_IN_PART


@pytest.mark.usefixtures("paper_model_failed")
@pytest.mark.parametrize("name", paper.FIGURES)
def test_figures_stay(name):
    """Warnings are errors here, as they would be on a page."""
    figure, _ = paper.figure(name)
    figure.canvas.draw()
    plt.close("all")


@pytest.mark.usefixtures("every_run_failed")
@pytest.mark.parametrize(
    ("experiment", "drawn"),
    [
        ("spiral", spiral.predictions),
        ("circles", lambda found: circles.snapshots(circles.recorded(found))),
    ],
)
def test_pictures_of_single_ensembles_stay_empty(experiment, drawn):
    figure = drawn(records.load_all(experiment, "paper")[:3])
    figure.canvas.draw()
    plt.close("all")


@pytest.mark.usefixtures("every_run_failed")
@pytest.mark.parametrize("name", paper.TABLES)
def test_tables_stay(name):
    assert len(paper.TABLES[name]())


@pytest.mark.usefixtures("every_run_failed")
def test_numbers_beside_the_published_ones_stay():
    assert all(p.ours() for p in PUBLISHED)
