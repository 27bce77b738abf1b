"""May two trainings of one config differ as they do? Rules fixed before anything was compared.

Trainings are chaotic: two processors that round differently agree for some tens of steps and then
drift apart, some runs by nothing, some as far as two seeds. So only a training on the same kind of
machine is compared bit for bit. On another, a run is compared by how far its own history of losses
has drifted, in units of the spread over seeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from shooting.fit import EARLY_STEPS
from shooting.study.experiments.base import TRIVIAL
from shooting.study.records.record import Record

MACHINE = ("route", "platform", "processor", "device", "threads", "python", "torch", "numpy")
EARLY_TOLERANCE = 1e-4  # relative, over the first 50 steps
# The same with BatchNorm: it leaves some weights gradients of rounding errors alone, which Adam
# divides by their own size. Between two processors 1e-2 was seen.
EARLY_OF_NORMALISED = 5e-2
NORMALISED = ("circles", "rotating_mnist", "bouncing_balls")
TRIVIAL_TOLERANCE = 1e-9  # relative: a ridge on 500 images, in float64, summed in another order
WIDENING = 0.1  # of the ensemble's span, at both ends
# How far a number may be off, in units of its spread: this much in any case, and so many times the
# drift of its run. Both were set after a look at records trained again on another processor, the
# farthest of which was off by some hundred times its drift.
CLOSE, GROWTH = 0.02, 1000.0
FLOOR = {"metric": 1e-4, "array": 1e-3}  # of the largest value: part of every spread
STILL = 1e-6  # what rounding makes of a variation, a ratio, that is zero
PARTED = 1e-4  # drift of a run that may fail here and not there
FEW = 5  # runs, below which a median says nothing
MEASURED_LATER = {"errors"}  # arrays that the first records of their experiment lack


def same_machine(old: Record, new: Record) -> bool:
    """Whether route, machine class and versions are the same, so that bits must be."""
    return all(old.provenance[k] == new.provenance[k] for k in MACHINE)


def compare(old: Record, new: Record) -> list[str]:
    """Every difference that the rules forbid, with both numbers and the rule.

    The data have been compared before, and what holds inside a record
    (`shooting.study.records.identities`). Same route, machine class and versions: everything equal.
    Otherwise:

    - names, types, shapes and counts are equal;
    - the losses of the first 50 steps are within 1e-4 relative (5e-2 with BatchNorm);
    - the same runs fail, but for those that had drifted apart before;
    - every number of a run, in metrics and arrays, is within ``CLOSE + GROWTH * drift`` of its
      spread over seeds; the drift is the root mean square of the relative differences of the run's
      epoch losses (`drift`);
    - the medians of each metric and of the last training loss are within the other ensemble's
      range, widened by a tenth of its span at both ends; with less than five runs, each final loss
      is within the old range.

    Args:
        old: The committed record.
        new: The one just trained.

    Returns:
        One sentence per difference.
    """
    if same_machine(old, new):
        return list(exactly(old, new))
    return [
        *_compare_counts(old, new),
        *compare_early(old, new.early),
        *_compare_failures(old, new),
        *_compare_final(old, new),
        *_compare_numbers(old, new),
    ]


# --- the same machine -----------------------------------------------------------------------


def exactly(old: Record, new: Record) -> Iterator[str]:
    """Every number that is not equal bit for bit."""
    for kind, was, now in _parts(old, new):
        for name in _names(was, now):
            if name not in was or name not in now:
                yield f"{kind} {name} is in one of the two only; rule: same names"
            elif name.startswith(TRIVIAL):  # of linear algebra, whose threads no record knows
                if not np.isclose(was[name], now[name], rtol=TRIVIAL_TOLERANCE, atol=0.0):
                    yield f"{kind} {name}: recorded {was[name]!r}, now {now[name]!r}; rule: close"
            elif text := _difference(np.asarray(was[name]), np.asarray(now[name])):
                yield f"{kind} {name}: {text}; rule: equal (same route, machine, versions)"


def _parts(old: Record, new: Record) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    yield "metric", old.metrics, new.metrics
    yield "array", old.arrays, new.arrays
    yield "fact", old.facts, new.facts
    yield "losses", {"early": old.early}, {"early": new.early}
    yield "steps", {"failed_at": old.failed_at}, {"failed_at": new.failed_at}
    if old.drift is not None:  # else the record is older than the measurement
        yield "part", {"drift": old.drift}, {} if new.drift is None else {"drift": new.drift}


def _names(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Names on either side; what was not measured yet when the old record was made is left out."""
    return sorted({*was, *now} - (MEASURED_LATER - {*was}))


