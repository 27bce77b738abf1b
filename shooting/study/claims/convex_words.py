"""Numbers and sentences of the chapter on the convex trap, from whatever is recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from shooting.study.claims.convex_hypotheses import (
    COMMAND,
    NEGATIVE,
    POSITIVE,
    Level,
    median_short,
    unbent,
)
from shooting.study.claims.convex_trap import Tally, level, stuck, tally_of
from shooting.study.claims.rule import compare, lies, median
from shooting.study.claims.words import listed
from shooting.study.experiments.convex_trap import PUBLISHED, TRACED, marks
from shooting.study.records import Record

LOSSES = {
    "lower": "Lower with the cure",
    "higher": "Higher",
    "alike": "The interval of the difference holds zero",
}
ORDER = {"fewer": "Fewer runs are stuck", "more": "More", "alike": "The intervals overlap"}


def counted(tally: Tally) -> str:
    """Stuck runs of all: ``18 of 50``."""
    return f"{tally.stuck} of {tally.runs}"


def interval_of(tally: Tally) -> str:
    """The 95 % interval of the share of stuck runs: ``24 to 50 %``."""
    low, high = tally.interval
    return f"{100 * low:.0f} to {100 * high:.0f} %"


def headline(main: Record, cured: Record) -> dict[str, Any]:
    """What the first lines say, by the name under which it is glued.

    Args:
        main: As published.
        cured: With the lift frozen at first.
    """
    held = stuck(main.config.function, main.metrics["mse"])
    count, other = tally_of(main), tally_of(cured)
    return {
        "stuck": counted(count),
        "interval": interval_of(count),
        "cured": counted(other),
        "interval-cured": interval_of(other),
        "convex": f"{count.stuck_convex} of {count.stuck}",
        "near": f"{count.near} of {count.stuck}",
        "free-convex": f"{count.free_convex} of {count.runs - count.stuck}",
        "free-most": 100 * float(np.asarray(main.metrics["mse"])[~held].max()),
        "count": count.stuck,
        "count-cured": other.stuck,
        "runs": count.runs,
        "level": 100 * level(main.config.function),
        "loss": median(main.metrics["loss"]),
        "loss-cured": median(cured.metrics["loss"]),
        "ten": int(held[:10].sum()),
    }


def signs(single: Mapping[str, Record], cured: Record) -> dict[str, Any]:
    """Signs of momenta and of theta1 during training, by the name under which they are glued.

    Args:
        single: The settings of which one thing is changed, by name.
        cured: With the lift frozen at first.
    """
    main = single[PUBLISHED]
    free = ~stuck(main.config.function, main.metrics["mse"])
    negative, theta1 = (traced(main, name) for name in ("negative", "theta1_negative"))
    ten, hundred = (list(marks(main.config)).index(epoch) for epoch in (10, 100))
    return {
        "negative-start": float(np.median(negative[:, 0])),
        "negative-ten": float(np.median(negative[:, ten])),
        "negative-hundred": float(np.median(negative[free, hundred])),
        "theta1-hundred": 100 * float(np.median(theta1[free, hundred])),
        "theta1-ten": 100 * float(np.median(theta1[:, ten])),
        "theta1-ten-cured": 100 * float(np.median(traced(cured, "theta1_negative")[:, ten])),
        "positive": counted(tally_of(single[POSITIVE])),
        "negative": counted(tally_of(single[NEGATIVE])),
        **{f"clamp-{k}": _of(unbent(main, k)) for k in ("theta1", "theta2", "theta3")},
    }


def traced(record: Record, name: str) -> np.ndarray:
    """One of `TRACED` during the training, ``(runs, looks)``."""
    found: np.ndarray = record.arrays["trace"][..., TRACED.index(name)]
    return found


def leavers(record: Record, since: int = 150) -> dict[int, int]:
    """Runs that are stuck at an epoch of the training and free at its end.

    Args:
        record: With a trace.
        since: An epoch at which the model was looked at.

    Returns:
        By seed, the first look from which on the run is free.
    """
    config, looks = record.config, [*marks(record.config)]
    held = stuck(config.function, traced(record, "mse"))
    gone = held[:, looks.index(since)] & ~stuck(config.function, record.metrics["mse"])
    free = [*looks[1:], config.epochs]  # after the last look at which it was stuck
    return {config.seeds[k]: free[np.flatnonzero(held[k])[-1]] for k in np.flatnonzero(gone)}


def held_at(record: Record, epoch: int = 150) -> int:
    """How many runs are stuck at an epoch at which the model was looked at."""
    look = list(marks(record.config)).index(epoch)
    return int(stuck(record.config.function, traced(record, "mse")[:, look]).sum())


def _of(found: np.ndarray) -> str:
    return f"{int(found.sum())} of {len(found)}"


def side(changed: Tally, reference: Tally) -> str:
    """Whether ``fewer`` or ``more`` runs are stuck, or ``alike``: if the intervals overlap."""
    (low, high), (least, most) = changed.interval, reference.interval
    return "fewer" if high < least else "more" if low > most else "alike"


def effects(single: Mapping[str, Record]) -> str:
    """Sentences: which changes leave fewer or more runs stuck than as published.

    Args:
        single: The settings of which one thing is changed, by name.
    """
    reference = tally_of(single[PUBLISHED])
    found: dict[str, list[str]] = {name: [] for name in ORDER}
    for name, record in single.items():
        if name != PUBLISHED:
            count = tally_of(record)
            found[side(count, reference)].append(f"{name} ({counted(count)})")
    return _sorted_out(found)


def elsewhere(both: Mapping[str, tuple[Record, Record]]) -> str:
    """Sentences: in which other settings the cure leaves fewer or more runs stuck.

    Args:
        both: Published and cured records by name.
    """
    found: dict[str, list[str]] = {name: [] for name in ORDER}
    for name, pair in both.items():
        published, cured = map(tally_of, pair)
        words = f"{name} ({counted(cured)}, against {counted(published)})"
        found[side(cured, published)].append(words)
    return _sorted_out(found)


def cost(published: Record, cured: Record, *, metric: str = "loss") -> str:
    """Whether the cure leaves a ``lower`` or ``higher`` median loss, or ``alike``.

    Args:
        published: As published.
        cured: With the lift frozen at first.
        metric: Which loss.
    """
    a, b = (list(r.metrics[metric]) for r in (published, cured))
    part = compare(f"{metric}, cured below published", b, a)
    return lies(part.interval, "lower", "higher", "alike")


def losses(both: Mapping[str, tuple[Record, Record]]) -> str:
    """Sentences: where the cure lowers the median loss, and where it raises it.

    Args:
        both: Published and cured records by name.
    """
    found: dict[str, list[str]] = {name: [] for name in LOSSES}
    for name, pair in both.items():
        before, after = (median(r.metrics["loss"]) for r in pair)
        found[cost(*pair)].append(f"{name} ({before:.3g} to {after:.3g})")
    return _sorted_out(found, LOSSES)


def _sorted_out(found: Mapping[str, Sequence[str]], order: Mapping[str, str] = ORDER) -> str:
    return " ".join(f"{order[k]}: {'; '.join(names)}." for k, names in found.items() if names)


def on_the_spiral(pairs: Iterable[tuple[str, Record | None, Record | None]]) -> str:
    """Sentence: how the median short loss with the cure compares, over pairs of ensembles."""
    known = [
        (median_short(a), median_short(b)) for _, a, b in pairs if a is not None and b is not None
    ]
    lower = sum(b[2] < a[1] for a, b in known)
    higher = sum(b[1] > a[2] for a, b in known)
    words = (
        f"The intervals of the median short loss overlap in {len(known) - lower - higher} of "
        f"{len(known)} pairs"
    )
    apart = [
        f"; in {n} the cured loss is {s}" for n, s in ((lower, "lower"), (higher, "higher")) if n
    ]
    return words + "".join(apart) + "."


def of_targets(found: Iterable[Level]) -> str:
    """Sentences: for which new targets the prediction holds, and for which it fails."""
    sides: dict[str, list[str]] = {"holds for": [], "fails for": []}
    for v in found:
        if v.record is not None:
            sides["holds for" if v.holds else "fails for"].append(f"“{v.target}”")
    said = [f"{side} {listed(names)}" for side, names in sides.items() if names]
    return f"The prediction {', and '.join(said)}." if said else ""


def not_run(names: Sequence[str], experiment: str = "convex_trap") -> str:
    """Sentence: which settings have no record yet, and what makes them."""
    if not names:
        return "All settings have been run."
    return f"Not run yet, by {COMMAND.format(experiment)}: {'; '.join(names)}."
