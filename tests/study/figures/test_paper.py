"""Figures of the paper by name: every record they need is in a grid, and gaps are said."""

import pytest

from shooting.study import records
from shooting.study.experiments import EXPERIMENTS
from shooting.study.figures import paper
from shooting.study.records import store


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """The configs a figure asks for, with no records anywhere."""
    monkeypatch.setenv("SHOOTING_RECORDS", str(tmp_path / "records"))
    monkeypatch.setenv("SHOOTING_STATE", str(tmp_path / "state"))
    wanted = []

    def load(name, config):
        wanted.append((name, config))

    monkeypatch.setattr(records, "load", load)
    return wanted


@pytest.mark.parametrize("name", paper.FIGURES)
def test_a_figure_asks_only_for_records_of_the_grid(name, asked):
    with pytest.raises(records.NotRunError, match="make runs EXPERIMENT="):
        paper.figure(name)
    assert asked
    for experiment, config in asked:
        assert config in EXPERIMENTS[experiment].grid("paper")


def test_an_unknown_figure_is_refused():
    with pytest.raises(ValueError, match=r"expected a figure among .*, got 'fig99'; try"):
        paper.figure("fig99")


def test_tables_have_the_published_size():
    assert paper.table1().shape == (6, 6)
    assert paper.table2().shape == (5, 4)


def test_gather_computes_only_under_the_profile_paper(monkeypatch):
    computed = []
    monkeypatch.setattr(store, "load", lambda *_: None)
    monkeypatch.setattr(store, "compute", lambda _, config, wait: computed.append(config))
    assert records.gather("regression", "quick") == []
    assert not computed
    records.gather("regression", "paper")
    assert len(computed) == len(EXPERIMENTS["regression"].grid("paper"))
    with pytest.raises(ValueError, match="expected a profile"):
        records.gather("regression", "smoke")
