"""Models that the paper does not have: drawn in colours of one's own, with a rule of one's own."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_hex

from shooting.study.figures import balls, circles, comparison, images, regression, spiral

COLOURS = {"mine": "#123456", "yours": "#abcdef", "theirs": "#fedcba"}
ERRORS = np.array([1.0, 1.1, 1.2, 1.3, 99.0, np.nan])


def record(model, **settings):
    """What all drawing functions read, of an ensemble of six runs: one far off, one failed."""
    names = ("loss", "complexity", "short_loss", "long_loss", "complexity_long", "mse")
    about = {"inflation": 16, "particles": 0, "function": "cubic", "label": "own", "latent": 20}
    return SimpleNamespace(
        config=SimpleNamespace(model=model, **{**about, **settings}),
        metrics={**dict.fromkeys(names, ERRORS), "decoder_mse": ERRORS},
        arrays={
            "fit": np.zeros((6, 101)),
            "long": np.ones((3, 200, 2)),
            "misses": np.ones((1, 20)),
        },
        facts={"parameters": 100.0},
    )


RECORDS = [record(model) for model in COLOURS]
SHORTER = [SimpleNamespace(**{**vars(r), "arrays": {"misses": np.ones((1, 16))}}) for r in RECORDS]
DRAWN = {
    "boxes": lambda c: regression.by_inflation(RECORDS, "cubic", colours=c),
    "fits": lambda c: regression.fits(RECORDS, columns="model", colours=c),
    "lines": lambda c: regression.all_inflations(RECORDS, colours=c),
    "spiral": lambda c: spiral.by_inflation(RECORDS, colours=c),
    "predictions": lambda c: spiral.predictions(RECORDS, colours=c),
    "frontier": lambda c: comparison.frontier(RECORDS, "cubic", colours=c),
    "learned": lambda c: comparison.learned(RECORDS, colours=c),
    "angles": lambda c: images.error_by_angle(SHORTER, {}, colours=c),
    "balls": lambda c: balls.error_by_step(RECORDS, {}, colours=c),
}


def seen(figure) -> tuple[set[str], str]:
    """Colours of lines and boxes, and all words outside the axes' ticks."""
    axes = figure.axes
    colours = {to_hex(line.get_color()) for ax in axes for line in ax.lines}
    colours |= {to_hex(patch.get_facecolor()) for ax in axes for patch in ax.patches}
    legends = [*figure.legends, *(ax.get_legend() for ax in axes if ax.get_legend())]
    words = [t.get_text() for legend in legends for t in legend.get_texts()]
    words += [t.get_text() for ax in axes for t in ax.texts]
    return colours, " ".join([*words, *(ax.get_title("left") for ax in axes)])


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_models_of_ones_own_have_their_colours_and_names(draw):
    colours, words = seen(draw(COLOURS))
    assert set(COLOURS.values()) <= colours
    assert all(name in words for name in COLOURS)


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_control_without_colours_they_are_unknown(draw):
    """Else the test above would pass whatever colours are given."""
    try:
        found = seen(draw({"static_direct": "black", "dynamic_direct": "black"}))[0]
    except (KeyError, ValueError):  # most functions draw what they are given, and miss a colour
        return
    assert not found & set(COLOURS.values())


def boxes(figure):
    """Left and right edge of each box of the first axes."""
    corners = [patch.get_path().vertices[:, 0] for patch in figure.axes[0].patches]
    return [(c.min(), c.max()) for c in corners]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_boxes_stand_side_by_side_around_their_factor(count):
    chosen = dict(list(COLOURS.items())[:count])
    found = boxes(regression.by_inflation(RECORDS[:count], "cubic", colours=chosen))
    assert all(left[1] < right[0] for left, right in zip(found, found[1:], strict=False))
    # 1e-12: rounding of a mean of a few numbers below 1
    assert np.mean(found) == pytest.approx(0.0, abs=1e-12)
    assert -0.5 < found[0][0] < found[-1][1] < 0.5


@pytest.mark.parametrize(("rule", "count"), [(regression.keep_inliers, "2*"), (np.isfinite, "1*")])
def test_what_the_rule_leaves_out_is_counted(rule, count):
    for figure in (
        regression.by_inflation(RECORDS, "cubic", colours=COLOURS, rule=rule),
        spiral.by_inflation(RECORDS, colours=COLOURS, rule=rule),
    ):
        assert {t.get_text() for t in figure.axes[0].texts} == {count}


def test_circles_take_any_number_of_colours():
    runs = {"fits": np.ones(3), "penalty": ERRORS[:3], "complexity": ERRORS[:3]}
    runs["path_length"] = ERRORS[:3]
    found = [
        SimpleNamespace(config=SimpleNamespace(inflation=a, classification=1.0), metrics=runs)
        for a in range(1, 7)
    ]
    tones = [f"#{k:02x}0000" for k in range(10, 16)]
    assert set(tones) <= seen(circles.success_by_weight(found, colours=tones))[0]
    assert tones[0] in seen(circles.cost_by_inflation(found, colours=tones))[0]
