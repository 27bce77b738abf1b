"""Where classifiers decide: the line that is drawn is the one where the decision changes."""

from __future__ import annotations

import pytest
import torch
from problems import draw

from shooting.study.figures.decisions import decisions


@pytest.mark.parametrize("place", [0.3, -1.1])
def test_the_figure_draws_the_line_where_the_decision_changes(place):
    def by_first_coordinate(z):
        return torch.stack([place - z[:, 0], z[:, 0] - place], -1)

    x = draw(0, 40, 2).float()
    fig = decisions({"one": by_first_coordinate}, x, (x[:, 0] > place).long())
    (line,) = (c for c in fig.axes[0].collections if getattr(c, "filled", True) is False)
    across = line.get_paths()[0].vertices[:, 0]
    # linear in x1, so that the interpolation between two points of the square is exact
    # but for single precision
    assert abs(across - place).max() < 1e-5
