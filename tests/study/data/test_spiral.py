import pytest
import torch
from torchdiffeq import odeint

from shooting.study.data import spiral


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def adaptive(rate):
    times = torch.arange(spiral.SAMPLES) * spiral.SPACING
    start = torch.tensor(spiral.START)
    return odeint(lambda t, x: rate(x), start, times, method="dopri8", rtol=1e-12, atol=1e-12)


def test_truth_agrees_with_an_adaptive_solution():
    # 1e-7: the fixed-step error, 3e-8 at 40 steps per interval, is fourth order in the step
    truth = spiral.trajectory()
    assert (truth - adaptive(spiral.velocity)).abs().max() < 1e-7


def test_transposed_matrix_gives_the_mirror_image_and_not_the_spiral():
    matrix = torch.tensor(spiral.A)
    transposed = adaptive(lambda x: x**3 @ matrix)
    truth = spiral.trajectory()
    # 1e-7 as above; the control: without the mirror the two part at once
    assert (transposed * torch.tensor([1.0, -1.0]) - truth).abs().max() < 1e-7
    assert (transposed - truth).norm(dim=-1).max() > 1.0


def test_trajectory_starts_at_two_zero_and_turns_clockwise():
    truth = spiral.trajectory()
    assert truth.shape == (200, 2)
    assert truth[0].tolist() == [2.0, 0.0]
    assert truth[1, 1] < 0  # x2' = -2 * 2^3


def test_starts_reproduce_the_published_multiplicities():
    # the published code repeats start i round(step_i / smallest step) times: 915 entries, 26 most
    weights = spiral.start_weights()[:195]
    repeats = (weights / weights.min()).round()
    assert int(repeats.sum()) == 915
    assert int(repeats.max()) == 26


def test_starts_are_uniform_along_the_curve_not_in_time():
    drawn = spiral.starts([0], 20_000, "test").flatten()
    share = float((drawn < 20).double().mean())
    # standard error 0.0034; uniform in time the share would be 0.10
    assert share == pytest.approx(float(spiral.start_weights()[:20].sum()), abs=0.015)
    assert share > 0.3
    assert int(drawn.max()) <= spiral.SAMPLES - spiral.SNIPPET


def test_snippets_are_consecutive_samples():
    truth, pieces = spiral.trajectory(), spiral.snippets([3], 6, "train", 0)[0]
    for piece in pieces.unbind(1):
        first = int((truth - piece[0]).norm(dim=-1).argmin())
        assert torch.equal(piece, truth[first : first + 5])


def test_snippets_depend_on_seed_and_purpose_alone():
    both = spiral.snippets([0, 1], 4, "train", 7)
    assert torch.equal(both[1], spiral.snippets([1], 4, "train", 7)[0])
    assert not torch.equal(both[0], both[1])
    assert not torch.equal(both, spiral.snippets([0, 1], 4, "train", 8))


def test_callers_cannot_change_the_truth():
    spiral.trajectory().zero_()
    assert spiral.trajectory()[0, 0] == 2.0
