"""Predictions of the convex trap: quoted word for word, judged by records, recounted by hand."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from shooting.study.claims import convex_hypotheses as predicted
from shooting.study.claims.convex_hypotheses import (
    HYPOTHESES,
    NOT_RUN,
    SETTINGS,
    Prediction,
    hypotheses,
    levels,
    median_short,
    unbent,
)
from shooting.study.claims.convex_trap import level
from shooting.study.experiments import convex_trap, spiral_cure
from shooting.study.experiments.convex_trap import CURE, PUBLISHED, grid
from shooting.study.records.identity import record_id

X = np.linspace(-1.5, 1.5, 101)


def plain(text):
    return re.sub(r"\s+", " ", text)


# --- words and settings ----------------------------------------------------------------------


def test_each_sentence_is_one_of_the_docstrings():
    said = plain(convex_trap.__doc__) + plain(spiral_cure.__doc__)
    assert len(hypotheses()) == len(HYPOTHESES) + 1
    assert [p.words for p in hypotheses() if p.words not in said] == []
    assert "all negative more" not in said, "the control must be missing"


def test_settings_are_those_of_the_grid():
    assert set(SETTINGS.values()) == set(grid("paper"))
    assert {name for h in HYPOTHESES for name in h.needs} <= set(SETTINGS)


# --- verdicts on made-up records -------------------------------------------------------------


def made(stuck, runs=50, near=1.02, config=SETTINGS[PUBLISHED], signs=(0.0, 0.15)):
    """Stuck runs lie on a parabola, and free ones on a cosine, with these shares of theta1."""
    held = np.arange(runs) < stuck
    function = "quadratic-like"
    return SimpleNamespace(
        config=config,
        metrics={
            "mse": np.where(held, near, 0.05) * level(function),
            "theta1_negative": np.where(held, *signs),
            "bend/none": np.where(held, -1e-9, -0.02),
            "bend/theta1": np.where(held, -1e-9, -0.0002),
            "bend/theta2": np.where(held, -1e-9, -0.02),
            "bend/theta3": np.where(held, -1e-9, -0.02),
        },
        arrays={"fit": np.where(held[:, None], X**2, np.cos(2 * X))},
    )


@pytest.fixture
def verdicts(monkeypatch):
    """Verdicts by sentence, if these settings had these records and no other had one."""

    def judge(**known):
        found = {record_id("convex_trap", SETTINGS[predicted.__dict__[n]]): r
                 for n, r in known.items()}  # fmt: skip
        monkeypatch.setattr(
            predicted.records, "load", lambda e, c: found.get(record_id("convex_trap", c))
            if e is convex_trap.CONVEX_TRAP else None
        )  # fmt: skip
        return {p.words: p.verdict for p in hypotheses()}

    return judge


def test_what_is_missing_is_named(verdicts):
    assert set(verdicts().values()) == {NOT_RUN}
    assert "“as published”" in hypotheses()[0].found
    assert [v.holds for v in levels()] == [None] * 6


@pytest.mark.parametrize(
    ("record", "failing"),
    [
        (made(18), []),
        (made(18, near=1.3), [0]),  # convex, yet far from the level
        (made(18, signs=(0.02, 0.15)), [1]),
        (made(18, signs=(0.0, 0.04)), [2]),
    ],
)
def test_sentences_on_the_main_setting_can_fail(verdicts, record, failing):
    found = list(verdicts(PUBLISHED=record).values())[:5]
    assert [k for k, verdict in enumerate(found) if verdict == "fails"] == failing


@pytest.mark.parametrize(("stuck", "verdict"), [(5, "holds"), (6, "fails")])
def test_the_cure_may_leave_five_of_fifty(verdicts, stuck, verdict):
    found = verdicts(PUBLISHED=made(18), CURE=made(stuck))
    assert found[next(h.words for h in HYPOTHESES if h.needs[0] == CURE)] == verdict


@pytest.mark.parametrize(
    ("stuck", "more", "fewer"), [(30, "holds", "fails"), (3, "fails", "holds")]
)
def test_more_and_fewer_are_told_apart(verdicts, stuck, more, fewer):
    other = made(stuck)
    found = verdicts(PUBLISHED=made(18), POSITIVE=other, NEGATIVE=other)
    assert (
        found["All p_x positive at the start should mean more stuck runs than as published"] == more
    )
    assert found["all negative fewer"] == fewer


def test_bends_count_in_free_runs_only():
    record = made(18)
    assert unbent(record, "theta1").tolist() == [True] * 32
    assert not unbent(record, "theta2").any()


def test_a_median_has_an_interval_and_failed_runs_count_as_infinite():
    low = SimpleNamespace(metrics={"short_loss": [1.0, 2.0, 3.0, np.nan]})
    middle, a, b = median_short(low)
    assert middle == 2.5
    assert 1.0 <= a < middle < b == np.inf


def test_words_of_a_verdict():
    assert [Prediction("", "", h).verdict for h in (True, False, None)] == [
        "holds", "fails", NOT_RUN
    ]  # fmt: skip


# --- recounted from the files, with numpy alone ----------------------------------------------


@pytest.fixture(scope="module")
def raw(root):
    """Metrics and curves of a setting, read without the package."""

    def read(name):
        stem = root / "book" / "records" / "convex_trap" / record_id("convex_trap", SETTINGS[name])
        metrics = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))["metrics"]
        with np.load(stem.with_suffix(".npz")) as arrays:
            return {k: np.array(v) for k, v in metrics.items()}, arrays["fit"].astype(float)

    return read


def recount(metrics, curves, best):
    """Stuck, convex and near ones, free convex ones."""
    stuck = metrics["mse"] > best / 2
    bend = curves[:, 2:] - 2 * curves[:, 1:-1] + curves[:, :-2]
    convex = bend.min(1) >= -100 * 2.0**-23 * abs(curves).max(1)
    near = abs(metrics["mse"] - best) <= 0.15 * best
    return [int(c.sum()) for c in (stuck, stuck & convex, stuck & near, ~stuck & convex)]


def hull_of_the_quadratic():
    """Least MSE of x^2 + 3 / (1 + x^2) flattened between -c and c, over c: convex where c is large.

    Beyond its minima, at |x| near 0.86, the function itself is convex and increasing.
    """
    x = np.linspace(0, 1.5, 6001)
    y = x**2 + 3 / (1 + x**2)
    starts = range(3600, 5600)  # |c| from 0.9 to 1.4
    return min(float(np.mean((np.where(x < x[k], y[k], y) - y) ** 2)) for k in starts)


def test_the_level_by_a_one_parameter_family():
    # the family bounds the best from above; 0.5 %: what two grids differ by, thirtyfold
    assert level("quadratic-like") <= hull_of_the_quadratic() <= 1.005 * level("quadratic-like")


def test_verdicts_on_the_main_setting_recounted(raw):
    best = hull_of_the_quadratic()
    (metrics, curves), (cured, cured_curves) = raw(PUBLISHED), raw(CURE)
    stuck, convex, near, free_convex = recount(metrics, curves, best)
    found = {p.words: p for p in hypotheses()}
    first = found[HYPOTHESES[0].words]
    assert first.found == (
        f"of {stuck} stuck runs {convex} are convex and {near} within 15 %; "
        f"of the {50 - stuck} free ones {free_convex}"
    )
    assert first.holds == (min(convex, near) >= 0.9 * stuck and free_convex == 0)
    left = recount(cured, cured_curves, best)[0]
    (cure,) = (p for h in HYPOTHESES if h.needs[0] == CURE for p in [found[h.words]])
    assert cure.found.startswith(f"{left} of 50 stuck, against {stuck} of 50")
    assert cure.holds == (left <= 5)
    free = metrics["mse"] <= best / 2
    bends = [(metrics[f"bend/{k}"] / metrics["bend/none"])[free] for k in ("theta1", "theta2")]
    assert [int((b <= 0.05).sum()) for b in bends] == [int(unbent(_record(), k).sum())
                                                        for k in ("theta1", "theta2")]  # fmt: skip


def _record():
    return predicted.records.load(convex_trap.CONVEX_TRAP, SETTINGS[PUBLISHED])


def test_levels_recounted(raw):
    for found in levels():
        if found.record is None:
            continue
        name = next(n for n, c in SETTINGS.items()
                    if c.function == found.target and c.frozen == ("x",))  # fmt: skip
        stuck, convex, near, free_convex = recount(*raw(name), found.level / 100)
        trapped = stuck > 0 and min(convex, near) >= 0.9 * stuck and free_convex == 0
        assert found.holds == (trapped if found.trap else stuck == 0), found.target


@pytest.mark.parametrize(("cured", "holds"), [(0.1, True), (0.2, True), (0.4, False)])
def test_harm_is_an_interval_below_zero(monkeypatch, cured, holds):
    losses = np.linspace(0.15, 0.25, 50)
    wide = SimpleNamespace(metrics={"loss": losses})
    monkeypatch.setattr(predicted, "runs_of", lambda _: wide)
    record = SimpleNamespace(
        config=SETTINGS[predicted.WIDE], metrics={"loss": losses - 0.2 + cured}
    )
    (last,) = (h for h in HYPOTHESES if h.needs == (predicted.WIDE,))
    assert last.test(record)[0] == holds


# --- each sentence can fail ------------------------------------------------------------------


def sentence(begins):
    (found,) = (h for h in HYPOTHESES if h.words.startswith(begins))
    return found


@pytest.mark.parametrize(
    ("begins", "stuck", "holds"),
    [
        ("without plateau", 18, True),
        ("without plateau", 48, False),
        ("steps of p 15", 48, False),
        ("with p_x of deviation 1 and all negative", 24, True),
        ("with p_x of deviation 1 and all negative", 25, False),
        ("not on static particles", 50, True),
        ("not on static particles", 5, False),
    ],
)
def test_counts_of_stuck_runs_decide(begins, stuck, holds):
    assert sentence(begins).test(made(stuck), made(18))[0] is holds


def test_intervals_of_counts_overlap_or_are_apart():
    assert sentence("without plateau").test(made(18), made(18))[1].endswith("overlap")
    assert sentence("without plateau").test(made(48), made(18))[1].endswith("apart")


def test_other_weights_that_bend_as_little_are_noticed():
    record = made(18)
    record.metrics["bend/theta2"] = record.metrics["bend/theta1"]
    assert not sentence("the same for theta2").test(record)[0]


def test_on_the_spiral_a_cured_loss_must_be_lower(monkeypatch):
    def load(experiment, config):
        level = 2.0 if "lift_weight" in config.frozen else 1.0
        return SimpleNamespace(metrics={"short_loss": level + 0.01 * np.arange(50)})

    monkeypatch.setattr(predicted.records, "load", load)
    pairs = [(a.metrics["short_loss"][0], b.metrics["short_loss"][0])
             for _, a, b in predicted.spiral_pairs()]  # fmt: skip
    assert set(pairs) == {(1.0, 2.0)}  # published, cured
    found = predicted._on_the_spiral()
    assert (found.holds, found.found) == (False, "0 of 4 pairs")
