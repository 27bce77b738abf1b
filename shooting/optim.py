"""Adam with one learning rate per run, and the two schedules of the paper, per run.

On a single run and in float64 each equals PyTorch's own (`torch.optim.Adam`, `ReduceLROnPlateau`,
`CosineAnnealingLR`); tests hold them to it. In float32 Adam differs from it by rounding: its bias
correction is computed in the type of the parameters.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from shooting.errors import require_count, require_real, shown

StateDict = dict[str, Tensor]


class Adam:
    """Adam over parameters whose leading axis, if any, counts independent runs.

    Args:
        parameters: Parameters by name, each ``(*runs, ...)``.
        learning_rate: Initial learning rate of every run.
        runs: Shape of the leading run axes: ``(n,)`` for an ensemble, ``()`` for a single run.
        groups: Names of parameters that are updated together, as one vector: the small ones of a
            block, for which one pass is faster than five.
        betas: Decay of the first and second moment.
        eps: Added to the root of the second moment.
        weight_decay: Factor of the squared-norm penalty's gradient (coupled, as in torch's Adam).

    Raises:
        ValueError: If a parameter lacks the run axes, or a group names none or one twice.
    """

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        *,
        learning_rate: float,
        runs: tuple[int, ...] = (),
        groups: Iterable[Sequence[str]] = (),
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.parameters = dict(parameters)
        if not self.parameters:
            raise ValueError("expected parameters to train, got none; try a model with some")
        for name, w in self.parameters.items():
            if tuple(w.shape[: len(runs)]) != runs:
                raise ValueError(
                    f"expected parameter {name} to lead with the run axes {runs}, got "
                    f"{tuple(w.shape)}; give each run its own, as for a read-out (runs, out, in)"
                )
        self.runs, self.betas = runs, _check_betas(betas)
        self.eps = require_real(eps, "eps", above=0, example=1e-8)
        self.weight_decay = require_real(weight_decay, "a weight decay", least=0, example=0)
        learning_rate = require_real(learning_rate, "a learning rate", above=0, example=0.01)
        first = next(iter(self.parameters.values()))
        self.lr = torch.full(runs, learning_rate, dtype=first.dtype, device=first.device)
        together = _check_groups(groups, self.parameters)
        alone = self.parameters.keys() - {name for g in together for name in g}
        self.groups = [*together, *((name,) for name in self.parameters if name in alone)]
        like = {
            g[0]: self._joined([self.parameters[name].detach() for name in g]) for g in self.groups
        }
        self.mean = {k: torch.zeros_like(w) for k, w in like.items()}
        self.square = {k: torch.zeros_like(w) for k, w in like.items()}
        # entries may be frozen for a while, so each has an age of its own for the bias correction
        self.age = {k: torch.zeros_like(self._one_run(w)) for k, w in like.items()}
        self.active = {k: torch.ones_like(a) for k, a in self.age.items()}

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for w in self.parameters.values():
            w.grad = None

    def freeze(self, names: Container[str]) -> None:
        """Hold the parameters of these names from now on, and none else."""
        for group in self.groups:
            for name, entries in zip(group, self._cut(group, self.active[group[0]]), strict=True):
                entries.fill_(name not in names)

    def finite(self) -> Tensor:
        """Whether all gradients of a run are finite, shape ``(*runs)``."""
        flags = [
            torch.isfinite(grad.abs().reshape(*self.runs, -1).amax(-1))  # NaN is the largest
            for grad in map(self._gradient, self.groups)
            if grad is not None and grad.numel()
        ]
        if not flags:
            return torch.ones_like(self.lr, dtype=torch.bool)
        return torch.stack(flags).all(0)

    @torch.no_grad()
    def step(self, alive: Tensor | None = None) -> None:
        """One update; runs with ``alive`` false and frozen entries stay exactly as they are."""
        for group in self.groups:
            grad = self._gradient(group)
            if grad is not None:
                self._update(group, grad, alive)

    def _update(self, group: Sequence[str], grad: Tensor, alive: Tensor | None) -> None:
        key = group[0]
        active, age = self._active(group), self.age[key]
        mean, square = self.mean[key], self.square[key]
        age += active
        # one power per entry, also where all ages are equal: the vectorised power and that of one
        # number differ in the last bit, and committed records have the vectorised one
        t = age.clamp(min=1)
        if self.weight_decay:
            now = self._joined([self.parameters[name] for name in group])
            grad = grad.add(now, alpha=self.weight_decay)
        b1, b2 = self.betas
        gain1, gain2 = (1 - b1) * active, (1 - b2) * active
        first, root = active / (1 - b1**t), (1 - b2**t).sqrt()
        rate = self._spread(self.lr, mean)
        if alive is not None:
            alive = alive.bool()
            if not bool(alive.all()):
                grad = grad.masked_fill(~self._spread(alive, mean), 0.0)
            rate = rate * self._spread(alive, mean)
        # mean += gain1 (grad - mean), square += gain2 (grad^2 - square), in two arrays of scratch:
        # fresh memory would cost as much as the arithmetic
        change = torch.sub(grad, mean).mul_(gain1)
        mean.add_(change)
        square.add_(torch.mul(grad, grad, out=change).sub_(square).mul_(gain2))
        below = torch.sqrt(square, out=change).div_(root).add_(self.eps)
        update = (rate * first).mul(mean).div_(below)
        for name, part in zip(group, self._cut(group, update, len(self.runs)), strict=True):
            self.parameters[name].sub_(part)

    def state_dict(self) -> StateDict:
        """All state as tensors by name; a group goes by its first parameter."""
        parts: dict[str, Mapping[str, Tensor]] = {
            "mean": self.mean, "square": self.square, "age": self.age, "active": self.active
        }  # fmt: skip
        flat = {f"{kind}.{k}": v for kind, by_name in parts.items() for k, v in by_name.items()}
        return {"lr": self.lr, **flat}

    @torch.no_grad()
    def load_state_dict(self, state: StateDict) -> None:
        """Inverse of `state_dict`, in place."""
        for key, value in self.state_dict().items():
            value.copy_(state[key])

    # --- groups ----------------------------------------------------------------------------

    def _gradient(self, group: Sequence[str]) -> Tensor | None:
        """The gradient of a group; zeros where a part has none, None if none has."""
        weights = [self.parameters[name] for name in group]
        if all(w.grad is None for w in weights):
            return None
        return self._joined([torch.zeros_like(w) if w.grad is None else w.grad for w in weights])

    def _active(self, group: Sequence[str]) -> Tensor:
        """Which entries are updated: those that are not frozen and have a gradient."""
        active = self.active[group[0]]
        idle = [self.parameters[name].grad is None for name in group]
        if any(idle):
            active = active.clone()
            for part, without in zip(self._cut(group, active), idle, strict=True):
                part.masked_fill_(torch.tensor(without, device=part.device), 0.0)
        return active

    def _joined(self, parts: Sequence[Tensor]) -> Tensor:
        """One vector ``(*runs, n)`` of a group's parts; a part alone keeps its shape."""
        if len(parts) == 1:
            return parts[0]
        return torch.cat([part.reshape(*self.runs, -1) for part in parts], dim=-1)

    def _cut(self, group: Sequence[str], joined: Tensor, axes: int = 0) -> list[Tensor]:
        """Inverse of `_joined`, as views; `axes` of the run axes lead."""
        shapes = [self.parameters[name].shape[len(self.runs) :] for name in group]
        if len(shapes) == 1:
            return [joined]
        lead = joined.shape[:axes]
        cut = joined.split([shape.numel() for shape in shapes], dim=-1)
        return [part.view(*lead, *shape) for part, shape in zip(cut, shapes, strict=True)]

    def _one_run(self, w: Tensor) -> Tensor:
        return w.detach()[(0,) * len(self.runs)]

    def _spread(self, per_run: Tensor, w: Tensor) -> Tensor:
        return per_run.reshape(per_run.shape + (1,) * (w.dim() - per_run.dim()))


