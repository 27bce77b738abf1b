"""Dynamical systems whose orbits are to be followed for long, learned from short snippets.

Every system is scaled: its coordinates are centred and divided by their standard deviations along
the true orbit, and time is counted in samples, 200 from start to horizon. The forced oscillator has
the cosine and sine of its force's phase as coordinates three and four, so that it is autonomous.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shooting.errors import require_choice, require_count, require_finite
from shooting.randomness import generator
from shooting.study.data import spiral

SAMPLES = 201  # of the true orbit, both ends included
TOLERANCE = 1e-10  # of the integrator, dopri8 in double precision
SPREAD = 0.1  # standard deviation of a snippet's start about the orbit, in scaled coordinates
FORCE = 1.4  # angular frequency of the forced oscillator


@dataclass(frozen=True)
class System:
    """One system x' = f(x).

    Attributes:
        words: Its name for people.
        velocity: f, rows ``(..., d)``, in unscaled coordinates and time.
        start: Where the true orbit begins.
        horizon: How long it lasts.
        free: How many coordinates of a snippet's start are shifted off the orbit: all but phases.
        turns: Whether the first two coordinates turn about a centre, so that there is a phase.
        polynomial: Whether f is a polynomial of degree at most 3.
    """

    words: str
    velocity: Callable[[Tensor], Tensor]
    start: tuple[float, ...]
    horizon: float
    free: int = 2
    turns: bool = True
    polynomial: bool = True

    @property
    def dim(self) -> int:
        """Number d of coordinates."""
        return len(self.start)

    @property
    def spacing(self) -> float:
        """Time between two samples."""
        return self.horizon / (SAMPLES - 1)


def _lotka_volterra(y: Tensor) -> Tensor:
    prey, hunter = y.unbind(-1)
    return torch.stack([prey - prey * hunter, prey * hunter - hunter], dim=-1)


def _pendulum(y: Tensor) -> Tensor:
    angle, rate = y.unbind(-1)
    return torch.stack([rate, -angle.sin() - 0.1 * rate], dim=-1)


def _van_der_pol(y: Tensor) -> Tensor:
    x, v = y.unbind(-1)
    return torch.stack([v, (1 - x**2) * v - x], dim=-1)


def _duffing(y: Tensor) -> Tensor:
    x, v, cosine, sine = y.unbind(-1)
    rate = 0.8 * cosine - x - x**3 - 0.3 * v
    return torch.stack([v, rate, -FORCE * sine, FORCE * cosine], dim=-1)


def _lorenz(y: Tensor) -> Tensor:
    a, b, c = y.unbind(-1)
    return torch.stack([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c], dim=-1)


SYSTEMS: dict[str, System] = {
    # five periods, of 6.7 each
    "lotka_volterra": System("Lotka–Volterra", _lotka_volterra, (0.5, 0.5), 33.5),
    "spiral": System("spiral", spiral.velocity, spiral.START, spiral.LENGTH),
    "pendulum": System("pendulum with friction", _pendulum, (2.5, 0.0), 30.0, polynomial=False),
    # five periods, of 6.66 each, on the limit cycle
    "van_der_pol": System("Van der Pol", _van_der_pol, (2.0086, 0.0), 33.3),
    # five periods of the force, from its periodic orbit
    "duffing": System(
        "forced Duffing", _duffing, (0.91534, 1.4546, 1.0, 0.0), 10 * math.pi / FORCE
    ),
    # about three Lyapunov times, of 1.1 each, from a point near the attractor
    "lorenz": System("Lorenz", _lorenz, (-5.0, -6.0, 22.0), 3.0, free=3, turns=False),
}


def system(name: str) -> System:
    """A system by its name.

    Raises:
        ValueError: If there is none.
    """
    require_choice(name, SYSTEMS, "a system")
    return SYSTEMS[name]


def solve(name: str, start: Tensor, samples: int, *, spacing: float | None = None) -> Tensor:
    """True solutions in unscaled coordinates and double precision, ``(samples, ..., d)``.

    Args:
        name: Key of `SYSTEMS`.
        start: Unscaled starts ``(..., d)``.
        samples: How many, the start included.
        spacing: Time between two; by default the system's.
    """
    from torchdiffeq import odeint  # with SciPy half a second, which few imports of this need

    chosen = system(name)
    times = torch.arange(samples, dtype=torch.float64) * (spacing or chosen.spacing)
    path: Tensor = odeint(
        lambda _, y: chosen.velocity(y),
        start.double(),
        times,
        method="dopri8",
        rtol=TOLERANCE,
        atol=TOLERANCE,
        options={"step_t": times[1:]},  # its dense output is of a lower order
    )
    return path


@functools.cache
def _orbit(name: str) -> tuple[Tensor, Tensor, Tensor]:
    path = solve(name, torch.tensor(system(name).start, dtype=torch.float64), SAMPLES)
    centre, deviation = path.mean(0), path.std(0)
    return (path - centre) / deviation, centre, deviation


def orbit(name: str) -> Tensor:
    """The true orbit, scaled, ``(201, d)``."""
    return _orbit(name)[0].to(torch.get_default_dtype(), copy=True)


def velocity(name: str, z: Tensor) -> Tensor:
    """The field in scaled coordinates, per sample of time; rows ``(..., d)``."""
    _, centre, deviation = _orbit(name)
    x = z.double() * deviation + centre
    rate = system(name).velocity(x) * system(name).spacing / deviation
    return rate.to(z)


def cut(trajectory: Tensor, samples: int) -> Tensor:
    """All snippets of a trajectory.

    Args:
        trajectory: Positions at equispaced times, ``(n, d)``.
        samples: Length of a snippet, at least 2.

    Returns:
        Snippets ``(samples, n - samples + 1, d)``, time first as in a model's output.

    Raises:
        ValueError: If the trajectory has gaps (NaN), or is shorter than a snippet.
    """
    samples = require_count(samples, "the samples of a snippet", least=2)
    if trajectory.dim() != 2 or len(trajectory) < samples:
        raise ValueError(
            f"expected a trajectory (n, d) with at least {samples} samples, those of one snippet, "
            f"got shape {tuple(trajectory.shape)}; give a longer one, or cut shorter snippets"
        )
    require_finite(trajectory, "samples of the trajectory: it has gaps, which no snippet spans")
    return trajectory.unfold(0, samples, 1).movedim(-1, 0).contiguous()


def snippets(
    name: str,
    seeds: Sequence[int],
    count: int,
    *purpose: str | int,
    samples: int = 5,
    noise: float = 0.0,
) -> Tensor:
    """True solutions from random starts about the orbit, each run's from its own seed.

    A start is the orbit at a time drawn uniformly, plus a shift of deviation `SPREAD`.

    Args:
        name: Key of `SYSTEMS`.
        seeds: One per run.
        count: Snippets per run.
        *purpose: Name and counter of the draw.
        samples: Samples per snippet.
        noise: Standard deviation of noise on every sample, in scaled coordinates.

    Returns:
        Scaled snippets ``(runs, samples, count, d)``.
    """
    scaled, centre, deviation = _orbit(name)
    draws = [_draw(scaled, name, count, samples, generator(s, name, *purpose)) for s in seeds]
    starts, bumps = (torch.stack(part) for part in zip(*draws, strict=True))
    path = solve(name, starts * deviation + centre, samples)
    path = ((path - centre) / deviation).transpose(0, 1) + noise * bumps
    return path.to(torch.get_default_dtype())


def _draw(
    scaled: Tensor, name: str, count: int, samples: int, g: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Starts ``(count, d)`` and unit noise ``(samples, count, d)`` of one run."""
    free, dim = system(name).free, scaled.shape[-1]
    index = torch.randint(len(scaled), (count,), generator=g)
    shift = torch.randn(count, dim, generator=g, dtype=torch.float64)
    shift[:, free:] = 0
    noise = torch.randn(samples, count, dim, generator=g, dtype=torch.float64)
    return scaled[index] + SPREAD * shift, noise
