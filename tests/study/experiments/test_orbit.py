"""Distance to the spiral's orbit and phase error: known cases, and paths that have neither."""

import numpy as np
import pytest

from shooting.study.data.spiral import SAMPLES, SPACING, trajectory
from shooting.study.experiments.orbit import FINE, PACE, Orbit, lay_along, true_orbit

STEPS = np.arange(SAMPLES)


def circle(radius, angle):
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def rings(samples=50, period=20):
    """A circle, once round in `period` samples, clockwise as the spiral."""
    steps = np.arange(PACE * FINE * (samples - 1) + 1) / FINE
    return Orbit(circle(1.0, -2 * np.pi * steps / period))


def noise(seed=0):
    """Points spread evenly over the disc in which the spiral lies."""
    rng = np.random.default_rng(seed)
    return circle(2 * np.sqrt(rng.uniform(size=SAMPLES)), rng.uniform(0, 2 * np.pi, SAMPLES))


def test_orbit_passes_through_the_samples():
    # 1e-7: the samples are float32, half a unit of its last digit at 2 is 1.2e-7
    np.testing.assert_allclose(true_orbit().points[FINE * STEPS], trajectory(), atol=2e-7)


@pytest.mark.parametrize("speed", [0.5, 0.75, 1.0, 1.5, 2.0])
def test_orbit_run_at_another_speed_is_out_of_phase_alone(speed):
    orbit = true_orbit()
    course = lay_along(orbit.points[(speed * FINE * STEPS).astype(int)], orbit)
    assert course.distance.max() == 0
    np.testing.assert_allclose(course.time, (speed - 1) * STEPS * SPACING, atol=1e-12)  # rounding
    turns = orbit.turns()
    assert course.turns[-1] == turns[int(speed * FINE * 199)] - turns[FINE * 199]


def test_a_speed_out_of_reach_leaves_a_distance():
    path = true_orbit().points[3 * FINE * np.arange(SAMPLES // 2)]
    assert lay_along(path, true_orbit()).square > 0.1  # half of the gap between windings, squared


@pytest.mark.parametrize("radius", [0.8, 1.0, 1.3])
def test_a_ring_of_another_size_is_off_by_the_difference(radius):
    orbit = rings()
    course = lay_along(radius * orbit.points[::FINE][:50], orbit)
    # rounding; the first sample belongs to the orbit's start and so to the same angle
    np.testing.assert_allclose(course.distance, abs(radius - 1), atol=1e-12)
    assert course.square == pytest.approx((radius - 1) ** 2 / 2)
    np.testing.assert_allclose(course.turns, 0, atol=1e-12)


def test_turns_of_a_ring_are_counted_past_the_first():
    orbit = rings()
    course = lay_along(orbit.points[: 2 * FINE * 49 + 1 : 2 * FINE], orbit)
    assert course.turns[-1] == pytest.approx(49 / 20)  # twice as fast: 98 samples, not 49
    assert course.time[-1] == pytest.approx(49 * SPACING)


def test_a_shrunk_spiral_is_off_by_at_most_what_it_shrank():
    truth = trajectory().double().numpy()
    course = lay_along(0.9 * truth, true_orbit())
    most = 0.01 * (truth**2).mean()
    assert 0.8 * most < course.square <= most  # the way across is shorter than that to the origin
    assert abs(course.turns).max() < 0.05


def test_nearest_point_cannot_tell_noise_and_the_course_can():
    """Why a course: noise all over the disc is as near to the curve as a tenth of rest at 0."""
    orbit, path = true_orbit(), noise()
    nearest = ((path[:, None] - orbit.points) ** 2).sum(-1).min(-1)
    ten = orbit.points[: FINE * (SAMPLES - 1) + 1]  # the curve of ten time units alone
    assert ((path[:, None] - ten) ** 2).sum(-1).min(-1).mean() < (ten**2).sum(-1).min() / 10
    course = lay_along(path, orbit)
    assert course.square > 1  # uncorrelated points of the disc: 2 for each, less what phase wins
    assert (course.distance**2 >= nearest - 1e-12).all()  # rounding


@pytest.mark.parametrize("path", [noise(1), np.zeros((200, 2)), np.tile([2.0, 0.0], (200, 1))])
def test_what_does_not_travel_along_is_off(path):
    assert lay_along(path, true_orbit()).square > 0.4


def test_the_phase_keeps_its_pace():
    moved = np.diff(lay_along(noise(2), true_orbit()).at)
    assert moved.min() >= FINE // PACE
    assert moved.max() <= FINE * PACE


def test_course_is_the_best_of_all():
    """Against every course there is, on a small orbit."""
    rng = np.random.default_rng(3)
    orbit = Orbit(rng.normal(size=(17, 2)), fine=4)
    path = rng.normal(size=(3, 2))
    cost = [
        sum(((path[k] - orbit.points[j]) ** 2).sum() for k, j in enumerate((0, i, i + j)))
        for i in range(2, 9)
        for j in range(2, 9)
    ]
    assert (lay_along(path, orbit).distance ** 2).sum() == pytest.approx(min(cost))


@pytest.mark.parametrize(
    "path",
    [
        np.zeros(200),
        np.zeros((200, 3)),
        np.zeros((201, 2)),
        np.zeros((0, 2)),
        np.full((5, 2), np.nan),
    ],
)
def test_what_cannot_be_laid_along_is_refused(path):
    with pytest.raises(ValueError, match="expected finite samples"):
        lay_along(path, true_orbit())
