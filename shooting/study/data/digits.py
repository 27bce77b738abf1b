"""Handwritten digits of 8 x 8 pixels: the 1,797 images that come with scikit-learn.

They are the test part of a data set of the UCI repository (Alpaydin and Kaynak 1998).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from shooting.errors import MissingDataError
from shooting.randomness import generator

PIXELS, CLASSES = 64, 10
BRIGHTEST = 16  # the largest grey value
HELD_OUT = 0.3  # of all images to test, or of the training images to validate
TRAINING = (1257, 879)  # images to train on, without and with validation images

Images = tuple[Tensor, Tensor]  # pixels and labels


@functools.cache
def _images() -> tuple[np.ndarray, np.ndarray]:
    try:
        from sklearn.datasets import load_digits  # takes a second: only where it is needed
    except ImportError as error:
        raise MissingDataError(
            f"expected the package scikit-learn with its digits, got {error}; try "
            "pip install 'shooting[study]'"
        ) from error
    pixels, labels = load_digits(return_X_y=True)
    return pixels / BRIGHTEST, labels


def digits() -> Images:
    """All images: pixels in [0, 1] ``(1797, 64)`` and labels 0 to 9 ``(1797,)``.

    Raises:
        MissingDataError: If scikit-learn is not installed.
    """
    pixels, labels = _images()
    return (
        torch.as_tensor(pixels, dtype=torch.get_default_dtype()),
        torch.as_tensor(labels, dtype=torch.int64),
    )


def split(seeds: Sequence[int], *, validation: bool = False) -> tuple[Images, Images]:
    """Images to train on and images held out, each run's by its own seed, stratified by label.

    Three in ten are held out to test; with `validation` three in ten of the others, and the test
    images are not used.

    Args:
        seeds: One per run.
        validation: Whether to hold out validation images.

    Returns:
        Both parts with a leading run axis, ``(runs, n, 64)`` and ``(runs, n)``: 1,257 and 540
        images, or 879 and 378 with `validation`.

    Raises:
        MissingDataError: If scikit-learn is not installed.
    """
    pixels, labels = digits()
    places = [_places(labels.numpy(), seed, validation) for seed in seeds]
    train, held = (torch.as_tensor(np.stack(part)) for part in zip(*places, strict=True))
    return (pixels[train], labels[train]), (pixels[held], labels[held])


def _places(labels: np.ndarray, seed: int, validation: bool) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training images and of those held out, of one run."""
    train, held = _cut(labels, np.arange(len(labels)), generator(seed, "digits", "test"))
    if validation:
        return _cut(labels, train, generator(seed, "digits", "validation"))
    return train, held


def _cut(
    labels: np.ndarray, places: np.ndarray, g: torch.Generator
) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.model_selection import train_test_split

    state = int(torch.randint(2**31, (), generator=g))  # scikit-learn takes no larger seeds
    rest, held = train_test_split(
        places, test_size=HELD_OUT, stratify=labels[places], random_state=state
    )
    return rest, held
