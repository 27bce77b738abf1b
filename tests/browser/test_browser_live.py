"""The page on live shooting: its script equals the package, and shows what it computes."""

from __future__ import annotations

import re

import pytest
import torch
from live_still import STATIC, still

from shooting import Solver, UpDown, shoot
from tests.browser.visit import DESKTOP, Visit

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.usefixtures("float64")]

STEPS = 20
SOLVER = Solver(method="rk4", step=1 / STEPS)
DEPTH = torch.linspace(0, 1, STEPS + 1, dtype=torch.float64)
SHOOT = """([sigma, start, steps]) => {
    const shot = LIVE.shoot(sigma, start, steps);
    return {
        path: shot.path.map(state => state.map(part => [...part])),
        theta: shot.theta.map(th => Object.entries(th).map(([k, w]) => [k, [...w]])),
        H: shot.H,
    };
}"""
# The same operations in double precision, in another order: 1e-14 is seen, and the page's promise
# is 1e-6.
CLOSE = 1e-9
# What could be wrong with the script: a piece of its text, and a wrong one in its place.
WRONG = {
    "sign of the costate of x": (
        "pull(Q, th.theta2, WIDTH).map((a) => -a)",
        "pull(Q, th.theta2, WIDTH)",
    ),
    "sign of the costate of v": ("-sigma.slope(v)", "sigma.slope(v)"),
    "weight of theta3": ("[2, 6, 10]", "[2, 6, 1]"),
    "slope of tanh": ("1 - Math.tanh(v) ** 2", "1 - Math.tanh(v)"),
    "one weight of the rule": ("[1 / 8, 3 / 8, 3 / 8, 1 / 8]", "[1 / 6, 1 / 3, 1 / 3, 1 / 6]"),
}


def draw(particles: int = 3, rows: int = 7) -> list[torch.Tensor]:
    """Any X, V, P, Q, x, v: v and Q need not be those of the page."""
    g = torch.Generator().manual_seed(3)
    sizes = [(particles, 2), (particles, 6)] * 2 + [(rows, 2), (rows, 6)]
    return [0.7 * torch.randn(size, generator=g, dtype=torch.float64) for size in sizes]


