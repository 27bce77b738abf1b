"""Sentences about the convex trap, from made-up records: each says what the counts say."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from shooting.study.claims import convex_words as words
from shooting.study.claims.convex_hypotheses import NEGATIVE, POSITIVE, Level
from shooting.study.claims.convex_trap import Tally, level
from shooting.study.data.functions import BOUND
from shooting.study.experiments.convex_trap import PUBLISHED, TRACED, TrapConfig, marks

X = np.linspace(-BOUND, BOUND, 101)


def made(stuck, runs=50, **changes):
    """The first runs are stuck, on a parabola; the others on a cosine."""
    config = TrapConfig(**changes)
    held = np.arange(runs) < stuck
    looks = len(marks(config))
    trace = np.zeros((runs, looks, len(TRACED)))
    trace[..., TRACED.index("negative")] = 7.0 * (np.arange(looks) == 0)
    trace[..., TRACED.index("theta1_negative")] = np.where(held, 0.0, 0.15)[:, None]
    mse = np.where(held, 1.02, 0.05) * level(config.function)
    bends = {f"bend/{k}": np.full(runs, -0.02) for k in ("none", "theta2", "theta3")}
    return SimpleNamespace(
        config=config,
        metrics={"mse": mse, "loss": 100 * mse + 0.2, "bend/theta1": np.zeros(runs), **bends},
        arrays={"fit": np.where(held[:, None], X**2, np.cos(2 * X)), "trace": trace},
    )


def short(losses):
    return SimpleNamespace(metrics={"short_loss": losses})


def tally(stuck):
    return Tally(50, stuck, 0, 0, 0)


def test_headline_counts_stuck_and_convex_runs():
    found = words.headline(made(18), made(1))
    assert found["stuck"] == "18 of 50"
    assert found["cured"] == "1 of 50"
    assert found["interval"] == "24 to 50 %"  # Wilson's, by its formula: 0.241 to 0.499
    assert (found["convex"], found["near"], found["free-convex"]) == (
        "18 of 18",
        "18 of 18",
        "0 of 32",
    )
    # 1e-12: products of the same numbers
    assert found["free-most"] == pytest.approx(5 * level("quadratic-like"), rel=1e-12)
    assert found["ten"] == 10


def test_signs_are_read_where_they_belong():
    single = {PUBLISHED: made(18), POSITIVE: made(38), NEGATIVE: made(0)}
    found = words.signs(single, made(1))
    assert (found["negative-start"], found["negative-ten"]) == (7.0, 0.0)
    assert found["theta1-hundred"] == pytest.approx(15.0, rel=1e-12)  # rounding of 100 * 0.15
    assert (found["positive"], found["negative"]) == ("38 of 50", "0 of 50")
    assert (found["clamp-theta1"], found["clamp-theta2"]) == ("32 of 32", "0 of 32")


@pytest.mark.parametrize(
    ("stuck", "side"), [(1, "fewer"), (12, "alike"), (25, "alike"), (40, "more")]
)
def test_a_side_needs_intervals_that_are_apart(stuck, side):
    assert words.side(tally(stuck), tally(18)) == side


def test_effects_sort_settings_and_leave_out_the_reference():
    single = {PUBLISHED: made(18), "few": made(1), "same": made(17), "many": made(40)}
    assert words.effects(single) == (
        "Fewer runs are stuck: few (1 of 50). More: many (40 of 50). "
        "The intervals overlap: same (17 of 50)."
    )
    assert words.effects({PUBLISHED: made(18)}) == ""


def test_elsewhere_compares_each_setting_with_its_own():
    both = {"a": (made(32), made(8)), "b": (made(50), made(50))}
    assert words.elsewhere(both) == (
        "Fewer runs are stuck: a (8 of 50, against 32 of 50). "
        "The intervals overlap: b (50 of 50, against 50 of 50)."
    )


def test_a_run_that_leaves_is_named_with_its_first_free_look():
    record = made(3, runs=6)
    mse = record.arrays["trace"][..., TRACED.index("mse")]
    looks = list(marks(record.config))
    mse[:3] = level("quadratic-like")  # stuck at all looks, and runs 0 to 2 at the end
    mse[4, : looks.index(160)] = level("quadratic-like")  # leaves after epoch 150
    mse[5, : looks.index(150)] = level("quadratic-like")  # control: free at epoch 150
    mse[3] = level("quadratic-like")  # leaves after the last look
    assert words.leavers(record) == {3: 500, 4: 160}
    assert words.held_at(record) == 5
    mse[3:] = 0
    assert words.leavers(record) == {}


def test_losses_are_sorted_by_the_interval_of_their_difference():
    low, high, wide = made(0), made(0), made(0)
    low.metrics["loss"], high.metrics["loss"] = np.linspace(0.3, 0.4, 50), np.linspace(0.6, 0.7, 50)
    wide.metrics["loss"] = np.linspace(0.1, 0.61, 50)
    both = {"a": (high, low), "b": (low, high), "c": (low, wide)}
    assert words.losses(both) == (
        "Lower with the cure: a (0.65 to 0.35). Higher: b (0.35 to 0.65). "
        "The interval of the difference holds zero: c (0.35 to 0.355)."
    )
    assert [words.cost(*pair) for pair in both.values()] == ["lower", "higher", "alike"]


def test_the_spiral_says_on_which_side_a_difference_lies():
    low, high = short(np.linspace(1.0, 1.1, 20)), short(np.linspace(2.0, 2.1, 20))
    pairs = [("x", low, low), ("y", high, low), ("z", low, None)]
    said = "The intervals of the median short loss overlap in 1 of 2 pairs"
    assert words.on_the_spiral(pairs) == said + "; in 1 the cured loss is lower."
    assert words.on_the_spiral([*pairs, ("w", low, high)]).endswith(
        "; in 1 the cured loss is lower; in 1 the cured loss is higher."
    )
    assert words.on_the_spiral(pairs[:1]).endswith("in 1 of 1 pairs.")


def test_what_is_missing_is_said_with_its_command():
    assert "make runs EXPERIMENT=convex_trap OUT=book/records: a; b." in words.not_run(["a", "b"])
    assert words.not_run([]) == "All settings have been run."


def test_targets_are_named_on_their_side():
    found = [
        Level("a", 1.0, True, made(18)),
        Level("b", 1.0, False, made(18)),
        Level("c", 1.0, True, made(18)),
        Level("d", 1.0, True, None),
    ]
    assert words.of_targets(found) == "The prediction holds for “a” and “c”, and fails for “b”."
    assert words.of_targets(found[3:]) == ""
