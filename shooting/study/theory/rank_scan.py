"""The rank of random ReLU ensembles against `counting.relu_rank`: a scan over sizes and firing.

It takes some minutes, so that the page reads what it found. Remake it by
``python -m shooting.study.theory.rank_scan``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from itertools import count, islice

import torch
import yaml
from torch import Tensor

from shooting import UpDown
from shooting.fields import Field
from shooting.randomness import generator
from shooting.study.paths import CHECKOUT, book_file
from shooting.study.storage import atomic_write
from shooting.study.theory.counting import (
    control_jacobian,
    firing,
    firing_groups,
    relu_rank,
    without_biases,
)

RECORD = "relu_rank.yaml"
ENSEMBLES = 300
STEPS = 30  # of the solver; theta is sampled at all their ends

# Set before the scan. A rank r is read where singular value r + 1 is rounding and value r is not,
# both relative to the largest; an ensemble with a value in between is undecided.
ROUNDING, REAL = 1e-12, 1e-9


@dataclass(frozen=True)
class Ensemble:
    """A random ensemble of ReLU particles.

    Attributes:
        field: UpDown, perhaps without biases.
        q: Particle states ``(K, S)``.
        p: Particle costates ``(K, S)``.
    """

    field: Field
    q: Tensor
    p: Tensor


@dataclass(frozen=True)
class Finding:
    """What one ensemble has, and what is predicted.

    Attributes:
        seed: Of the ensemble.
        dim: d.
        inflation: alpha.
        particles: K.
        biases: Whether the field has them.
        groups: Size and number of live units of each group.
        rank: Numerical rank; None if undecided.
        bound: `counting.relu_rank`.
        mixings: The count of mixings, which is wrong: a control.
        last: Singular value number `bound`, over the largest.
        next: The one after it, 0 if there is none.
    """

    seed: int
    dim: int
    inflation: int
    particles: int
    biases: bool
    groups: list[list[int]]
    rank: int | None
    bound: int
    mixings: int
    last: float
    next: float


def draw(seed: int) -> Ensemble:
    """Up to ten particles, d and alpha up to three, in one of five kinds of firing.

    The kinds: by chance; all units on; each unit on, off or by chance; each particle so; two
    patterns of on and off.
    """
    g = generator(seed, "rank scan")

    def pick(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high + 1, shape or (1,), generator=g)

    d, alpha, k, biases = (int(pick(a, b)) for a, b in ((1, 3), (1, 3), (1, 10), (0, 1)))
    alpha = alpha if d * alpha <= 4 else 1
    width = alpha * d
    kinds = (
        torch.zeros(k, width),
        torch.full((k, width), 3.0),
        2.5 * pick(-1, 1, k, width),
        2.5 * pick(-1, 1, k, 1),
        3.0 * (2 * pick(0, 1, 2, width) - 1)[pick(0, 1, k)],
    )
    q, p = torch.randn(2, k, d + width, generator=g, dtype=torch.float64)
    q[:, d:] = 0.7 * q[:, d:] + kinds[int(pick(0, 4))]
    field = UpDown(d, alpha)
    return Ensemble(field if biases else without_biases(field), q, 0.7 * p / k**0.5)


def all_on(dim: int, inflation: int, particles: int, *, biases: bool) -> Ensemble:
    """An ensemble all of whose units fire: one group of `particles`, without changes."""
    g = generator(0, "all on", dim, inflation, particles)
    q, p = torch.randn(2, particles, dim * (inflation + 1), generator=g, dtype=torch.float64)
    q[:, dim:] = 4 + 0.3 * q[:, dim:]
    field = UpDown(dim, inflation)
    return Ensemble(field if biases else without_biases(field), q, 0.2 * p / particles)


def mixings(field: Field, fires: Tensor) -> int:
    """2 K S less one for each dead unit, m^2 (m^2 - m with biases) for each group of m: wrong.

    Without biases d more are taken off for each particle whose units are all dead.
    """
    bias = int(any(term.is_bias for term in field.terms))
    dead = ~fires.any(dim=0)
    sizes = Counter(tuple(row) for row in fires.transpose(0, 1).flatten(1).tolist()).values()
    unseen = 0 if bias else int(dead.all(dim=1).sum()) * field.slots["x"]
    lost = int(dead.sum()) + sum(m * m - m * bias for m in sizes) + unseen
    return 2 * field.size * fires.shape[1] - lost


def indistinct(fires: Tensor) -> bool:
    """Whether two particles change their firing in the same steps: the solver has them alike."""
    patterns = fires.transpose(0, 1)
    changes = (patterns != patterns[:, :1]).flatten(1).any(dim=1)
    rows = [tuple(row) for row in patterns[changes].flatten(1).tolist()]
    return len(set(rows)) < len(rows)


def examine(seed: int, *, steps: int = STEPS) -> Finding | None:
    """Rank and bound of one ensemble; None if the solver cannot tell two particles apart."""
    e = draw(seed)
    times = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    fires = firing(e.field, e.q, e.p, times, step=1 / steps)
    if indistinct(fires):
        return None
    jacobian = control_jacobian(e.field, e.q, e.p, times, step=1 / steps)
    s = torch.linalg.svdvals(jacobian)
    values, bound = [*(s / s[0]).tolist(), 0.0], relu_rank(e.field, fires)
    rank = sum(v > ROUNDING for v in values)
    d, k = e.field.slots["x"], len(e.q)
    return Finding(
        seed=seed,
        dim=d,
        inflation=e.field.size // d - 1,
        particles=k,
        biases=any(term.is_bias for term in e.field.terms),
        groups=[list(group) for group in firing_groups(fires)],
        rank=rank if values[rank - 1] > REAL else None,
        bound=bound,
        mixings=mixings(e.field, fires),
        last=float(f"{values[bound - 1]:.1e}"),
        next=float(f"{values[bound]:.1e}"),
    )


def stored() -> list[Finding]:
    """The recorded findings."""
    rows = yaml.safe_load(book_file(RECORD).read_text(encoding="utf-8"))
    return [Finding(**row) for row in rows]


def record() -> None:
    """Examine ensembles until there are enough that can be told apart, and write them down."""
    found = islice((f for f in map(examine, count()) if f is not None), ENSEMBLES)
    text = yaml.safe_dump([asdict(f) for f in found], sort_keys=False, default_flow_style=None)
    atomic_write(CHECKOUT / "book" / RECORD, text.encode())


if __name__ == "__main__":
    record()
