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


def met(v):
    """Scenes in which two balls meet after frame 2: a wall keeps the speed of a ball."""
    speed = np.linalg.norm(v[:, 2:13], axis=-1)
    return np.abs(speed - speed[:, :1]).max((1, 2)) > 1e-9  # rounding of a square root


def test_free_flight_is_exact_until_two_balls_meet(flights):
    x, v = flights
    truth = predict.picture(x[:, 3:13])
    alone = ~met(v)
    walls = np.any(v[:, 2] != v[:, 12], axis=(1, 2)) & alone
    assert 3 < walls.sum() <= alone.sum() < 30  # walls are among what is exact
    guess = predict.free_flight(x[:, 2], v[:, 2])
    assert np.array_equal(guess[alone], truth[alone])  # the same operations
    assert ((guess[~alone] - truth[~alone]) ** 2).mean() > 0.01
    # controls: walls by reflection, and the velocities of the frame before
    folded = predict.straight(x[:, :3], walls=True)
    assert ((folded[walls] - truth[walls]) ** 2).mean() > 1e-3
    late = predict.free_flight(x[:, 2], v[:, 1])
    assert ((late[alone] - truth[alone]) ** 2).mean() > 1e-3


def test_softening_finds_the_blur_and_the_share_of_each_step():
    rng = np.random.default_rng(0)
    guess, mean = rng.normal(size=(6, 10, 9, 9)), rng.normal(size=(10, 9, 9))
    true = predict.Softening(mean, np.tile([0.0, 0.7], 5), np.linspace(1.0, 0.1, 10))
    found = predict.Softening.fitted(guess, true(guess), mean)
    np.testing.assert_allclose(found.widths, true.widths, atol=1e-12)  # the grid, rounded
    np.testing.assert_allclose(found.shares, true.shares, atol=1e-12)  # float64
    # control: a truth that has nothing to do with the guess; chance explains some of 486 numbers
    truth = rng.normal(size=guess.shape)
    strange = predict.Softening.fitted(guess, truth, 0 * mean)
    assert (predict.step_errors(strange(guess), truth) > 0.9 * (truth**2).mean((0, 2, 3))).all()


def test_softening_costs_nothing_where_it_is_fitted():
    rng = np.random.default_rng(1)
    guess, truth = rng.normal(size=(2, 6, 10, 9, 9))
    mean = truth.mean(0)
    errors = predict.step_errors(predict.Softening.fitted(guess, truth, mean)(guess), truth)
    for other in (guess, mean[None]):  # no blur and the share 1, and the share 0
        assert (errors <= predict.step_errors(other, truth) + 1e-12).all()  # rounding
    # control: elsewhere it may cost something
    fresh = rng.normal(size=truth.shape)
    soft = predict.Softening.fitted(guess, truth, mean)(fresh)
    assert not (predict.step_errors(soft, fresh) <= predict.step_errors(fresh, fresh)).any()


def test_blur_by_hand():
    spot = np.zeros((9, 9))
    spot[4, 4] = 1.0
    assert np.array_equal(predict.blurred(spot, 0), spot)
    soft = predict.blurred(spot, 0.8)
    # of a Gaussian 5e-7 lies beyond four pixels, five widths
    assert soft.sum() == pytest.approx(1, abs=1e-5)
    assert soft[4, 5] / soft[4, 4] == pytest.approx(np.exp(-1 / (2 * 0.8**2)))
    assert predict.blurred(np.ones((9, 9)), 0.8)[0, 4] < 0.8  # beyond the edge it is dark


def test_softening_does_not_see_the_test_scenes(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOOTING_STATE", str(tmp_path))
    fitted = balls.make("train", 40)
    few, more = (predict.free_guesses(fitted, n)[predict.SOFTENED] for n in (3, 9))
    # matrix products of another size round otherwise
    np.testing.assert_allclose(few, more[:3], atol=1e-12)
    others = predict.free_guesses(balls.make("train", 40, start=40), 3)  # control
    assert np.abs(others[predict.SOFTENED] - few).max() > 1e-3


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
    told = list(means)[3:]
    positions, velocities = told[:4], told[4:]
    assert (positions[-1], velocities) == (predict.ALL_THREE, [predict.FREE, predict.SOFTENED])
    for knowing in ([means[n] for n in positions], [means[n] for n in velocities]):
        assert knowing == sorted(knowing, reverse=True)
    assert means[predict.ALL_THREE] < 0.02 < means["mean frame"]
    assert means["mean frame"] < means["copy of the last frame"]
    assert means[predict.FREE] < means["… and walls"]  # which misses bounces before frame 2


def test_published_means_are_those_of_their_steps():
    for name, known in predict.PUBLISHED.items():
        if known.steps:
            assert len(known.steps) == 10
            # printed to four digits
            assert np.mean(known.steps) == pytest.approx(known.mean, abs=6e-5), name
        assert known.source
