import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shooting.study.data import bouncing_balls as data
from shooting.study.storage import CorruptFileError


@pytest.fixture(scope="module")
def flights():
    return data.trajectories("test", 200)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOOTING_STATE", str(tmp_path))
    return tmp_path


# --- dynamics ------------------------------------------------------------------------------


def test_energy_is_kept_and_starts_at_an_eighth(flights):
    _, v = flights
    # 1e-14: rounding of float64 over 38 substeps
    np.testing.assert_allclose(0.5 * (v**2).sum((-1, -2)), 0.125, atol=1e-14)


def test_balls_start_apart_and_inside_and_never_in_the_first_corner(flights):
    start = flights[0][:, 0]
    assert data.admissible(start).all()
    assert start.min() >= 2.0  # the published draw is from [2, 10]
    assert start.max() <= 8.8
    assert not data.admissible(start[:, [0, 0, 1]]).any()  # control: two balls in one place


def test_balls_sink_into_walls_by_less_than_a_substep(flights):
    x, _ = flights
    # a ball beyond the wall flies back: depth at most half a time unit at speed 0.5
    assert x.min() >= data.RADIUS - 0.25
    assert x.max() <= data.BOX - data.RADIUS + 0.25
    assert x.min() < data.RADIUS  # the published simulation does not push them out


def test_no_two_balls_stay_in_each_other(flights):
    x, _ = flights
    for i, j in data.pairs(x):
        distance = np.sqrt(((x[..., i, :] - x[..., j, :]) ** 2).sum(-1))
        # at joint speed 0.5 two balls approach by at most sqrt(2) 0.5 0.5 = 0.35 in a substep
        # before they turn; without collisions they would meet (measured: 0)
        assert distance.min() > 2 * data.RADIUS - 0.5


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_collisions_keep_momentum_and_energy_and_turn_approach_into_parting(seed):
    rng = np.random.default_rng(seed)
    x = rng.uniform(2, 8, (5, 3, 2))
    v = rng.normal(size=(5, 3, 2))
    for i, j in data.pairs(x):
        after = data.collide(x, v, i, j)
        np.testing.assert_allclose(after.sum(-2), v.sum(-2), atol=1e-13)  # float64
        np.testing.assert_allclose((after**2).sum((-1, -2)), (v**2).sum((-1, -2)), rtol=1e-12)
        gap = x[:, i] - x[:, j]
        before, now = (((w[:, i] - w[:, j]) * gap).sum(-1) for w in (v, after))
        touch = np.sqrt((gap**2).sum(-1)) < 2 * data.RADIUS
        np.testing.assert_allclose(now, np.where(touch, -before, before), atol=1e-12)


def test_head_on_collision_and_wall_by_hand():
    x = np.array([[3.0, 5.0], [5.5, 5.0], [2.0, 9.0]])
    v = np.array([[0.3, 0.1], [0.0, 0.0], [0.0, 0.2]])
    x, v = data.substep(x, v)
    # the first flies to 3.15, touches the second, and hands over its horizontal velocity;
    # the third reaches 9.1, beyond 8.8, and turns
    np.testing.assert_allclose(x, [[3.15, 5.05], [5.5, 5.0], [2.0, 9.1]], atol=1e-15)
    along = (x[0] - x[1]) / np.linalg.norm(x[0] - x[1])
    given_away = along * (along @ [0.3, 0.1])
    np.testing.assert_allclose(v, [[0.3, 0.1] - given_away, given_away, [0.0, -0.2]], atol=1e-15)


def test_overlapping_balls_that_part_swap_back():
    x = np.array([[3.0, 5.0], [5.0, 5.0], [8.0, 8.0]])
    v = np.array([[-0.2, 0.0], [0.1, 0.0], [0.0, 0.0]])
    stuck = data.collide(x, v, 1, 0)
    np.testing.assert_allclose(stuck[:2, 0], [0.1, -0.2])  # as published: they approach again


def test_all_at_once_equals_one_at_a_time(flights):
    for index in (0, 7, 199):
        alone = data.simulate(*data.initial("test", index))
        for whole, one in zip(flights, alone, strict=True):
            np.testing.assert_array_equal(whole[index], one)
    later = data.trajectories("test", 3, start=7)
    np.testing.assert_array_equal(later[0][0], flights[0][7])


def test_splits_and_indices_draw_differently():
    first = {name: data.initial(name, 0)[0] for name in data.SPLITS}
    assert len({tuple(x.flatten()) for x in first.values()}) == 3
    assert not np.array_equal(data.initial("test", 1)[0], first["test"])


# --- drawing -------------------------------------------------------------------------------


