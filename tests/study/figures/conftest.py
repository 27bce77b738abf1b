"""Every figure is drawn in the book's style, and none is open in the next test."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import pytest

from shooting.study.figures import use_style


@pytest.fixture(autouse=True)
def book_style() -> Iterator[None]:
    use_style()
    yield
    plt.close("all")
