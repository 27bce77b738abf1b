"""Points of the disk, and the balls in which the built-in fields stay."""

from __future__ import annotations

import pytest

from shooting.study.universality.approximation import surround
from shooting.study.universality.bounds import ball_cover
from shooting.study.universality.targets import BUILT_IN


@pytest.fixture
def x():
    return ball_cover(2, 0.9, 0.1)


@pytest.fixture(scope="module")
def balls():
    return {name: surround(make()) for name, make in BUILT_IN.items()}
