"""An eye on the dynamic blocks of a model while it is trained or measured."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from shooting.conservation import ConservationWarning, step_for
from shooting.diagnosis import diagnose
from shooting.errors import caller
from shooting.solvers import TABLEAUS
from shooting.times import numbers

LIMIT = 0.01  # by which part H may move before a training says so; the paper's: below 0.001


class Watch:
    """Keeps the last call of every block inside a model, and asks what came of it.

    While it watches, the blocks do not report solves that are not finite: who trains marks the run.

    Args:
        model: Any module; other objects are not watched.
    """

    def __init__(self, model: Any) -> None:
        modules = model.modules() if isinstance(model, nn.Module) else ()
        self._blocks: list[Any] = [m for m in modules if hasattr(m, "_silent")]
        self._calls: dict[Any, tuple[Tensor, Any]] = {}
        self._told = False

    def __enter__(self) -> Watch:
        self._before = [(block._silent, block._watched) for block in self._blocks]
        self._hooks = [
            block.register_forward_pre_hook(self._keep, with_kwargs=True) for block in self._blocks
        ]
        for block in self._blocks:
            block._silent = block._watched = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for hook, block, before in zip(self._hooks, self._blocks, self._before, strict=True):
            hook.remove()
            block._silent, block._watched = before

    def _keep(self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = dict(zip(("x", "times"), args, strict=False)) | kwargs
        x = given.get("x")
        if isinstance(x, Tensor) and "times" in given:  # else the call itself says what is wrong
            self._calls[block] = x.detach(), given["times"]

    def drift(self, runs: Sequence[int]) -> Tensor | None:
        """By which part H moves now over the times of each dynamic block's last call.

        Args:
            runs: Lengths of the run axes that the trained model has. Of a model without, each block
                counts by its worst run.

        Returns:
            The largest of the blocks ``(*runs)``, or None if no block with these runs was called.
        """
        found = [block.energy_drift(times) for block, (_, times) in self._shot()]
        fitting = [part if runs else part.amax() for part in found]
        fitting = [part for part in fitting if part.shape == torch.Size(runs)]
        return torch.stack(fitting).amax(0) if fitting else None

    def _shot(self) -> list[tuple[Any, tuple[Tensor, Any]]]:
        """Dynamic blocks with their last calls."""
        return [found for found in self._calls.items() if found[0]._verb == "shoot"]

    def look(self, done: int, last: int, alive: Tensor) -> None:
        """After the epochs 1, 2, 4, 8, ... and the last, warn once if H moved too much.

        A look costs one solve of the particles without data and gradient; in the paper's 500
        epochs there are ten.

        Args:
            done: Epochs done.
            last: Epochs in all.
            alive: Which runs are finite ``(*runs)``; others are not looked at.
        """
        if self._told or not (done == last or done & (done - 1) == 0):
            return
        moved = self.drift(alive.shape)
        if moved is None:
            return
        worst = float(torch.where(alive, moved, 0.0).nan_to_num(torch.inf, torch.inf).max())
        if worst > LIMIT:
            self._told = True
            warnings.warn(self._words(worst, done), ConservationWarning, stacklevel=caller())

    def _words(self, worst: float, done: int) -> str:
        what = (
            f"expected H to be conserved over depth to {LIMIT:.0%}, got a change of {worst:.1%} "
            f"after epoch {done}: the solver's steps are too large"
        )
        block, times = max(
            ((block, times) for block, (_, times) in self._shot()),
            key=lambda call: float(call[0].energy_drift(call[1]).nan_to_num(torch.inf).max()),
        )
        solver = block.solver
        if solver.step == "auto" or solver.method not in TABLEAUS:
            return f"{what}; try a smaller tolerance, or smaller momenta"
        followed = sorted({0.0, *numbers(times)})  # as `energy_drift` does
        taken = max(block._grid(followed, solver.step).lengths())
        step = step_for(taken, worst, LIMIT, TABLEAUS[solver.method].order)
        return f"{what}; try solver=Solver(step={step:g})"

    def cause(self) -> str:
        """Why the last calls were not finite, as half a sentence; empty if they were."""
        found = [diagnose(block, *call) for block, call in self._calls.items()]
        ill = [d.message for d in found if d.cause != "none"]
        return f"; of the last call: {ill[0]}" if ill else ""
