"""What limits the trained particles of the universality chapter: one thing changed at a time.

The trials take about a quarter of an hour on one core, so that the page reads what they found.
Remake it by ``python -m shooting.study.universality.limits``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from statistics import median

import yaml

from shooting.study.paths import CHECKOUT, book_file
from shooting.study.storage import atomic_write
from shooting.study.universality.bounds import ball_cover
from shooting.study.universality.targets import BUILT_IN
from shooting.study.universality.training import sup_error, train_particles

RECORD = "trained_limits.yaml"

# Set before the trials: a change matters if it halves the median error of a field. Seeds of the
# trainings known then differed by a factor of up to 1.6, so that a smaller change could be chance.
HALVES = 0.5


@dataclass(frozen=True)
class Trial:
    """What may limit a training.

    Attributes:
        epochs: Steps of Adam.
        particles: Number K.
        lift: ``fixed`` at its random start, or ``learned``.
        rho: Radius of the cover whose points in the disk are the data; near the rim the nearest
            point may be a little farther away.
    """

    epochs: int = 100
    particles: int = 16
    lift: str = "fixed"
    rho: float = 0.2


SHORT, LONG = Trial(), Trial(epochs=3000)
TRIALS = (
    SHORT,
    replace(SHORT, particles=48),
    replace(SHORT, lift="learned"),
    Trial(epochs=300),
    Trial(epochs=1000),
    LONG,
    replace(LONG, lift="learned"),
    replace(LONG, particles=48),
    replace(LONG, rho=0.1),
)


@dataclass(frozen=True)
class Outcome:
    """Largest errors and energies of one trial on one field, one of each per seed.

    Attributes:
        field: Name of the target.
        trial: What was tried.
        errors: Largest errors at points between the data.
        energies: Conserved R of the trained particles, with T = 1 their energy.
    """

    field: str
    trial: Trial
    errors: tuple[float, ...]
    energies: tuple[float, ...]

    @property
    def error(self) -> float:
        """Median over the seeds."""
        return median(self.errors)

    @property
    def energy(self) -> float:
        """Median over the seeds."""
        return median(self.energies)


def attempt(name: str, trial: Trial, *, seeds: tuple[int, ...] = (0, 1, 2)) -> Outcome:
    """Train on one field, with the data, test points and penalty of the page.

    Args:
        name: A name in `BUILT_IN`.
        trial: What to try.
        seeds: One run for each.
    """
    target, data, spots = BUILT_IN[name](), ball_cover(2, 1.0, trial.rho), ball_cover(2, 0.95, 0.07)
    data, spots = data[data.norm(dim=1) <= 1], spots[spots.norm(dim=1) <= 0.95][::3]
    how = {k: v for k, v in asdict(trial).items() if k != "rho"}
    model, _ = train_particles(target, data, seeds=seeds, **how)
    errors = sup_error(model, spots, target.flow(spots)[-1])
    energies = model.penalty().detach()
    return Outcome(name, trial, _rounded(errors.tolist()), _rounded(energies.tolist()))


def matters(changed: Outcome, before: Outcome) -> bool:
    """Whether a change halved the error, the criterion set before the trials."""
    return changed.error <= HALVES * before.error


def _rounded(values: list[float]) -> tuple[float, ...]:
    """Three digits: what a training on another machine has in common with this one, or less."""
    return tuple(float(f"{v:.3g}") for v in values)


def stored() -> dict[tuple[str, Trial], Outcome]:
    """The recorded outcomes."""
    rows = yaml.safe_load(book_file(RECORD).read_text(encoding="utf-8"))
    found = [
        Outcome(r["field"], Trial(**r["trial"]), tuple(r["errors"]), tuple(r["energies"]))
        for r in rows
    ]
    return {(o.field, o.trial): o for o in found}


def record() -> None:
    """Run all trials and write what they found, after each one."""
    rows, path = [], CHECKOUT / "book" / RECORD
    for trial in TRIALS:
        for name in BUILT_IN:
            found = attempt(name, trial)
            rows.append({**asdict(found), "errors": list(found.errors)})
            rows[-1]["energies"] = list(found.energies)
            atomic_write(path, yaml.safe_dump(rows, sort_keys=False).encode())


if __name__ == "__main__":
    record()
