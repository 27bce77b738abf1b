"""Every setting of every config has its place in the list, and no setting is made up."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace

import pytest
from problems import refused

from shooting.study.claims.declared import (
    FROM,
    Difference,
    Setting,
    load_differences,
    load_settings,
    misdeclared,
    own_fields,
    protocols,
    setting_tables,
)
from shooting.study.experiments import EXPERIMENTS
from shooting.study.experiments.convex_trap import TrapConfig
from shooting.study.experiments.regression import RegressionConfig

CONFIGS = {name: e.config for name, e in EXPERIMENTS.items()}


@pytest.fixture(scope="module")
def settings():
    return load_settings()


@pytest.fixture(scope="module")
def topics():
    return [d.topic for d in load_differences()]


def test_every_field_of_every_config_has_one_entry(settings, topics):
    assert misdeclared(settings, topics) == []
    assert {s.whence for s in settings} == set(FROM)
    assert len(set(topics)) == len(topics)


def test_fields_are_declared_where_they_are_written_once():
    assert {"frozen", "seeds"} < set(own_fields(TrapConfig))
    assert not {"epochs", "positions"} & set(own_fields(TrapConfig))
    own = {f for kind in (RegressionConfig, TrapConfig) for f in own_fields(kind)}
    assert own == set(TrapConfig.__dataclass_fields__), "with the parent's nothing is missing"


def test_control_a_new_field_without_entry_is_named(settings, topics):
    @dataclass(frozen=True)
    class Planted(RegressionConfig):
        momentum_of_the_moon: float = 1.0

    found = misdeclared(settings, topics, {**CONFIGS, "planted": Planted})
    assert found == ["planted.momentum_of_the_moon has no entry"]
    fewer = [s for s in settings if "lookup" not in s.fields]
    assert misdeclared(fewer, topics) == ["ablations.lookup has no entry"]


def test_control_an_entry_for_no_field_is_named(settings, topics):
    planted = Setting("ours", ("spiral",), "because", fields=("no_such",))
    assert misdeclared([*settings, planted], topics) == ["spiral.no_such is no field"]
    inherited = replace(planted, of=("convex_trap",), fields=("epochs",))
    assert misdeclared([*settings, inherited], topics) == ["convex_trap.epochs is no field"]


@pytest.mark.parametrize(
    ("planted", "told"),
    [
        (Setting("ours", ("spiral",), "so", fields=("batch",)), "spiral.batch has 2 entries"),
        (Setting("differ", ("spiral",), "no topic", what="w"), "no topic 'no topic'"),
        (Setting("ours", ("spiral",), "lonely"), "'lonely' is about nothing"),
        (Setting("ours", ("snail",), "so", what="w"), "'w' is of unknown 'snail'"),
    ],
)
def test_control_other_slips_are_named(settings, topics, planted, told):
    assert misdeclared([*settings, planted], topics) == [told]


def test_every_entry_says_why_and_shows_what_it_is(settings):
    assert all(s.note and s.of for s in settings)
    assert all(len(s.values()) == len(s.fields) and all(s.values()) for s in settings)
    found = {(s.of, s.fields): s.values() for s in settings}
    assert found[("regression", "spiral"), ("epochs",)] == ["500, 1500"]
    assert found[("rotating_mnist",), ("frozen_norm",)] == ["no, yes"]
    assert found[("convex_trap", "spiral_cure"), ("seeds",)] == ["0 to 49"]


def test_values_are_those_of_both_protocols():
    assert [c.protocol for c in protocols("spiral")] == ["paper", "released"]
    assert [c.precision for c in protocols("bouncing_balls")] == ["bfloat16", "bfloat16"]
    assert protocols("regression") == [RegressionConfig()]


def test_tables_hold_every_entry_once_and_fold_all_but_ours(settings):
    html = setting_tables(settings)
    opened, *folded = html.split("<details>")
    ours = [s for s in settings if s.whence == "ours"]
    assert opened.count("<tr>") == 1 + len(ours)
    assert html.count("<tr>") == len(FROM) + len(settings)
    assert len(folded) == len(FROM) - 1
    assert "a &lt; b" in setting_tables([Setting("ours", ("spiral",), "a < b", what="w")])


def test_what_the_text_does_not_name_stands_among_the_differences():
    found = {d.topic: d for d in load_differences()}
    plateau = found["regression, plateau"]
    assert "not said" in plateau.paper
    assert "every 10 epochs, patience 10" in plateau.code
    assert "logarithmic" in found["plots of losses and complexities"].here


def test_an_entry_that_makes_no_sense_is_refused(tmp_path):
    path = tmp_path / "differences.yaml"
    path.write_text("settings: [{fields: batch, of: spiral, whence: hearsay, note: n}]")
    with refused("'hearsay'", "'ours'"):
        load_settings(path)
    path.write_text("settings: [{fields: batch, whence: ours, note: n}]")
    with refused("keys of Setting", "'of'"):
        load_settings(path)
    path.write_text("settings: [{fields: batch lift, of: spiral circles, whence: ours, note: n}]")
    assert load_settings(path) == [Setting("ours", ("spiral", "circles"), "n", ("batch", "lift"))]


def test_differences_state_our_settings():
    found = {d.topic: d.here for d in load_differences()}
    assert len(found) >= 25
    assert "0.01, times 0.5, and 0.05, times 0.1" in found["spiral, learning rate"]
    assert not any("{" in text for text in found.values())
    cells = [cell for d in load_differences() for cell in astuple(d)]
    assert all(isinstance(cell, str) and cell for cell in cells), "a bare 0.05 is a number in YAML"


def test_control_a_difference_that_makes_no_sense_is_refused(tmp_path):
    path = tmp_path / "differences.yaml"
    path.write_text('differences: [{topic: t, paper: p, code: c, here: "{spiral_paper.no_such}"}]')
    with pytest.raises(AttributeError):
        load_differences(path)
    path.write_text("differences: [{topic: t, paper: p, here: h}]")
    with refused("keys of Difference", "code"):
        load_differences(path)
    path.write_text("differences: [{topic: t, paper: p, code: c, here: plain}]")
    assert load_differences(path) == [Difference("t", "p", "c", "plain")]