def _difference(was: np.ndarray, now: np.ndarray) -> str:
    if was.shape != now.shape or was.dtype != now.dtype:
        return f"recorded {was.dtype} of shape {was.shape}, now {now.dtype} of shape {now.shape}"
    apart = ~((was == now) | (np.isnan(was) & np.isnan(now)))
    if not apart.any():
        return ""
    first = tuple(int(i) for i in np.argwhere(apart)[0])
    return f"recorded {float(was[first])!r}, now {float(now[first])!r} at index {first}"


# --- another machine ------------------------------------------------------------------------


def _compare_counts(old: Record, new: Record) -> Iterator[str]:
    for name in sorted({*old.facts, *new.facts}):
        was, now = old.facts.get(name), new.facts.get(name)
        if was is None or now is None:
            yield f"{name} is in one of the two only; rule: same names"
        elif name.startswith(TRIVIAL):
            if not np.isclose(was, now, rtol=TRIVIAL_TOLERANCE, atol=0.0):
                yield f"{name}: recorded {was}, now {now}; rule: close"
        elif was != now and (float(was).is_integer() or float(now).is_integer()):
            yield f"{name}: recorded {was}, now {now}; rule: counts are equal"


def compare_early(old: Record, early: np.ndarray) -> list[str]:
    """Differences of the losses ``(steps, runs)`` of the first 50 steps."""
    steps = min(len(old.early), EARLY_STEPS)
    was, now = old.early[:steps], early[:steps]
    if was.shape != now.shape:
        return [f"first steps: recorded {was.shape}, now {now.shape}; rule: same shape"]
    bound = EARLY_OF_NORMALISED if old.experiment in NORMALISED else EARLY_TOLERANCE
    close = np.isclose(now, was, rtol=bound, atol=0.0, equal_nan=True)
    return [
        f"loss of step {i}, run {j}: recorded {was[i, j]!s}, now {now[i, j]!s}; rule: within "
        f"{bound:g} relative over the first {EARLY_STEPS} steps"
        for i, j in np.argwhere(~close)[:3]
    ]


def _compare_failures(old: Record, new: Record) -> Iterator[str]:
    """Runs that fail in one of the two only, although nothing had set them apart before."""
    if len(old.failed) != len(new.failed):
        yield f"runs: recorded {len(old.failed)}, now {len(new.failed)}; rule: counts are equal"
        return
    steps = np.where(old.failed, old.failed_at, new.failed_at)
    alike = ~(drift(old, new) > PARTED) | (steps < EARLY_STEPS)  # too early to have parted
    for run in np.flatnonzero((old.failed != new.failed) & alike):
        was, now = (_fate(int(r.failed_at[run])) for r in (old, new))
        yield f"run {run}: recorded {was}, now {now}; rule: the same, as its losses were until then"


def _fate(step: int) -> str:
    return "ended well" if step == -1 else f"failed at step {step}"


def _compare_final(old: Record, new: Record) -> Iterator[str]:
    """Losses at the end: of a single run near the old one, of an ensemble in their medians."""
    pairs = {"last training loss": (old.arrays.get("history"), new.arrays.get("history"))}
    finals = {k: (w[-1], n[-1]) for k, (w, n) in pairs.items() if w is not None and n is not None}
    if "loss" in old.metrics and "loss" in new.metrics:
        finals["final loss"] = old.metrics["loss"], new.metrics["loss"]
    for name, (was, now) in finals.items():
        alive = ~(old.failed | new.failed)
        if alive.sum() >= FEW:
            yield from _medians(name, was[alive], now[alive])
            continue
        low, high = widened(was[alive])
        for run in np.flatnonzero(alive):
            if not low <= now[run] <= high:
                yield (
                    f"{name} of run {run}: recorded {was[run]!s}, now {now[run]!s}; rule: within "
                    f"[{low:.6g}, {high:.6g}], the ensemble's range widened by {WIDENING:.0%}"
                )


def widened(values: np.ndarray) -> tuple[float, float]:
    """Range of an ensemble, widened at both ends by a tenth of its span (of |value| if single)."""
    if not len(values):
        return -np.inf, np.inf
    low, high = float(np.min(values)), float(np.max(values))
    margin = WIDENING * ((high - low) or abs(high))
    return low - margin, high + margin


