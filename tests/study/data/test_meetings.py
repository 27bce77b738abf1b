"""The predictor that knows meetings: exact without them, spread after them, fitted elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from shooting.study.data import bouncing_balls as balls
from shooting.study.data import meetings
from shooting.study.data.trivial_predictors import SEEN, STEPS, alone, picture


@pytest.fixture
def scenes(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOOTING_STATE", str(tmp_path))
    monkeypatch.setattr(meetings, "TUNED", 20)
    return balls.sequences("test", 20)[:, SEEN : SEEN + STEPS] / 255


def test_ages_count_from_the_first_meeting_on():
    free = np.zeros((1, 4, 2, 2))
    true = free.copy()
    true[0, 1, 0, 1] = 0.1  # the first ball is pushed aside, and crosses its old path at once
    assert meetings.ages(free, true).tolist() == [[[0, 0], [1, 0], [2, 0], [3, 0]]]
    true[0, 1, 0, 1] = 1e-12  # control: rounding
    assert not meetings.ages(free, true).any()


def test_scenes_without_meetings_are_predicted_exactly(scenes):
    x, v = (part[:, SEEN - 1 : SEEN + STEPS] for part in balls.trajectories("test", 20))
    met = meetings.ages(alone(x[:, 0], v[:, 0]), x[:, 1:]).any((1, 2))
    assert 0 < met.sum() < 20
    found, _ = meetings.guess(20)
    exact = picture(x[:, 1:])
    assert np.array_equal(found[~met], exact[~met])
    assert (np.abs(found - exact).max((1, 2, 3))[met] > 0.01).all()
    # kept as bytes: half a grey value
    assert np.abs(found - scenes)[~met].max() <= 0.5 / 255 + 1e-9


def test_a_spread_ball_keeps_its_mass_and_grows_with_its_age():
    ball = picture(np.full((1, STEPS, 1, 2), 5.0))  # in the middle

    def of_age(a):
        nothing = [np.zeros_like(ball), *(np.zeros_like(ball[:, b:]) for b in range(STEPS))]
        nothing[a] = ball[:, a - 1 :]
        return meetings.spread(nothing, 0.5)

    young, old = of_age(1), of_age(3)
    assert not old[:, :2].any()  # before there can be such a ball
    for found in (young, old):
        # blurred by at most 1.5 pixels, nine times that from the edge
        assert found[0, 2:].sum((1, 2)) == pytest.approx(ball[0, 2:].sum((1, 2)))
    assert old[0, 2].max() < young[0, 2].max() < ball[0, 2].max()


def test_the_rate_is_fitted_on_training_scenes_alone(scenes, monkeypatch):
    asked = []
    inner = balls.sequences
    monkeypatch.setattr(balls, "sequences", lambda *a: asked.append(a) or inner(*a))
    _, rate = meetings.guess(20)
    assert asked == [("train", 20)]
    assert rate in meetings.RATES


def test_knowing_meetings_is_worth_more_than_blurring_everything(scenes):
    free = alone(*(part[:, SEEN - 1] for part in balls.trajectories("test", 20)))
    found, _ = meetings.guess(20)
    assert ((found - scenes) ** 2).mean() < ((picture(free) - scenes) ** 2).mean()
