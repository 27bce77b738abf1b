"""Helpers of the theory chapters: a grid is square, paths begin and end where they should."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import torch

from shooting.study.figures.theory import draw_costates, draw_grid, draw_paths, grid_lines

PATHS = torch.tensor([[[0.0, 0.0], [1.0, 0.0]], [[0.5, 1.0], [1.5, 1.0]], [[1.0, 2.0], [2.0, 2.0]]])


def test_a_grid_has_level_lines_and_then_upright_ones():
    lines = grid_lines(2.0, lines=3, points=5)
    assert lines.shape == (6, 5, 2)
    level, upright = lines[:3], lines[3:]
    assert torch.equal(level[:, :, 1], torch.tensor([-2.0, 0.0, 2.0]).double().expand(5, 3).T)
    assert torch.equal(upright, level.flip(-1))
    assert (float(lines.min()), float(lines.max())) == (-2.0, 2.0)


def test_a_moved_grid_is_drawn_line_by_line():
    _, ax = plt.subplots()
    draw_grid(ax, 3 * grid_lines(1.0, lines=3, points=5), colors="red")
    (drawn,) = ax.collections
    assert len(drawn.get_segments()) == 6
    assert ax.get_xlim()[0] <= -3
    assert ax.get_aspect() == 1.0


def test_paths_have_marked_starts_ends_and_targets():
    _, ax = plt.subplots()
    draw_paths(ax, PATHS, targets=PATHS[-1] + 1)
    *curves, start, end, target = ax.lines
    assert len(curves) == 2
    np.testing.assert_array_equal(curves[0].get_xydata(), PATHS[:, 0])
    for line, want in ((start, PATHS[0]), (end, PATHS[-1]), (target, PATHS[-1] + 1)):
        np.testing.assert_array_equal(line.get_xydata(), want)


def test_costates_are_arrows_at_some_of_the_states():
    _, ax = plt.subplots()
    draw_costates(ax, PATHS, -PATHS, every=2, scale=1.0)
    (arrows,) = ax.collections
    np.testing.assert_array_equal(arrows.get_offsets(), PATHS[::2].reshape(-1, 2))
    np.testing.assert_array_equal(arrows.U, -PATHS[::2, :, 0].reshape(-1))
