"""The records of a page: what is there, and under the profile paper what is missing too."""

from __future__ import annotations

import pytest
from toy import TOY

from shooting.errors import MissingDataError
from shooting.study import records
from shooting.study.records import store
from shooting.study.records.identity import record_id
from shooting.study.storage import BusyError
from tests.study.records.handling import age, rewritten, truncate_json

pytestmark = pytest.mark.usefixtures("folders")


def test_load_all_follows_the_grid():
    grid = TOY.grid("quick")
    records.compute(TOY, grid[1])
    assert [r.config for r in records.load_all("toy", "quick")] == [grid[1]]


def test_gather_trains_only_under_the_profile_paper(monkeypatch):
    assert records.gather("toy", "quick") == []
    made = records.gather("toy", "paper")
    assert [r.config for r in made] == TOY.grid("paper")
    for record in made:
        age(record)
    assert not any(map(rewritten, records.gather("toy", "paper")))
    truncate_json(made[0])
    assert len(records.gather("toy", "paper")) == len(made)


def test_what_another_process_trains_is_gathered_last(monkeypatch):
    busy, order, compute = TOY.grid("paper")[0], [], records.compute

    def watched(experiment, config, *, wait=True):
        if config == busy and not wait:
            raise BusyError("another process")
        order.append(config)
        return compute(experiment, config)

    monkeypatch.setattr(store, "compute", watched)
    assert len(records.gather("toy", "paper")) == len(order)
    assert order == [*TOY.grid("paper")[1:], busy]


@pytest.mark.parametrize("busy", [False, True])
def test_what_needs_data_of_other_machines_is_left_out(monkeypatch, caplog, capfd, busy):
    """Quietly: what a page says on the error channel stops the build of the book."""
    lacking, compute = TOY.grid("paper")[0], records.compute

    def poor(experiment, config, *, wait):
        if config == lacking:
            raise BusyError("another process") if busy and not wait else MissingDataError("no data")
        return compute(experiment, config, wait=wait)

    monkeypatch.setattr(store, "compute", poor)
    with caplog.at_level("INFO"):
        assert [r.config for r in records.gather("toy", "paper")] == TOY.grid("paper")[1:]
    assert f"{record_id('toy', lacking)} is not trained: no data" in caplog.text
    assert {r.levelname for r in caplog.records if "not trained" in r.message} == {"INFO"}
    assert capfd.readouterr().err == ""