def by_package(sigma: str, start: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Everything the script returns, computed by the package."""
    field = UpDown(2, 3, sigma=sigma)
    q, p, z = (torch.cat(start[i : i + 2], dim=-1) for i in (0, 2, 4))
    path = shoot(field, q, p, z, DEPTH, solver=SOLVER)
    parts = [s for block in path for s in field.split(block).values()]
    names = ("X", "V", "P", "Q", "x", "v")
    H = field.energy(path.q, path.p)
    return dict(zip(names, parts, strict=True)) | field.theta(path.q, path.p) | {"H": H}


def by_script(page, sigma: str, start: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same from the script."""
    got = page.evaluate(SHOOT, [sigma, [part.flatten().tolist() for part in start], STEPS])
    found = {n: torch.tensor([s[i] for s in got["path"]]) for i, n in enumerate("XVPQxv")}
    found |= {n: torch.tensor([dict(th)[n] for th in got["theta"]]) for n, _ in got["theta"][0]}
    return found | {"H": torch.tensor(got["H"])}


def gap(page, sigma: str) -> float:
    """Largest difference between script and package, over everything and all depths."""
    start = draw()
    want, got = by_package(sigma, start), by_script(page, sigma, start)
    assert set(want) == set(got)
    return max(float((got[n] - w.reshape(got[n].shape)).abs().max()) for n, w in want.items())


@pytest.fixture
def blank(browser):
    page = browser.new_page()
    yield page
    page.close()


def load(page, old: str = "", new: str = "") -> None:
    """The script on a page without the picture, with one piece of its text replaced."""
    source = (STATIC / "live.js").read_text(encoding="utf-8")
    assert not old or source.count(old) == 1, old
    page.add_script_tag(content=source.replace(old, new) if old else source)


@pytest.mark.parametrize("sigma", ["tanh", "relu"])
def test_the_script_equals_the_package(blank, sigma):
    load(blank)
    assert gap(blank, sigma) < CLOSE


@pytest.mark.parametrize("what", WRONG)
def test_control_a_wrong_script_is_found(blank, what):
    load(blank, *WRONG[what])
    assert gap(blank, "tanh") > 1e-6


# --- the page -----------------------------------------------------------------------------------


@pytest.fixture
def opened(browser, address):
    visit = Visit(browser, f"{address}/book/live.html")
    visit.page.wait_for_selector(".live-chart .entry[d]", state="attached")
    yield visit.page
    assert not visit.said, visit.said
    visit.page.close()


def settle(page) -> None:
    """Two frames: one in which the script may compute, one in which it has."""
    page.evaluate("() => new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")


def numbers(text: str) -> list[float]:
    return [float(a) for a in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", text.replace("−", "-"))]


def start_shown(page) -> list[torch.Tensor]:
    """The initial conditions as the page tells them to a reader who cannot see it."""
    said = page.locator(".live-handle").evaluate_all("es => es.map(e => e.ariaValueText)")
    rows = torch.tensor([numbers(s) for s in said]).reshape(-1, 2, 2)
    side = torch.linspace(-1, 1, 25)
    lines = [(side, side.new_full((25,), c / 4)) for c in range(-4, 5)]
    grid = torch.cat([torch.stack(pair, -1) for s, c in lines for pair in ((s, c), (c, s))])
    weight, bias = page.evaluate("() => [[...LIVE.lift.weight], [...LIVE.lift.bias]]")
    X, P = rows[:, 0], rows[:, 1]
    V, v = (a @ torch.tensor(weight).reshape(6, 2).T + torch.tensor(bias) for a in (X, grid))
    return [X, V, P, torch.zeros_like(V), grid, v]


def points(locator) -> torch.Tensor:
    """Points of a drawn path, in the plane's coordinates."""
    drawn = torch.tensor(
        numbers(" ".join(locator.evaluate_all("es => es.map(e => e.getAttribute('d'))")))
    )
    return drawn.reshape(-1, 2) * torch.tensor([1.0, -1.0])


def check_drawn(page, sigma: str, node: int = STEPS) -> None:
    """Grid, path, curves and H on the screen are the package's, from the arrows on the screen."""
    settle(page)
    want = by_package(sigma, start_shown(page))
    near = {"atol": 6e-4, "rtol": 0}  # three digits are drawn
    assert torch.allclose(points(page.locator(".live-thread")), want["x"][node], **near)
    trail = want["X"][: node + 1, 0]
    assert torch.allclose(points(page.locator(".trail").first)[: node + 1], trail, **near)
    for chart in page.locator(".live-chart").all():
        bound = float(chart.locator(".top").inner_text())
        for i, name in enumerate(chart.get_attribute("data-theta").split()):
            curve = points(chart.locator(".entry").nth(i)).reshape(-1, STEPS + 1, 2)
            wanted = want[name].flatten(1).T / bound
            assert torch.allclose(curve[..., 1], wanted, **near)
            assert wanted.abs().max() <= 1
    told = numbers(page.locator("[data-live=energy]").inner_text())
    assert told[0] == pytest.approx(float(want["H"][0]), abs=6e-5)
    assert told[1] == pytest.approx(float(want["H"][-1]), abs=6e-5)
    drift = float((want["H"] - want["H"][0]).abs().max())
    assert told[2] == pytest.approx(drift, rel=0.5)  # one digit is shown


def drag(page, name: str, right: float, up: float) -> None:
    box = page.get_by_label(name).locator("circle").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + right / 2, y - up / 2)
    page.mouse.move(x + right, y - up)
    page.mouse.up()


def choose(page, **what: str) -> None:
    for name, value in what.items():
        page.locator(f"[data-live={name}]").select_option(value)


@pytest.mark.parametrize("sigma", ["tanh", "relu"])
@pytest.mark.parametrize("preset", ["stretch", "turn", "push"])
def test_what_is_drawn_is_the_package(opened, preset, sigma):
    choose(opened, preset=preset, sigma=sigma)
    check_drawn(opened, sigma)
    with pytest.raises(AssertionError):  # control: the other activation draws another grid
        check_drawn(opened, "tanh" if sigma == "relu" else "relu")


def test_dragging_moves_the_grid(opened):
    before, drawn = start_shown(opened), points(opened.locator(".live-thread"))
    drag(opened, "Particle 1, momentum", 30, 60)
    drag(opened, "Particle 2, position", -20, 40)
    check_drawn(opened, "tanh")
    after = start_shown(opened)
    assert (after[2][0] - before[2][0] > 0.1).all()  # right and up
    assert after[0][1, 0] < before[0][1, 0] - 0.05
    assert torch.equal(after[0][0], before[0][0])  # a particle stays where its arrow is turned
    assert torch.equal(after[2][1], before[2][1])  # an arrow goes with its ring
    assert (points(opened.locator(".live-thread")) - drawn).abs().max() > 0.1
    opened.get_by_role("button", name="Reset").click()
    settle(opened)
    assert all(torch.equal(a, b) for a, b in zip(start_shown(opened), before, strict=True))
    assert torch.equal(points(opened.locator(".live-thread")), drawn)


def test_a_drag_stays_in_the_window(opened):
    drag(opened, "Particle 1, momentum", -2000, 3000)
    check_drawn(opened, "tanh")
    X, _, P, *_ = start_shown(opened)
    assert torch.allclose(X[0] + P[0], torch.tensor([-2.2, 2.2]))
    drag(opened, "Particle 2, position", 2000, 0)  # its arrow stays where it can be grasped
    settle(opened)
    X, _, P, *_ = start_shown(opened)
    assert torch.allclose((X[1] + P[1])[0], torch.tensor(2.2))
    assert P[1, 0] > 0.1


def test_the_keyboard_suffices(opened):
    opened.locator("[data-live=reset]").focus()
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.ariaLabel") == "Particle 1, position"
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.ariaLabel") == "Particle 1, momentum"
    before, height = start_shown(opened), opened.evaluate("scrollY")
    for key in ("ArrowUp", "ArrowUp", "ArrowLeft", "Shift+ArrowDown"):
        opened.keyboard.press(key)
    check_drawn(opened, "tanh")
    moved = start_shown(opened)[2] - before[2]
    assert torch.allclose(moved[0], torch.tensor([-0.05, 0.09]))
    assert (moved[1:] == 0).all()
    assert opened.evaluate("scrollY") == height  # the arrow keys moved nothing else


def test_depth_carries_the_grid_from_where_it_was(opened):
    slider = opened.get_by_label("Depth t")
    slider.fill("0")
    check_drawn(opened, "tanh", node=0)
    assert torch.allclose(points(opened.locator(".live-thread")), start_shown(opened)[4], atol=1e-3)
    slider.fill("0.5")
    check_drawn(opened, "tanh", node=STEPS // 2)
    opened.get_by_role("button", name="Play").click()
    opened.wait_for_function("document.querySelector('[data-live=depth]').value < 0.4")
    opened.wait_for_function("document.querySelector('[data-live=depth]').value == 1")
    check_drawn(opened, "tanh")


def test_nothing_moves_by_itself_for_those_who_do_not_want_it(opened):
    assert opened.get_by_role("button", name="Play").is_visible()  # control
    opened.emulate_media(reduced_motion="reduce")
    assert not opened.get_by_role("button", name="Play").is_visible()


def test_a_target_is_large_enough_for_a_finger(opened):
    opened.set_viewport_size({"width": 390, "height": 844})
    boxes = [one.bounding_box() for one in opened.locator(".live-target").all()]
    assert len(boxes) == 4
    assert min(box["width"] for box in boxes) >= 24  # pixels: the web's accessibility guidelines


def test_the_script_is_loaded_here_and_on_the_front_page_only(site):
    pages = [p for p in site.rglob("*.html") if "_static" not in p.parts]
    names = {p.name for p in pages if "live.js" in p.read_text(encoding="utf-8")}
    assert names == {"index.html", "live.html"}


def test_the_front_page_shows_the_plane_and_the_depth_alone(browser, address):
    """By the same script: what is drawn is the package's here as well."""
    visit = Visit(browser, f"{address}/book/index.html")
    page = visit.page
    page.wait_for_selector(".live-chart .entry[d]", state="attached")
    shown = page.locator("#live :is(select, button, input)").evaluate_all(
        "es => es.filter(e => e.checkVisibility()).map(e => e.dataset.live)"
    )
    assert shown == ["depth", "play"]
    before = points(page.locator(".live-thread"))
    drag(page, "Particle 1, momentum", 20, 30)
    settle(page)
    want = by_package("tanh", start_shown(page))["x"][STEPS]
    after = points(page.locator(".live-thread"))
    assert torch.allclose(after, want, atol=6e-4, rtol=0)  # three digits are drawn
    assert (after - before).abs().max() > 0.05  # control: the drag moved it
    assert not visit.said, visit.said
    page.close()


def test_without_scripts_there_is_the_same_picture(browser, address, blank):
    committed = (STATIC / "live.svg").read_text(encoding="utf-8")
    assert still(blank) == committed, "run python book/_tools/live_still.py"
    context = browser.new_context(java_script_enabled=False, viewport=DESKTOP)
    page = context.new_page()
    page.goto(f"{address}/book/live.html")
    assert page.locator("noscript img").is_visible()
    assert not page.locator("#live").is_visible()
    context.close()


# --- what the exercises say -----------------------------------------------------------------------


def folded(page) -> bool:
    """Whether the map of the plane turns some cell over."""
    settle(page)
    x = by_package("tanh", start_shown(page))["x"][-1].reshape(9, 2, 25, 2)
    corners = x[:, 0, ::3]  # each horizontal line at every upright one: [row, column]
    a, b = corners[:-1, 1:] - corners[:-1, :-1], corners[1:, :-1] - corners[:-1, :-1]
    return bool((a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]).min() < 0)


def test_one_particle_folds_the_grid_and_less_momentum_does_not(opened):
    choose(opened, preset="push")
    assert folded(opened)
    for _ in range(3):
        opened.get_by_role("button", name="p ÷ 2").click()
    assert not folded(opened)


def test_twice_the_momentum_is_half_the_depth(opened):
    choose(opened, preset="turn")
    settle(opened)
    once = by_package("tanh", start_shown(opened))
    opened.get_by_role("button", name="p × 2").click()
    settle(opened)
    twice = by_package("tanh", start_shown(opened))
    # 1e-4: the same flow in half as many steps, error of order four
    assert torch.allclose(twice["x"][STEPS // 2], once["x"][-1], atol=1e-4)
    assert torch.allclose(twice["H"][0], 4 * once["H"][0])
    assert not torch.allclose(twice["x"][-1], once["x"][-1], atol=0.1)  # control: at full depth


def test_a_shot_too_strong_for_the_solver_is_called_so(opened):
    choose(opened, preset="stretch", sigma="relu")
    told = opened.locator("[data-live=energy]")
    settle(opened)
    assert "Too strong" not in told.inner_text()  # control
    for j, side in ((1, -2000), (2, 2000)):
        drag(opened, f"Particle {j}, position", side, 0)
        drag(opened, f"Particle {j}, momentum", -side, 0)
    settle(opened)
    assert "Too strong" in told.inner_text()


def test_relu_conserves_the_energy_much_worse(opened):
    drifts = {}
    opened.get_by_role("button", name="p × 2").click()
    for sigma in ("tanh", "relu"):
        choose(opened, sigma=sigma)
        settle(opened)
        drifts[sigma] = numbers(opened.locator("[data-live=energy]").inner_text())[2]
    assert drifts["relu"] > 100 * drifts["tanh"]