def _check_groups(groups: Iterable[Sequence[str]], names: Container[str]) -> list[tuple[str, ...]]:
    """Groups as tuples, each name in one of them, once."""
    found, seen = [tuple(g) for g in groups if g], set()
    for name in (name for group in found for name in group):
        if name not in names or name in seen:
            problem = "twice" if name in seen else "which is no parameter"
            raise ValueError(
                f"expected groups of names of parameters, each once, got {name!r} {problem}; try "
                "the names of model.named_parameters()"
            )
        seen.add(name)
    return found


def _check_betas(betas: object) -> tuple[float, float]:
    """Both decays as numbers in [0, 1)."""
    try:
        first, second = (
            require_real(b, "a decay", least=0, below=1) for b in cast("Iterable[object]", betas)
        )
    except (TypeError, ValueError):
        raise ValueError(
            f"expected two decays in [0, 1), got {shown(betas)}; try betas=(0.9, 0.999)"
        ) from None
    return first, second


@dataclass(frozen=True)
class Plateau:
    """Halve (or so) a run's learning rate when its value has not improved for long.

    Attributes:
        factor: New rate over old rate.
        patience: Evaluations without improvement that are tolerated.
        every: Epochs between evaluations.
        threshold: Relative improvement that counts.
        min_change: Changes of the rate below this are not made.
    """

    factor: float = 0.5
    patience: int = 10
    every: int = 10
    threshold: float = 1e-4
    min_change: float = 1e-8

    def __post_init__(self) -> None:
        require_real(self.factor, "the factor of a plateau", above=0, below=1, example=0.5)
        for name, least in (("patience", 0), ("every", 1)):
            number = require_count(getattr(self, name), f"the {name} of a plateau", least=least)
            object.__setattr__(self, name, number)
        require_real(self.threshold, "the threshold of a plateau", least=0, below=1, example=1e-4)
        require_real(self.min_change, "the min_change of a plateau", least=0, example=1e-8)

    def start(self, lr: Tensor) -> StateDict:
        """State before the first evaluation."""
        return {
            "base": lr.clone(),
            "best": torch.full_like(lr, math.inf),
            "bad": torch.zeros_like(lr),
        }

    def rate(self, state: StateDict, lr: Tensor, epoch: int, value: Tensor | None) -> Tensor:
        """Learning rate after an epoch; updates the state in place.

        Args:
            state: From `start`.
            lr: Present rate per run.
            epoch: Epochs done.
            value: What the schedule watches, per run; None between evaluations.

        Returns:
            The new rate per run.
        """
        if value is None:
            return lr
        better = value < state["best"] * (1 - self.threshold)
        state["best"].copy_(torch.where(better, value, state["best"]))
        state["bad"].copy_(torch.where(better, torch.zeros_like(lr), state["bad"] + 1))
        drop = state["bad"] > self.patience
        state["bad"].masked_fill_(drop, 0.0)
        return torch.where(drop & (lr * (1 - self.factor) > self.min_change), lr * self.factor, lr)


@dataclass(frozen=True)
class Cosine:
    """Cosine annealing from the initial rate to `floor` over `epochs`.

    Attributes:
        epochs: Epochs until the floor.
        floor: Final rate.
        every: Epochs between evaluations of the watched value; the rate does not need it, a task
            that looks at its validation error may.
    """

    epochs: int
    floor: float = 0.0
    every: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("every", 0)):
            number = require_count(getattr(self, name), f"the {name} of a cosine", least=least)
            object.__setattr__(self, name, number)
        require_real(self.floor, "the floor of a cosine", least=0, example=0)

    def start(self, lr: Tensor) -> StateDict:
        """State before the first epoch."""
        return {"base": lr.clone()}

    def rate(self, state: StateDict, lr: Tensor, epoch: int, value: Tensor | None) -> Tensor:
        """Learning rate after an epoch (see `Plateau.rate`)."""
        part = (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        return self.floor + (state["base"] - self.floor) * part


Schedule = Plateau | Cosine
