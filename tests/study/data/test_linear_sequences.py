"""Sequences by affine maps: at each angle the predictors of the table, exact where they can be."""

from __future__ import annotations

import numpy as np
import pytest

from shooting.study.data.linear_sequences import linear_sequences
from shooting.study.data.rotating_mnist import linear_bottleneck, pairs, ridge

RNG = np.random.default_rng(0)
TURNS = RNG.normal(size=(4, 9, 9))
FIRST = RNG.normal(size=(30, 9))
SEQUENCES = np.einsum("tab,nb->nta", TURNS, FIRST).reshape(30, 4, 3, 3)
SEQUENCES[:, 0] = FIRST.reshape(30, 3, 3)


def test_a_linear_motion_is_continued_exactly():
    found = linear_sequences(SEQUENCES[:20], SEQUENCES[20:, 0], 1e-12)
    np.testing.assert_allclose(found, SEQUENCES[20:], atol=1e-9)  # the penalty, and rounding
    curved = np.tanh(SEQUENCES)  # control: what is not linear is not
    assert np.abs(linear_sequences(curved[:20], curved[20:, 0], 1e-12) - curved[20:]).max() > 0.1


@pytest.mark.parametrize("dim", [None, 2])
def test_each_frame_is_that_of_the_predictor_for_its_angle(dim):
    train, x = SEQUENCES[:20], SEQUENCES[20:, 0].reshape(10, -1)
    found = linear_sequences(train, SEQUENCES[20:, 0], 0.3, dim)
    for k in range(4):
        pair = pairs(train, k)
        alone = ridge(pair, x, 0.3) if dim is None else linear_bottleneck(pair, x, dim, 0.3)
        # rounding; the directions come from a squared matrix, so half the digits at worst
        np.testing.assert_allclose(found[:, k].reshape(10, -1), alone, atol=1e-7)