def test_a_ball_is_drawn_by_the_eighth_power():
    x = np.array([[[3.0, 6.0]]])
    image = data.draw(x)[0]
    row, column = 20, 11
    centre = (np.array([column, row]) + 0.5) * 10 / 32
    ratio = np.linalg.norm(centre - [3.0, 6.0]) / data.RADIUS
    assert image[row, column] == pytest.approx(np.exp(-(ratio**8)), abs=1e-14)
    assert image[row, column] != pytest.approx(np.exp(-(ratio**4)), abs=1e-2)  # the wrong power
    brightest = np.unravel_index(image.argmax(), image.shape)
    assert abs(brightest[0] - 6 * 3.2) < 4.5  # rows belong to the second coordinate
    assert abs(brightest[1] - 3 * 3.2) < 4.5
    assert np.all(data.draw(np.repeat(x, 3, axis=1)) <= 1)


def test_shrinking_is_antialiased_bilinear():
    image = data.draw(np.array([[4.0, 5.0], [7.0, 2.0]]))
    known = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None, None], size=28, mode="bilinear", antialias=True
    )[0, 0].numpy()
    np.testing.assert_allclose(data.shrink(image), known, atol=1e-12)  # float64
    direct = data.draw(np.array([[4.0, 5.0], [7.0, 2.0]]), side=28)
    assert ((data.shrink(image) - direct) ** 2).mean() > 1e-4  # drawn at 28: another picture


def test_published_statistics_hold():
    frames = data.make("test", 100) / 255
    # 0.097 for the black image on frames 3 to 12, from another simulation of 500 sequences; the
    # spread over draws of 100 is below 0.002
    assert (frames[:, 3:13] ** 2).mean() == pytest.approx(0.097, abs=0.004)
    assert ((frames[:, 3] - frames[:, 2]) ** 2).mean() == pytest.approx(0.0101, abs=0.001)


# --- bytes and cache -----------------------------------------------------------------------


@pytest.mark.parametrize(("split", "side"), sorted(data.CHECKSUMS))
def test_committed_checksums_hold(split, side):
    made = data.make(split, data.SLICE, side)
    assert made.shape == (data.SLICE, 20, side, side)
    assert data.sha256(made) == data.CHECKSUMS[split, side]
    made[3, 4, 5, 6] ^= 1
    assert data.sha256(made) != data.CHECKSUMS[split, side]


def test_a_smaller_set_is_the_beginning_of_a_larger_one_and_is_made_once(cache, monkeypatch):
    few = data.sequences("test", 20)
    assert not few.flags.writeable
    np.testing.assert_array_equal(data.make("test", 5), few[:5])
    monkeypatch.setattr(data, "make", None)  # a second call must not simulate
    np.testing.assert_array_equal(data.sequences("test", 20), few)


def assert_one_sentence_with_remedies(message, path):
    assert f"delete {path}" in message
    assert "$SHOOTING_STATE" in message
    assert "\n" not in message
    assert message.count(". ") == 0


@pytest.mark.parametrize("damage", ["bit", "cut", "empty", "other balls"])
def test_corrupt_cache_names_its_remedies(cache, damage):
    data.sequences("test", 20)
    path = data.cache_path("test", 20, 28)
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    damaged = {
        "bit": bytes(content),
        "cut": path.read_bytes()[:-7],
        "empty": b"",
        "other balls": data.sha256(data.make("train", 20)).encode()
        + data.make("train", 20).tobytes(),
    }
    path.write_bytes(damaged[damage])
    with pytest.raises(CorruptFileError) as error:
        data.sequences("test", 20)
    assert_one_sentence_with_remedies(str(error.value), path)


def test_other_arithmetic_is_noticed_before_anything_is_kept(cache, monkeypatch):
    made = data.make("test", 20)
    made[0, 0, 0, 0] ^= 1
    monkeypatch.setattr(data, "make", lambda *settings: made)
    with pytest.raises(CorruptFileError, match="arithmetic"):
        data.sequences("test", 20)
    assert not data.cache_path("test", 20, 28).exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("holiday",), "expected a split among"),
        (("test", 5, 30), "a side among"),
        (("test", 501), "expected the count to be a whole number from 1 to 500"),
    ],
)
def test_unknown_sequences_are_refused_in_a_sentence(arguments, words):
    with pytest.raises(ValueError, match=words):
        data.sequences(*arguments)


def test_bytes_are_cut_off_where_a_drawing_leaves_the_range():
    drawn = np.array([-0.5, 0.0, 0.5, 1.0, 1.5])
    assert data.to_bytes(drawn).tolist() == [0, 0, 128, 255, 255]
