"""Pictures of the universality chapter: the slider shows the flows that it names."""

from dataclasses import replace

import matplotlib.pyplot as plt
import pytest
import torch
from bs4 import BeautifulSoup

from shooting.study.figures.universality import (
    draw_bounds,
    draw_fan,
    draw_flows,
    draw_frames,
    flow_slider,
    label_ends,
)
from shooting.study.universality.approximation import approximate, surround
from shooting.study.universality.targets import moving_vortex
from tests.study.universality.examples import QUICK


def test_slider_shows_every_flow_at_every_depth_and_ends_at_the_last():
    """Points of the drawing are those of the flows, to a hundredth; one frame is visible."""
    found = approximate(moving_vortex(), replace(QUICK, rho=0.2), ball=surround(moving_vortex()))
    page = BeautifulSoup(flow_slider([found, found], "A vortex, twice", frames=3), "html.parser")
    assert [d.get_text() for d in page.select("div > div")] == ["true flow", *["UpDown, k = 8"] * 2]
    for panel in page("svg"):
        frames = panel.select("g[data-frame]")
        assert [g["data-frame"] for g in frames if not g.get("style")] == ["2"]
        assert len(frames) == 3
    ids = {tag["id"] for tag in page.select("[id]")}
    assert {tag["href"][1:] for tag in page("use")} == ids == {f"flow-true-{k}" for k in range(3)}
    start = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    for flow, panel in zip((found.target.flow, found.flow), page("svg"), strict=False):
        rim = panel.select("g[data-frame]")[2].select("polyline")[-1]["points"].split()[0]
        x, y = (float(v) / 100 for v in rim.split(","))
        assert torch.allclose(torch.tensor([[x, -y]]).double(), flow(start)[-1], atol=0.0051)
    assert page.input["max"] == "2"
    assert page.figcaption.get_text() == "A vortex, twice"


@pytest.fixture(scope="module")
def vortex():
    return approximate(moving_vortex(), replace(QUICK, rho=0.2), ball=surround(moving_vortex()))


def rim(ax):
    """The first point of the rim, which is drawn last."""
    return torch.tensor(ax.collections[-1].get_segments()[0][0])


def test_panels_show_both_flows_at_their_depth(vortex):
    """The rim starts at (1, 0): in each panel it has gone where the flow takes it by then."""
    _, axes = plt.subplots(2, 3)
    draw_flows(axes, [vortex, vortex])
    start = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    found, true = (flow(start, times=4)[:, 0] for flow in (vortex.flow, vortex.target.flow))
    for row in axes:
        for k, ax in enumerate(row, start=1):
            assert torch.allclose(rim(ax), found[k], atol=1e-9)  # the same computation, by lines
            under = torch.tensor(ax.collections[1].get_segments()[0][0])
            assert torch.allclose(under, true[k], atol=1e-9)
            assert not torch.allclose(rim(ax), found[k - 1], atol=1e-2)  # control: a frame early
    assert [ax.get_title(loc="left") for ax in axes[0]] == ["t = 0.33", "t = 0.67", "t = 1"]
    assert {ax.axis() for ax in axes.flat} == {axes[0, 0].axis()}


def test_frames_run_from_start_to_end():
    _, axes = plt.subplots(1, 3)
    draw_frames(axes, lambda x: torch.stack([x, 2 * x, 3 * x]))
    assert [float(rim(ax)[0]) for ax in axes] == [1.0, 2.0, 3.0]
    assert [ax.get_title(loc="left") for ax in axes] == ["t = 0", "t = 0.5", "t = 1"]


def test_errors_are_solid_bounds_dashed_and_names_at_the_ends_of_errors():
    _, ax = plt.subplots()
    draw_bounds(ax, [2, 4], {"a": [1.0, 0.5], "b": [3.0, 2.0]}, {"a": [9, 8], "b": [7, 6]})
    drawn = [(line.get_linestyle(), list(line.get_ydata())) for line in ax.lines]
    assert drawn == [("-", [1.0, 0.5]), ("--", [9, 8]), ("-", [3.0, 2.0]), ("--", [7, 6])]
    assert {text.get_text(): text.xy for text in ax.texts} == {"a": (4, 0.5), "b": (4, 2.0)}


@pytest.mark.parametrize(("ends", "heights"), [((1.0, 1.1, 9.0), [1, 1.5, 9]), ((3, 1), [3, 1])])
def test_names_keep_apart_and_stay_where_there_is_room(ends, heights):
    _, ax = plt.subplots()
    label_ends(ax, 4, dict(zip("abc", ends, strict=False)), ["C0", "C1", "C2"])
    placed = {text.get_text(): text.xy[1] for text in ax.texts}
    assert [placed[name] for name in sorted(placed)] == heights


def test_fan_gives_each_path_the_colour_of_its_start():
    _, ax = plt.subplots()
    colours = draw_fan(ax, torch.linspace(0, 1, 5), torch.arange(15.0).view(5, 3))
    assert [tuple(line.get_color()) for line in ax.lines] == [tuple(c) for c in colours]
    assert [line.get_ydata()[0] for line in ax.lines] == [0, 1, 2]
