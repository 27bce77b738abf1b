"""The figure shows every measured pair, and the line of the factor in use."""

from __future__ import annotations

import numpy as np

from shooting.conservation import ERROR_PER_DRIFT
from shooting.study.figures.conservation import drift_and_error
from shooting.study.theory.drift import Pair


def test_every_pair_is_a_point():
    made = [("a", 10, 1e-3, 2e-3), ("b", 10, 1e-5, 4e-5), ("a", 20, 1.0, 1.0)]
    found = [Pair(name, 1.0, steps, 0, drift, error) for name, steps, drift, error in made]
    lines = drift_and_error(found).axes[0].lines
    drawn = {line.get_label(): np.column_stack(line.get_data()) for line in lines}
    assert drawn["a"].tolist() == [[1e-3, 2e-3], [1, 1]]
    assert drawn["b"].tolist() == [[1e-5, 4e-5]]
    least = [v for k, v in drawn.items() if "×" in k][0][0]
    assert least[1] == ERROR_PER_DRIFT * least[0] == ERROR_PER_DRIFT * 1e-5