def drift(old: Record, new: Record) -> np.ndarray:
    """How far two trainings of each run have drifted apart, ``(runs,)``.

    Root mean square, over the epochs in which both are finite, of the relative difference of the
    epoch's loss; infinite where there is no such epoch.
    """
    was, now = (r.arrays.get("history", np.zeros((0, 0))).astype(float) for r in (old, new))
    if was.shape != now.shape or not was.size:
        return np.full(len(old.failed), np.inf)
    both = np.isfinite(was) & np.isfinite(now)
    with np.errstate(all="ignore"):
        relative = np.where(both & (was != now), np.abs(now - was) / np.abs(was), 0.0)
        found: np.ndarray = np.sqrt((relative**2).sum(0) / both.sum(0))
    return np.where(np.isnan(found), np.inf, found)


def _measured(record: Record, old: Record) -> dict[str, np.ndarray]:
    """Metrics, and by which part H moves, unless the old record is older than that."""
    known = record.drift is not None and old.drift is not None
    return {**record.metrics, **({"drift of H": np.asarray(record.drift)} if known else {})}


def spread(name: str, kind: str, values: np.ndarray, failed: np.ndarray) -> np.ndarray:
    """What a tenth or a fiftieth is taken of: the span over seeds, entry by entry.

    Of an array that is kept for the first runs only, the range of its values; of a single run's
    metric, the value itself.

    Args:
        name: Of the metric or array.
        kind: ``metric`` or ``array``.
        values: First axis the run.
        failed: Which runs failed.

    Returns:
        An array that broadcasts against one run's values.
    """
    alive = values[~failed[: len(values)]].astype(float)
    if not alive.size:
        return np.zeros(1)
    largest = float(np.abs(alive).max())
    if len(values) == len(failed) > 1:
        span = np.ptp(alive, axis=0)
    else:
        span = np.asarray(np.ptp(alive) if kind == "array" else largest)
    found: np.ndarray = span + FLOOR[kind] * largest
    return found + (STILL / CLOSE if name.startswith("variation/") else 0.0)


def _compare_numbers(old: Record, new: Record) -> Iterator[str]:
    """Every metric and array: names, types, shapes, and each run's numbers."""
    apart = np.where(new.failed, np.inf, CLOSE + GROWTH * drift(old, new))
    kinds = (
        ("metric", _measured(old, old), _measured(new, old)),
        ("array", old.arrays, new.arrays),
    )
    for kind, was, now in kinds:
        for name in _names(was, now):
            label = f"{kind} {name}"
            if name not in was or name not in now:
                yield f"{label} is in one of the two only; rule: same names"
            elif was[name].shape != now[name].shape or was[name].dtype != now[name].dtype:
                yield f"{label}: {_difference(was[name], now[name])}; rule: same type and shape"
            elif name != "history":  # which is what the drift is taken from
                yield from _far(label, old, (name, was[name], now[name]), apart)
                if kind == "metric":
                    yield from _medians(label, was[name], now[name])


def _far(
    label: str, old: Record, both: tuple[str, np.ndarray, np.ndarray], apart: np.ndarray
) -> Iterator[str]:
    """The first number of each run that is farther off than its drift allows."""
    name, was, now = both
    if old.experiment == "rotating_mnist" and name == "paths" and old.config.variant:
        was, now = (
            np.linalg.norm(a, axis=-1) for a in (was, now)
        )  # axes have no sign of their own
    scale = spread(name, label.split()[0], was, old.failed)
    for run in np.flatnonzero((~old.failed & np.isfinite(apart))[: len(was)]):
        off = np.abs(now[run].astype(float) - was[run].astype(float))
        far = np.argwhere(np.atleast_1d(~(off <= apart[run] * scale)))
        if len(far):
            k = tuple(int(i) for i in far[0]) if off.ndim else ()
            yield (
                f"{label} of run {run}: recorded {was[run][k]!s}, now {now[run][k]!s}; rule: "
                f"within {apart[run]:.2g} of its spread over seeds, as the run's losses drifted"
            )


def _medians(label: str, was: np.ndarray, now: np.ndarray) -> Iterator[str]:
    """Where all runs drifted: each median within the other ensemble's range."""
    fine = np.isfinite(was) & np.isfinite(now)
    if fine.sum() < FEW:
        return
    for one, other in ((was[fine], now[fine]), (now[fine], was[fine])):
        low, high = widened(other)
        if not low - STILL <= np.median(one) <= high + STILL:
            yield (
                f"{label}: median recorded {np.median(was[fine])!s}, now "
                f"{np.median(now[fine])!s}; rule: each within the other's range"
            )
            return
