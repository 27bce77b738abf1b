"""How well the drift of the Hamiltonian estimates the error of a shooting solve."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shooting import Affine, ConvUpDown, Path, SecondOrder, UpDown, shoot
from shooting.conservation import difference
from shooting.fields import Drift, Field, Term
from shooting.flow import Solver, energy_drift, shoot_step
from shooting.randomness import generator

FIELDS: Mapping[str, Callable[[], Field]] = {
    "UpDown, tanh": lambda: UpDown(2, 4, sigma="tanh"),
    "UpDown, softplus": lambda: UpDown(2, 4, sigma="softplus"),
    "UpDown, ReLU": lambda: UpDown(2, 4),
    "Affine, tanh": lambda: Affine(4, sigma="tanh"),
    "second order, tanh": lambda: SecondOrder(3, sigma="tanh"),
    "convolution, tanh": lambda: ConvUpDown(1, 1, sites=(3, 3), sigma="tanh"),
    "damped, linear": lambda: Field(
        {"x": 2, "v": 2},
        [Term("A", "x", "v"), Term("B", "v", "x"), Term("c", "v")],
        drift=[Drift("x", "x", -0.5)],
    ),
}
SCALES = (0.3, 1.0, 3.0)  # standard deviation of the learned momenta; p(0) is 1/K of them
STEPS = (10, 20, 40)  # over depth 1
PARTICLES, ROWS, RUNS = 6, 8, 5
FINE = 80  # steps of the reference, twice that of its own check
LARGE = 0.1  # errors above this are no small errors, and no law of order holds
ROUNDING = 1e-12  # errors below this are


@dataclass(frozen=True)
class Case:
    """One field with particles and data of one size of momenta.

    Attributes:
        name: Key of `FIELDS`.
        scale: Of `SCALES`.
        field: The field.
        start: Particle states, costates and data at depth 0, ``(runs, rows, S)`` each.
        reference: The solution at depth 1, by twice `FINE` steps.
        doubt: Relative difference to the one by `FINE` steps, per run.
    """

    name: str
    scale: float
    field: Field
    start: tuple[Tensor, Tensor, Tensor]
    reference: Path
    doubt: Tensor

    def error(self, step: float) -> Tensor:
        """Relative error at depth 1 against the reference, per run."""
        return difference(self._end(step), self.reference, 1)

    def drift(self, step: float) -> Tensor:
        """By which part H moves, per run."""
        q, p, _ = self.start
        return energy_drift(self.field, q, p, [0, 1], solver=Solver(step=step))

    def step(self, tolerance: float) -> float:
        """What ``step="auto"`` chooses."""
        solver = Solver(step="auto", tolerance=tolerance)
        return shoot_step(self.field, *self.start, [0, 1], solver=solver)

    def _end(self, step: float) -> Path:
        return _end(self.field, self.start, step)


def _end(field: Field, start: tuple[Tensor, Tensor, Tensor], step: float) -> Path:
    path = shoot(field, *start, [0, 1], solver=Solver(step=step))
    return Path(*(part[:, -1:] for part in path))


@torch.no_grad()
def cases(
    names: Sequence[str] = tuple(FIELDS), scales: Sequence[float] = SCALES, *, steps: int = FINE
) -> Iterator[Case]:
    """Every field with every size of momenta, in float64, with a reference of its own.

    Args:
        names: Keys of `FIELDS`.
        scales: Sizes of the momenta.
        steps: The reference has twice as many.
    """
    for name in names:
        field = FIELDS[name]()
        for scale in scales:
            start = particles(field, scale)
            fine, finer = _end(field, start, 1 / steps), _end(field, start, 0.5 / steps)
            yield Case(name, scale, field, start, finer, difference(fine, finer, 1))


def particles(field: Field, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Random particle states, costates and data ``(runs, rows, S)``."""
    g = generator(0, "drift")

    def normal(rows: int) -> Tensor:
        return torch.randn(RUNS, rows, field.size, generator=g, dtype=torch.float64)

    return normal(PARTICLES), scale / PARTICLES * normal(PARTICLES), normal(ROWS)


@dataclass(frozen=True)
class Pair:
    """Drift and error of one run at one step.

    Attributes:
        name: Key of `FIELDS`.
        scale: Size of the momenta.
        steps: Steps over depth 1.
        run: Which start of the case.
        drift: By which part H moved.
        error: Relative error of the end point.
    """

    name: str
    scale: float
    steps: int
    run: int
    drift: float
    error: float

    @property
    def factor(self) -> float:
        """The error per drift: what the drift has to be multiplied by."""
        return self.error / self.drift


def pairs(known: Sequence[Case], steps: Sequence[int] = STEPS) -> list[Pair]:
    """Drift and error of all runs whose error is small, above rounding and known to a tenth."""
    found = []
    for case in known:
        for n in steps:
            both = case.drift(1 / n).tolist(), case.error(1 / n).tolist()
            for run, (drift, error, doubt) in enumerate(zip(*both, case.doubt, strict=True)):
                if max(ROUNDING, 10 * float(doubt)) < error < LARGE:
                    found.append(Pair(case.name, case.scale, n, run, drift, error))
    return found


def orders(found: Sequence[Pair]) -> dict[str, tuple[float, float]]:
    """Median order of drift and of error, from one doubling of the steps, by field."""
    known = {(p.name, p.scale, p.steps, p.run): p for p in found}
    rates: dict[str, list[tuple[float, float]]] = {}
    for (name, scale, steps, run), coarse in known.items():
        if fine := known.get((name, scale, 2 * steps, run)):
            both = torch.tensor([coarse.drift / fine.drift, coarse.error / fine.error]).log2()
            rates.setdefault(name, []).append((float(both[0]), float(both[1])))
    return {
        name: tuple(torch.tensor(values).median(0).values.tolist())
        for name, values in rates.items()
    }


def quantiles(found: Sequence[Pair]) -> tuple[float, float, float, float]:
    """Least factor, median, nine tenths, largest: how far the drift misleads."""
    factors = torch.tensor([p.factor for p in found], dtype=torch.float64)
    least, middle, most, largest = factors.quantile(torch.tensor([0, 0.5, 0.9, 1]).double())
    return float(least), float(middle), float(most), float(largest)
