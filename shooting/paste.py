"""Long trajectories from a model of short ones: each call starts where the last one ended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shooting.errors import require_count, require_finite, require_real, require_shape
from shooting.spaces import StateSpace
from shooting.times import check_times

SLACK = 1e-6  # of the depth: times may be rounded to float32
MOST_CALLS = 10**6  # of one trajectory; more are a mistake


@dataclass(frozen=True)
class Pasted:
    """Long trajectories.

    Attributes:
        times: Times of the samples from 0 to the horizon, in units of the depth's, ``(samples,)``.
        positions: ``(*runs, samples, n, d)``, images ``(*runs, samples, n, channels, *sites)``; NaN
            from where a trajectory has stopped.
        reached: How many samples of each trajectory there are, ``(*runs, n)``.
    """

    times: Tensor
    positions: Tensor
    reached: Tensor

    @property
    def stopped(self) -> Tensor:
        """Which trajectories stopped before the horizon, ``(*runs, n)``."""
        return self.reached < len(self.times)

    def __str__(self) -> str:
        count, whole, end = int(self.stopped.sum()), self.stopped.numel(), float(self.times[-1])
        if not count:
            return f"{whole} of {whole} trajectories reach the horizon {end:g}"
        first = float(self.times[int(self.reached.min()) - 1])
        return (
            f"{count} of {whole} trajectories blow up and stop before the horizon {end:g}, the "
            f"first after time {first:g}; what they reached is kept, NaN follows"
        )


@torch.no_grad()
def paste(
    model: nn.Module,
    x0: Tensor,
    horizon: float,
    *,
    times: Sequence[float] = (0.0, 1.0),
    bound: float = 1e6,
    axes: int | None = None,
) -> Pasted:
    """Follow trajectories for longer than a model was trained for, by calling it again and again.

    The last call is cut at the horizon. It still gets the whole depth, as a model without a known
    depth would otherwise squeeze its blocks into a part of it. No gradients are kept.

    Example:
        >>> model = DynamicParticles(UpDown(2, 8), particles=15)
        >>> path = paste(model, torch.randn(3, 2), horizon=2.5).positions

    Args:
        model: Any module whose call ``model(x, times)`` returns ``(*runs, times, n, d)``, with a
            whole image in place of d where x holds images.
        x0: Where to start, ``(n, d)`` or ``(runs, n, d)``; images ``(n, channels, *sites)`` or with
            runs before.
        horizon: How far to go, in units of `times`; need not be a multiple of the depth.
        times: The depths of one call, from 0 to the depth that the model was trained over.
        bound: A trajectory with a larger entry, or with NaN, counts as blown up and stops.
        axes: How many axes a single state has: 1 for a vector, 3 for an image. By default those
            of the model's data slot, or 1 where the model says nothing of slots.

    Returns:
        The trajectories. One that blows up keeps what it reached; the others go on.

    Raises:
        ValueError: If x0 or what the model returns has the wrong shape, x0 is not finite, times do
            not increase from 0, or horizon or bound is not positive.
    """
    axes = _axes(model) if axes is None else require_count(axes, "the axes of a state", most=8)
    plan = _plan(_checked(x0, horizon, times, bound, axes), horizon)
    pieces, now, shape = [], x0, x0.shape[-axes:]
    x0 = x0.flatten(-axes)
    alive = torch.ones(x0.shape[:-1], dtype=torch.bool, device=x0.device)
    for _, asked, kept in plan:
        path = _call(model, now, asked, axes).flatten(-axes)
        fine = (path.abs() <= bound).all(-1).cumprod(-2).bool() & alive.unsqueeze(-2)
        pieces.append(torch.where(fine.unsqueeze(-1), path, math.nan)[..., 1:kept, :, :])
        alive = fine[..., kept - 1, :]
        if not bool(alive.any()):
            break
        # a stopped trajectory is carried on as a dummy: models refuse NaN
        now = torch.where(alive.unsqueeze(-1), path[..., kept - 1, :, :], x0)
        now = now.unflatten(-1, shape)
    at = [0.0, *(begin + t for begin, asked, kept in plan for t in asked[1:kept])]
    return _joined(x0, pieces, at, shape)


def _axes(model: object) -> int:
    """Axes of one state of a model: those of its first slot, or 1."""
    space = getattr(model, "space", None)
    return len(next(iter(space.spaces.values())).shape) if isinstance(space, StateSpace) else 1


def _checked(
    x0: object, horizon: float, times: Sequence[float], bound: float, axes: int
) -> list[float]:
    """The depths of one call, after all arguments were looked at."""
    if not isinstance(x0, Tensor):
        raise ValueError(f"expected x0 as a tensor, got {type(x0).__name__}; try torch.as_tensor")
    words = "n, d" if axes == 1 else "n, channels, *sites"
    advice = f"pass ({words}), or (runs, {words}) for an ensemble"
    require_shape(x0, (None,) * (1 + axes), "x0", advice)
    require_finite(x0, "x0")
    require_real(horizon, "the horizon", above=0, example=10.0)
    require_real(bound, "the bound", above=0, example=1e6)
    depths = check_times(times)
    if depths[0] != 0 or depths[-1] <= 0:
        raise ValueError(
            f"expected times from 0 up to the trained depth, got {depths[0]:g} to {depths[-1]:g}; "
            "try times=[0, 1]"
        )
    if horizon <= SLACK * depths[-1]:
        raise ValueError(
            f"expected a horizon above {SLACK:g} of the trained depth, within which times are one, "
            f"got {horizon:g} of {depths[-1]:g}; try horizon={depths[-1]:g}"
        )
    if horizon > MOST_CALLS * depths[-1]:
        raise ValueError(
            f"expected at most {MOST_CALLS} calls up to the horizon, got {horizon:g} by pieces of "
            f"{depths[-1]:g}; paste in parts"
        )
    return [float(t) for t in depths]


def _plan(depths: list[float], horizon: float) -> list[tuple[float, list[float], int]]:
    """Each call: when it begins, its times, and how many of these lie before the horizon."""
    depth, plan = depths[-1], []
    slack = SLACK * depth
    for k in range(math.ceil(horizon / depth - SLACK)):
        rest = min(horizon - k * depth, depth)
        near = any(abs(t - rest) <= slack for t in depths)
        asked = depths if near else sorted([*depths, rest])
        plan.append((k * depth, asked, sum(t <= rest + slack for t in asked)))
    return plan


def _call(model: nn.Module, x: Tensor, times: list[float], axes: int) -> Tensor:
    """What the model returns, checked."""
    path = model(x, times)
    wanted = (len(times), *x.shape[-1 - axes :])
    if not isinstance(path, Tensor) or path.shape[-len(wanted) :] != wanted:
        got = tuple(path.shape) if isinstance(path, Tensor) else type(path).__name__
        raise ValueError(
            f"expected the model to return positions (*runs, {', '.join(map(str, wanted))}) for x "
            f"{tuple(x.shape)} and {len(times)} times, got {got}; return all positions at all "
            "times, or try axes=3 if a state is an image"
        )
    return path


def _joined(x0: Tensor, pieces: list[Tensor], at: list[float], sample: torch.Size) -> Pasted:
    """Pieces behind the start, with NaN up to the horizon where all have stopped."""
    shape = (*pieces[0].shape[:-3], -1, *x0.shape[-2:])
    path = torch.cat([x0.unsqueeze(-3).expand(*shape[:-3], 1, *shape[-2:]), *pieces], dim=-3)
    missing = path.new_full((*shape[:-3], len(at) - path.shape[-3], *shape[-2:]), math.nan)
    path = torch.cat([path, missing], dim=-3)
    reached = path.isfinite().all(-1).sum(-2)
    times = torch.tensor(at, dtype=torch.float64)
    return Pasted(times, path.unflatten(-1, sample), reached)
