"""The small digits: known sizes, a split of each run's own, nothing in both parts."""

from __future__ import annotations

import sys

import pytest
import torch
from problems import refused

from shooting.errors import MissingDataError
from shooting.study.data import digits as data
from shooting.study.data.digits import CLASSES, PIXELS, TRAINING, digits, split


def test_images_are_those_of_the_data_set():
    pixels, labels = digits()
    assert pixels.shape == (1797, PIXELS)
    assert pixels.dtype == torch.get_default_dtype()
    assert (float(pixels.min()), float(pixels.max())) == (0, 1)
    assert labels[:10].tolist() == list(range(10))
    assert labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


@pytest.mark.parametrize("validation", [False, True])
def test_parts_have_their_sizes_and_the_shares_of_all_labels(validation):
    (x, y), (held, labels) = split([0, 1], validation=validation)
    count = TRAINING[validation]
    assert (x.shape, y.shape) == ((2, count, PIXELS), (2, count))
    assert held.shape[1] == labels.shape[1] == (378 if validation else 540)
    for run in range(2):
        shares = y[run].bincount(minlength=CLASSES) / count
        # each label's count is rounded to a whole image, twice where a part is cut again
        assert (shares - digits()[1].bincount() / 1797).abs().max() < 2 / count


def rows(pixels):
    return {tuple(row) for row in pixels.tolist()}


def test_no_image_is_in_two_parts():
    """No two of the 1,797 images are equal, so that pixels tell them apart."""
    assert len(rows(digits()[0])) == 1797
    (train, _), (test, _) = (tuple(p[0] for p in part) for part in split([3]))
    (few, _), (checked, _) = (tuple(p[0] for p in part) for part in split([3], validation=True))
    assert not rows(train) & rows(test)
    assert rows(few) | rows(checked) == rows(train)
    assert not rows(few) & rows(checked)
    assert rows(test) & rows(split([4])[0][0][0])  # control: another seed's


def test_a_split_depends_on_its_seed_alone():
    both = split([0, 7])
    assert torch.equal(both[1][0][1], split([7])[1][0][0])
    assert not torch.equal(both[1][0][0], both[1][0][1])  # control


def test_missing_package_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)  # as if it were not installed
    with refused("scikit-learn", error=MissingDataError):
        data._images.__wrapped__()
