"""Pictures of the universality chapter: the slider shows the flows that it names."""

from dataclasses import replace

import torch
from bs4 import BeautifulSoup

from shooting.study.figures.universality import flow_slider
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
