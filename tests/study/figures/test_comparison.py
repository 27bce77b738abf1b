"""Figures of the ablations and of other models, from synthetic records."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from shooting.study.experiments.ablations import STUCK
from shooting.study.figures import comparison


def sized(model, parameters, function="cubic", errors=(0.1, 0.2, 0.3)):
    errors = np.array(errors)
    return SimpleNamespace(
        config=SimpleNamespace(function=function, model=model),
        metrics={"mse": errors, "loss": 100 * errors, "complexity": -errors},
        arrays={"fit": np.zeros((len(errors), 101))},
        facts={"parameters": parameters},
    )


def variant(errors):
    runs = np.array(errors)
    return {"mse": runs, "complexity": runs, "complexity_with_lift": runs + 1}


def test_stuck_and_failed_runs_are_counted_in_the_row():
    high = 2 * STUCK["cubic"]
    rows = {"as published": variant([high / 4] * 3), "changed": variant([high, np.nan, high / 4])}
    axes = comparison.ablation_strips(rows, "cubic").axes
    names = [label.get_text() for label in axes[0].get_yticklabels()]
    assert names == ["as published  (0/3 stuck)", "changed  (2/3 stuck)"]
    assert axes[0].lines[-1].get_xdata()[0] == STUCK["cubic"]
    dots = [len(c.get_offsets()) for c in axes[0].collections]
    assert dots == [3, 2]  # a failed run has no place


def test_a_variant_whose_runs_all_failed_keeps_its_row():
    rows = {"as published": variant([0.1]), "broken": variant([np.nan, np.nan])}
    axes = comparison.ablation_strips(rows, "cubic").axes
    assert axes[0].get_yticklabels()[1].get_text() == "broken  (2/2 stuck)"
    assert len(axes[0].collections) == 1


def test_a_frontier_is_sorted_by_size_and_of_one_function():
    found = [sized("node", n) for n in (300, 100, 200)]
    found += [sized("node", 50, function="quadratic-like"), sized("dynamic_particles", 150)]
    first, _, last = comparison.frontier(found, "cubic").axes
    sizes = [tuple(c[0].get_xdata()) for c in first.containers]
    assert sorted(sizes) == [(100, 200, 300), (150,)]
    styles = {c[0].get_linestyle() for c in last.containers}
    assert ":" in styles  # complexities of a NODE are no match, and drawn otherwise
    assert ":" not in {c[0].get_linestyle() for c in first.containers}


def test_lines_are_named_in_the_margin_one_above_the_other():
    models = ("dynamic_particles", "galerkin", "static_direct")
    found = [sized(m, n, errors=(e,)) for m in models for n, e in ((100, 0.5), (200, 0.1))]
    ax = comparison.frontier(found, "cubic").axes[0]  # all end at the same point
    names = {t.get_text(): t for t in ax.texts}
    assert set(names) == {comparison.NAMES[m] for m in models}
    assert {t.xy for t in names.values()} == {(200, 0.1)}
    heights = sorted(t.xyann[1] for t in names.values())
    # 1e-9: rounding
    assert np.diff(heights) == pytest.approx([comparison.APART] * 2, abs=1e-9)


def test_names_move_as_little_as_they_must():
    assert comparison.spread([0.0, 0.5, 1.0], 0.1) == [0.0, 0.5, 1.0]  # far enough apart
    assert comparison.spread([0.5, 0.5], 0.1) == pytest.approx([0.45, 0.55])
    # the pair that clashes moves, by the same amount each; the third stays, and so does the order
    assert comparison.spread([0.52, 0.0, 0.5], 0.1) == pytest.approx([0.56, 0.0, 0.46])


def test_two_learned_functions_stand_in_a_row():
    fig = comparison.learned([sized("node", 120.0)] * 3)
    assert fig.axes[0].get_subplotspec().get_gridspec().get_geometry() == (2, 2)


def test_learned_functions_stand_over_their_target():
    (ax,) = comparison.learned([sized("node", 120.0)]).axes
    where = "left" if ax.get_title("left") else "center"  # as the style of the moment has it
    assert ax.get_title(where) == comparison.NAMES["node"] + ", 120 parameters"
    *runs, target = ax.lines
    assert len(runs) == 3
    # 1e-12: rounding of powers
    np.testing.assert_allclose(target.get_ydata(), np.linspace(-1.5, 1.5, 101) ** 3, atol=1e-12)
