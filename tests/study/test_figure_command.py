"""``python -m shooting figure``: where the files go, that it says so, and what is missing."""

from __future__ import annotations

import re

import pytest

from shooting.study.cli import main
from shooting.study.experiments import EXPERIMENTS
from shooting.study.experiments.regression import REGRESSION
from shooting.study.storage import CorruptFileError


@pytest.mark.parametrize("chosen", [None, "drawn"])
def test_a_figure_goes_where_the_command_says(chosen, tmp_path, monkeypatch, capsys):
    """Into $SHOOTING_FIGDIR, or the folder figures where one stands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHOOTING_FIGDIR", raising=False)
    if chosen:
        monkeypatch.setenv("SHOOTING_FIGDIR", chosen)
    assert main(["figure", "fig9"]) == 0
    folder = chosen or "figures"
    told = capsys.readouterr().out
    assert re.fullmatch(rf"fig9: drawn from \d+ records into {folder}/fig9.svg, .pdf, .png\n", told)
    assert {p.name for p in (tmp_path / folder).iterdir()} == {
        f"fig9.{k}" for k in ("svg", "pdf", "png")
    }
    assert [p.name for p in tmp_path.iterdir()] == [folder]  # and nowhere else


def test_a_figure_without_records_is_a_sentence_and_a_failure(only_toy, monkeypatch, capsys):
    monkeypatch.setitem(EXPERIMENTS, "regression", REGRESSION)
    assert main(["figure", "fig2"]) == 1
    assert "fig2: " in (said := capsys.readouterr().out)
    assert "make runs EXPERIMENT=regression" in said
    assert main(["figure", "tab1"]) == 0
    assert "dynamic direct" in capsys.readouterr().out
    assert main(["figure", "fig2", "tab1"]) == 1  # the others are drawn
    assert "dynamic direct" in capsys.readouterr().out


def test_a_corrupt_record_is_named_and_the_other_figures_are_drawn(monkeypatch, capsys):
    from shooting.study.figures import paper

    def damaged(name):
        raise CorruptFileError("expected ab12.json as written, but it was changed")

    monkeypatch.setattr(paper, "figure", damaged)
    assert main(["figure", "fig2", "tab1"]) == 1
    told = capsys.readouterr().out
    assert "fig2: expected ab12.json as written" in told
    assert "dynamic direct" in told


def test_an_unknown_figure_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        main(["figure", "fig4"])
    assert "expected one of fig10, fig11, fig2" in capsys.readouterr().err
