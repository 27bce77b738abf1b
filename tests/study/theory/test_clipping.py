"""At which learning rates a classifier with a block stays finite, and what clipping does."""

from __future__ import annotations

from shooting.study.theory.clipping import count_finite, samples


def test_clipping_saves_descent_and_only_a_smaller_rate_saves_adam():
    three = (0, 1, 3)
    assert count_finite("SGD", 1.0, clipped=False, seeds=three) == 0
    assert count_finite("SGD", 1.0, clipped=True, seeds=three) == 3
    assert count_finite("SGD", 0.3, clipped=False, seeds=three[:1]) == 1
    assert count_finite("Adam", 0.2, clipped=True, seeds=three) < 3  # it rescales gradients itself
    assert count_finite("Adam", 0.05, clipped=False, seeds=three[:1]) == 1


def test_samples_depend_on_the_seed_alone():
    x, y = samples(7, 0)
    assert x.shape == (7, 64)
    assert x.equal(samples(7, 0)[0])
    assert not x.equal(samples(7, 1)[0])
    assert set(y.tolist()) <= set(range(10))
