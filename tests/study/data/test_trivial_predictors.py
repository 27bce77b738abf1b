import numpy as np
import pytest

from shooting.study.data import bouncing_balls as balls
from shooting.study.data import trivial_predictors as predict


@pytest.fixture(scope="module")
def flights():
    return balls.trajectories("test", 60)


def test_folding_is_flight_between_walls():
    inside = np.array([1.2, 5.0, 8.8])
    np.testing.assert_allclose(predict.fold(inside), inside, atol=1e-14)  # float64
    np.testing.assert_allclose(predict.fold(np.array([8.9, 1.1, 16.4, 24.0])), [8.7, 1.3, 1.2, 8.8])
    assert not np.isclose(predict.fold(np.array([8.9])), 8.9)  # control: the straight line


def test_constant_velocity_is_exact_until_something_is_hit(flights):
    x, v = flights
    truth = predict.picture(x[:, 3:7])
    free = np.all(v[:, 1] == v[:, 6], axis=(1, 2))  # no bounce up to frame 6
    assert 5 < free.sum() < 55
    guess = predict.straight(x[:, :3])[:, :4]
    assert np.abs(guess[free] - truth[free]).max() < 1e-10  # float64
    assert ((guess[~free] - truth[~free]) ** 2).mean() > 0.01


def test_simulation_is_exact_where_nothing_happened_between_the_known_frames(flights):
    x, v = flights
    truth = predict.picture(x[:, 3:13])
    calm = np.all(v[:, 1] == v[:, 2], axis=(1, 2))
    assert 10 < calm.sum() < 60
    miss = ((predict.simulated(x[:, :3]) - truth) ** 2).mean((1, 2, 3))
    # collisions amplify the rounding of the velocity, a few orders over ten steps
    assert miss[calm].max() < 1e-12
    assert miss[~calm].max() > 1e-3


def test_three_frames_tell_where_two_do_not():
    """Exact as soon as nothing happened between one of the two pairs of known frames."""
    x, v = balls.trajectories("test", 500)
    calm = [np.all(v[:, k] == v[:, k + 1], axis=(1, 2)) for k in (0, 1)]
    eventful = np.flatnonzero(~calm[1])  # a fifth of the scenes; the others are tested above
    x, before = x[eventful], calm[0][eventful]
    truth = predict.picture(x[:, 3:13])
    miss = ((predict.simulated_from_three(x[:, :3]) - truth) ** 2).mean((1, 2, 3))
    rescued = np.flatnonzero(before)
    assert len(rescued) > 20
    assert miss[rescued].max() < 1e-12  # collisions amplify rounding, as above
    assert miss[~before].max() > 1e-3
    with_two = ((predict.simulated(x[:, :3]) - truth) ** 2).mean((1, 2, 3))
    assert with_two[rescued].max() > 1e-3  # control


def test_ridge_recovers_a_linear_law_and_prefers_a_large_penalty_for_noise():
    rng = np.random.default_rng(0)
    law = rng.normal(size=(12, 40)) / 10
    frames = rng.normal(size=(90, 20, 2, 2))
    frames[:, 3:13] = (frames[:, :3].reshape(90, 12) @ law).reshape(90, 10, 2, 2)
    train, validation, test = frames[:60], frames[60:75], frames[75:]
    found = predict.ridge(255 * train, 255 * validation, test[:, :3])
    # the penalty 1 shrinks coefficients by about 1/60
    assert ((found - test[:, 3:13]) ** 2).mean() < 0.002 * (test[:, 3:13] ** 2).mean()
    noise = rng.normal(size=(75, 20, 2, 2))
    guess = predict.ridge(255 * noise[:60], 255 * noise[60:], test[:, :3])
    assert (guess**2).mean() < 0.2  # near the mean, not near the data (1)


def test_ridge_solves_the_regularised_least_squares_in_parts(monkeypatch):
    monkeypatch.setattr(predict, "PART", 7)
    monkeypatch.setattr(predict, "PENALTIES", (3.0,))
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (40, 20, 2, 2), dtype=np.uint8)
    train, validation, seen = frames[:30], frames[30:35], frames[35:, :3] / 255
    x, y = (train[:, k].reshape(30, -1) / 255 for k in (slice(3), slice(3, 13)))
    rows = x - x.mean(0)
    law = np.linalg.solve(rows.T @ rows + 3 * np.eye(12), rows.T @ (y - y.mean(0)))
    expected = (seen.reshape(5, -1) - x.mean(0)) @ law + y.mean(0)
    found = predict.ridge(train, validation, seen).reshape(5, -1)
    np.testing.assert_allclose(found, expected, rtol=1e-10)  # float64


def test_errors_of_a_hand_made_case():
    truth = np.zeros((2, 10, 2, 2))
    guess = truth.copy()
    guess[1, 3, 0, 0] = 2.0
    errors = predict.step_errors(guess, truth)
    assert errors.shape == (10,)
    assert errors[3] == 4 / 8  # one of 2 * 4 pixels, squared
    assert errors.sum() == errors[3]


def test_more_knowledge_costs_less(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOOTING_STATE", str(tmp_path))
    errors = predict.trivial_errors(train=100, test=50)
    means = {name: float(value.mean()) for name, value in errors.items()}
    knowing = [v for k, v in means.items() if "true" in k or k.startswith("…")]
    assert knowing == sorted(knowing, reverse=True)
    assert knowing[-1] < 0.02 < means["mean frame"] < means["copy of the last frame"]


def test_published_means_are_those_of_their_steps():
    for name, known in predict.PUBLISHED.items():
        if known.steps:
            assert len(known.steps) == 10
            # printed to four digits
            assert np.mean(known.steps) == pytest.approx(known.mean, abs=6e-5), name
        assert known.source
