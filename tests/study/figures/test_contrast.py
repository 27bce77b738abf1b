"""Colours of words: readable on their ground, and as near to the given colour as that allows."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from shooting.study.figures import PALETTE
from shooting.study.figures.contrast import ENOUGH, contrast, luminance, readable

NIGHT = "#121212"


def test_contrast_of_the_guidelines():
    """Their examples: black on white 21, the lightest grey that passes is #767676."""
    # 1e-12: rounding of numbers of order 10
    assert contrast("black", "white") == contrast("white", "black") == pytest.approx(21, abs=1e-12)
    assert contrast("#767676", "white") > ENOUGH > contrast("#777777", "white")
    assert luminance("white") == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("ground", ["white", NIGHT])
def test_every_colour_of_the_book_becomes_readable(ground):
    found = [readable(colour, ground) for colour in PALETTE]
    assert min(contrast(to_hex(colour), ground) for colour in found) >= ENOUGH  # as files hold it
    assert min(contrast(colour, ground) for colour in PALETTE) < ENOUGH  # control
    # a step of the search is a hundredth, so none is much darker or lighter than it must be
    changed = [f for f, own in zip(found, PALETTE, strict=True) if f != own]
    assert max(contrast(colour, ground) for colour in changed) < 4.7


def test_what_can_be_read_stays_and_so_does_white_on_a_dark_cell():
    assert readable(PALETTE[0]) == PALETTE[0]
    assert readable("white") == (1, 1, 1)
    assert readable(NIGHT, NIGHT) == pytest.approx([18 / 255] * 3)
    assert readable(PALETTE[0], NIGHT) != PALETTE[0]  # control


def test_hue_stays_on_white():
    orange, ink = np.array(PALETTE[1]), np.array(readable(PALETTE[1]))
    np.testing.assert_allclose(ink / ink.max(), orange / orange.max(), atol=1e-12)  # a quotient
    assert ink.max() < orange.max()
