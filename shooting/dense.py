"""Dense output: the path of a solve as a function of time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shooting.times import moves, numbers

Times = Tensor | Sequence[float | Tensor]


@dataclass(frozen=True)
class Dense:
    """Cubic Hermite interpolant of states and velocities at nodes, with error $O(h^4)$.

    Where the control jumps, at the end of a block, the velocity on either side is that side's.

    Example:
        >>> block = StaticDirect(UpDown(2, 8))
        >>> path = block.dense(torch.randn(5, 2), [0.0, 1.0])
        >>> middle = path(0.5)

    Attributes:
        nodes: Increasing or decreasing times.
        values: Packed states at the nodes, ``(*runs, nodes, n, S)``.
        starts: Velocities at the beginning of each step, ``(*runs, nodes - 1, n, S)``.
        ends: Velocities at the end of each step, likewise.
        positions: From packed states to what a call returns.
    """

    nodes: tuple[float, ...]
    values: Tensor
    starts: Tensor
    ends: Tensor
    positions: Callable[[Tensor], Tensor]

    def __call__(self, times: Times | float) -> Tensor:
        """Positions at any times between the first and the last node, differentiable in them.

        Args:
            times: A list ``(times,)`` in any order, or one number.

        Returns:
            Positions ``(*runs, times, n, d)``; for one number without the axis of times.

        Raises:
            ValueError: If a time lies outside the interval that was solved.
        """
        alone = isinstance(times, (float, int)) or getattr(times, "ndim", 1) == 0
        listed: Times = [times] if alone else times  # type: ignore[list-item, assignment]
        found = self.positions(self.states(listed))
        return found.squeeze(self.values.dim() - 3) if alone else found

    def states(self, times: Times) -> Tensor:
        """Like the call, with all slots: ``(*runs, times, n, S)``."""
        t, moved = numbers(times), moves(times)
        steps = [self._step(s) for s in t]
        at = torch.tensor(self.nodes, dtype=torch.float64)
        start, length = at[steps], at.diff()[steps]
        now = torch.tensor(t, dtype=torch.float64)
        if moved is not None:
            now = now.to(moved.device) + moved
        part = ((now - start.to(now.device)) / length.to(now.device)).to(self.values)
        s, h = part.view(-1, 1, 1), length.to(self.values).view(-1, 1, 1)
        a, b = self.values[..., steps, :, :], self.values[..., [k + 1 for k in steps], :, :]
        da, db = h * self.starts[..., steps, :, :], h * self.ends[..., steps, :, :]
        # written so that s = 0 gives a and s = 1 gives b, to the bit
        bend = (1 - s) * (da - (b - a)) - s * (db - (b - a))
        return torch.lerp(a, b, s.expand_as(a)) + s * (1 - s) * bend

    def _step(self, t: float) -> int:
        """The step that a time lies in."""
        sign = 1 if self.nodes[-1] > self.nodes[0] else -1
        first, last = sign * self.nodes[0], sign * self.nodes[-1]
        # times may be rounded to float32
        slack = max(1e-6 * (last - first), 2.0**-23 * max(abs(first), abs(last)))
        if not first - slack <= sign * t <= last + slack:
            raise ValueError(
                f"expected times between {self.nodes[0]:g} and {self.nodes[-1]:g}, got {t:g}; "
                "solve for a longer interval"
            )
        found = bisect_right(self.nodes, sign * t, key=lambda node: sign * node) - 1
        return max(0, min(found, len(self.nodes) - 2))
