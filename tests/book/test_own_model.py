"""The lines of `notebooks/20_own_model.ipynb` and of README.md, taken from there and tested."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace

import nbformat
import pytest
import torch

import shooting

PAGE = "notebooks/20_own_model.ipynb"
SEEDS = (3, 5)


def tagged(root, tag: str) -> list[str]:
    """Sources of the page's cells with a tag."""
    cells = nbformat.read(root / PAGE, as_version=4).cells
    return [cell.source for cell in cells if tag in cell.metadata.get("tags", [])]


def snippets(root) -> list[str]:
    """The Python of the README."""
    text = (root / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def page(root) -> SimpleNamespace:
    """The names that the page's own lines define, and nothing else of the page."""
    scope = {"shooting": shooting, "torch": torch, "nn": torch.nn, "math": math}
    for source in tagged(root, "own-model"):
        exec(compile(source, PAGE, "exec"), scope)
    return SimpleNamespace(**scope)


@pytest.fixture(scope="module")
def data(page):
    return page.spirals(400, seed=0)


def updown() -> shooting.Field:
    return shooting.UpDown(dim=2, inflation=8)


def test_the_module_has_ten_lines(root):
    source = next(s for s in tagged(root, "own-model") if "class Classifier" in s)
    assert len(source.partition("\n\n\n")[0].splitlines()) <= 10


def test_the_first_experiment_has_seven_lines(root):
    """As the page's first sentence says; blank lines do not count."""
    (source,) = tagged(root, "first-experiment")
    assert len([line for line in source.splitlines() if line.strip()]) == 7


@pytest.mark.parametrize("seeds", [None, SEEDS])
def test_gradients_reach_every_parameter(page, data, seeds):
    model = page.Classifier(updown(), seeds)
    page.loss(model, *data).sum().backward()
    parts = {k: w.grad for k, w in model.named_parameters()}
    assert set(parts) == {
        "read",
        *(f"flow.{k}" for k in ("x", "v", "p", "lift.weight", "lift.bias")),
    }
    # Every named part of every run; a unit of the lift whose ReLU is off everywhere may have none.
    runs = 1 if seeds is None else len(seeds)
    assert all((g.reshape(runs, -1) != 0).any(-1).all() for g in parts.values())


def test_control_a_block_out_of_the_graph_gets_no_gradient(page, data):
    model = page.Classifier(updown())
    with torch.no_grad():
        end = model.flow(data[0], [0.0, 1.0])[-1]
    (end @ model.read).sum().backward()
    assert all(w.grad is None for w in model.flow.parameters())


def test_gradients_pass_through_the_block(page, data):
    """A layer in front of it learns, by the gradient that finite differences give."""
    front = torch.nn.Linear(5, 2).double()
    model = torch.nn.Sequential(front, page.Classifier(updown()).double())
    x = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    model(x)[:, 0].sum().backward()
    step = 1e-6
    with torch.no_grad():
        moved = []
        for sign in (1, -1):
            front.bias[0] += sign * step
            moved.append(model(x)[:, 0].sum())
            front.bias[0] -= sign * step
    # central differences: step^2 from Taylor, 1e-15 / step from rounding
    assert float((moved[0] - moved[1]) / (2 * step)) == pytest.approx(
        float(front.bias.grad[0]), rel=1e-7
    )


def test_without_seeds_there_is_no_further_axis(page, data):
    x, y = data
    assert page.Classifier(updown())(x).shape == (400, 2)
    assert page.Classifier(updown(), SEEDS)(x).shape == (2, 400, 2)
    assert page.loss(page.Classifier(updown()), x, y).shape == ()
    assert page.loss(page.Classifier(updown(), SEEDS), x, y).shape == (2,)


def test_a_run_of_an_ensemble_is_the_run_alone(page, data):
    together = page.fit(page.Classifier(updown(), SEEDS), *data, 20)
    alone = [page.fit(page.Classifier(updown(), [s]), *data, 20) for s in SEEDS]
    # Single precision after 20 steps of Adam: a few hundred roundings of 6e-8. Runs of different
    # seeds are a thousand times as far apart.
    for i, one in enumerate(alone):
        torch.testing.assert_close(together.read[i], one.read[0], rtol=0, atol=1e-4)
    assert (together.read[0] - together.read[1]).abs().max() > 1e-2


@pytest.mark.parametrize("seeds", [None, SEEDS])
def test_state_round_trips(page, data, tmp_path, seeds):
    model = page.fit(page.Classifier(updown(), seeds), *data, 5)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    twin = page.Classifier(updown(), seeds)
    assert not torch.equal(twin(data[0]), model(data[0]))  # the control: not before it is loaded
    twin.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    assert torch.equal(twin(data[0]), model(data[0]))


def test_control_a_state_of_other_seeds_count_is_refused(page):
    state = page.Classifier(updown(), SEEDS).state_dict()
    with pytest.raises(ValueError, match="the state is of another number of runs"):
        page.Classifier(updown()).load_state_dict(state)


@pytest.mark.slow
def test_the_block_learns_what_the_network_without_flow_does_not(page, data):
    fresh = page.spirals(1000, seed=1)
    model = page.fit(page.Classifier(updown(), SEEDS), *data, 100)
    still = page.without_flow(page.Classifier(updown(), SEEDS))
    page.fit(still, *data, 100)
    # The page's bars: eight seeds got 0.990 or more, a straight line 0.763.
    assert page.accuracy(model, *fresh).min() > 0.95
    assert page.accuracy(still, *fresh).max() < 0.85


def test_without_momenta_the_flow_stands_still(page, data):
    still = page.without_flow(page.Classifier(updown(), SEEDS))
    path = still.flow(data[0], [0.0, 0.5, 1.0])
    assert torch.equal(path, data[0].expand_as(path))
    moving = page.Classifier(updown(), SEEDS).flow(data[0], [0.0, 0.5, 1.0])
    assert not torch.equal(moving, data[0].expand_as(moving))


# --- README.md -----------------------------------------------------------------------------


def test_the_readme_shows_the_first_experiment_as_the_page_runs_it(root):
    (cell,) = tagged(root, "first-experiment")
    assert cell + "\n" in snippets(root)


def test_the_ten_lines_of_the_readme_run(root):
    (lines,) = (s for s in snippets(root) if "DynamicParticles" in s)
    x, times = torch.linspace(-1.5, 1.5, 20).unsqueeze(-1), [0.0, 0.5, 1.0]
    scope = {"x": x, "y": x**2, "times": times}
    scope["mse"] = lambda a, b: ((a - b) ** 2).mean((-1, -2))
    exec(compile(lines, "README.md", "exec"), scope)
    assert scope["path"].shape == (10, 3, 20, 1)
    assert scope["loss"].shape == (10,)
    assert scope["theta"].keys() == scope["field"].shapes.keys()
    assert scope["theta"]["theta1"].shape[:2] == (10, 3)
