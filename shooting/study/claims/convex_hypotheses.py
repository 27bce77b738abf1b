"""What was predicted of the convex trap before its runs, word for word, and what came out.

The words stand in the docstrings of `shooting.study.experiments.convex_trap` and `spiral_cure`, and
in ``book/convex_predictions.yaml``; the verdicts are computed from records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import yaml

from shooting.study import records
from shooting.study.claims.convex_trap import WITHIN, stuck, tally_of
from shooting.study.claims.effects import middle, resampled
from shooting.study.claims.regression import runs_of
from shooting.study.claims.rule import median, median_interval
from shooting.study.experiments.convex_trap import (
    CONTROLS,
    CONVEX_TRAP,
    CURE,
    ELSEWHERE,
    FILM,
    INTERVENTIONS,
    PUBLISHED,
    STEPS,
    TrapConfig,
    afterwards,
    cured,
    published,
)
from shooting.study.experiments.convexity import is_convex
from shooting.study.experiments.regression import RegressionConfig
from shooting.study.experiments.spiral_cure import SPIRAL_CURE
from shooting.study.experiments.spiral_cure import grid as spiral_grid
from shooting.study.paths import book_file
from shooting.study.records import NotRunError, Record

NOT_RUN = "not run yet"
COMMAND = "make runs EXPERIMENT={} OUT=book/records"
MOST = 0.9  # "nine of ten"
FEW = 5  # of fifty: what the cure may leave stuck
CURED = "{}, cured"
STATIC, WIDE = "static particles", "α = 128, cured"
POSITIVE, NEGATIVE = "pₓ of deviation 1, all positive", "pₓ of deviation 1, all negative"

SETTINGS: dict[str, TrapConfig] = {
    **{name: published(c) for name, c in INTERVENTIONS.items()},
    **{name: published(c) for name, c in {**ELSEWHERE, **CONTROLS}.items()},
    **{CURED.format(name): cured(c) for name, c in ELSEWHERE.items()},
    "filmed": published(FILM),
    "filmed, cured": cured(FILM),
    "authors' first steps": published(STEPS),
    **afterwards(),
}

Outcome = tuple[bool, str]


@dataclass(frozen=True)
class Prediction:
    """One prediction and what came out.

    Attributes:
        words: As written before the runs.
        found: In words, from the records.
        holds: Whether it does; None if it was not run yet.
    """

    words: str
    found: str
    holds: bool | None = None

    @property
    def verdict(self) -> str:
        """``holds``, ``fails`` or ``not run yet``."""
        return NOT_RUN if self.holds is None else "holds" if self.holds else "fails"


@dataclass(frozen=True)
class Hypothesis:
    """A sentence and how it is judged.

    Attributes:
        words: As written before the runs.
        needs: Names of settings.
        test: Judges their records, in this order.
    """

    words: str
    needs: tuple[str, ...]
    test: Callable[..., Outcome]

    def judged(self) -> Prediction:
        """The prediction with its verdict, or what is missing."""
        found = [records.load(CONVEX_TRAP, SETTINGS[name]) for name in self.needs]
        if None in found:
            missing = [n for n, record in zip(self.needs, found, strict=True) if record is None]
            return Prediction(self.words, f"needs {' and '.join(f'“{n}”' for n in missing)}")
        holds, words = self.test(*found)
        return Prediction(self.words, words, holds)


def hypotheses() -> list[Prediction]:
    """The sentences of the docstrings with their verdicts, in the order of the text."""
    return [*(h.judged() for h in HYPOTHESES), _on_the_spiral()]


# --- how each sentence is judged -------------------------------------------------------------


def _basin(main: Record) -> Outcome:
    count = tally_of(main)
    least = MOST * count.stuck
    holds = min(count.stuck_convex, count.near) >= least and count.free_convex == 0
    return holds, (
        f"of {count.stuck} stuck runs {count.stuck_convex} are convex and {count.near} within "
        f"{100 * WITHIN:.0f} %; of the {count.runs - count.stuck} free ones {count.free_convex}"
    )


def _signs(part: str) -> Callable[[Record], Outcome]:
    def judge(main: Record) -> Outcome:
        share = np.asarray(main.metrics["theta1_negative"])
        free = ~stuck(main.config.function, main.metrics["mse"])
        group = is_convex(main.arrays["fit"]) if part == "convex" else free
        counted = (share < 0.01) if part == "convex" else (share > 0.05)
        found, whole = int((group & counted).sum()), int(group.sum())
        return found >= MOST * whole, f"{found} of {whole}"

    return judge


def unbent(record: Record, part: str) -> np.ndarray:
    """Free runs whose bend 95 % vanish if negative entries of a part of theta are set to zero.

    Args:
        record: Of the convex trap.
        part: ``theta1``, ``theta2`` or ``theta3``.

    Returns:
        Boolean, one per free run.
    """
    free = ~stuck(record.config.function, record.metrics["mse"])
    left = np.asarray(record.metrics[f"bend/{part}"]) / np.asarray(record.metrics["bend/none"])
    found: np.ndarray = left[free] <= 0.05
    return found


def _clamped(main: Record) -> Outcome:
    found = unbent(main, "theta1")
    return bool(found.mean() >= MOST), f"{found.sum()} of {len(found)}"


def _clamped_others(main: Record) -> Outcome:
    found = [unbent(main, part) for part in ("theta2", "theta3")]
    counts = " and ".join(str(int(f.sum())) for f in found)
    return not any(f.mean() >= MOST for f in found), f"{counts} of {len(found[0])}"


def _compared(more: bool) -> Callable[[Record, Record], Outcome]:
    def judge(changed: Record, main: Record) -> Outcome:
        a, b = tally_of(changed), tally_of(main)
        holds = a.share > b.share if more else a.share < b.share
        return holds, _counts(changed, main)

    return judge


def _alike(changed: Record, main: Record) -> Outcome:
    a, b = tally_of(changed).interval, tally_of(main).interval
    return max(a[0], b[0]) <= min(a[1], b[1]), _counts(changed, main)


def _counts(changed: Record, main: Record) -> str:
    a, b = tally_of(changed), tally_of(main)
    (low, high), other = a.interval, b.interval
    apart = "apart" if max(low, other[0]) > min(high, other[1]) else "overlap"
    return f"{a.stuck} of {a.runs} stuck, against {b.stuck} of {b.runs}; intervals {apart}"


def _few(wanted: bool) -> Callable[[Record, Record], Outcome]:
    def judge(changed: Record, main: Record) -> Outcome:
        count = tally_of(changed)
        return (count.share <= FEW / 50) == wanted, _counts(changed, main)

    return judge


def _under_half(changed: Record, main: Record) -> Outcome:
    return tally_of(changed).share < 0.5, _counts(changed, main)


def _harmless(record: Record) -> Outcome:
    wide = runs_of(RegressionConfig(inflation=record.config.inflation))
    if wide is None:
        raise NotRunError("expected the regression's runs of the same width, got none")
    losses = [np.asarray(r.metrics["loss"], dtype=float) for r in (record, wide)]
    low, high = median_interval(*(np.where(np.isnan(v), np.inf, v) for v in losses))
    return high >= 0, f"published minus cured: {low:.3f} to {high:.3f}"


def _cure(name: str, words: str, *, wanted: bool = True) -> Hypothesis:
    def judge(changed: Record, main: Record) -> Outcome:
        holds, found = _few(wanted)(changed, main)
        return holds, f"{name}: {found}"

    return Hypothesis(words, (CURED.format(name), name), judge)


HYPOTHESES = (
    Hypothesis(
        "At least nine of ten stuck runs are convex and within 15 % of the best convex function's "
        "MSE; no other run is convex.",
        (PUBLISHED,),
        _basin,
    ),
    Hypothesis(
        "in nine of ten convex runs the negative part is below 1 % of theta1 over depth",
        (PUBLISHED,),
        _signs("convex"),
    ),
    Hypothesis("in nine of ten free ones above 5 %", (PUBLISHED,), _signs("free")),
    Hypothesis(
        "there setting it to zero (of the trained control, nothing retrained) takes away 95 % of "
        "the bend",
        (PUBLISHED,),
        _clamped,
    ),
    Hypothesis("the same for theta2 or theta3 does not", (PUBLISHED,), _clamped_others),
    Hypothesis(
        "All p_x positive at the start should mean more stuck runs than as published",
        (POSITIVE, PUBLISHED),
        _compared(more=True),
    ),
    Hypothesis("all negative fewer", (NEGATIVE, PUBLISHED), _compared(more=False)),
    Hypothesis(
        "so should a target lowered to the opposite mean",
        ("target lowered", PUBLISHED),
        _compared(more=False),
    ),
    Hypothesis(
        "p(0) 15 times as large with published steps leaves fewer stuck",
        ("p(0) × 15, published steps", PUBLISHED),
        _compared(more=False),
    ),
    Hypothesis(
        "steps of p 15 times as large from the published start do not",
        ("steps of p × 15, published start", PUBLISHED),
        _alike,
    ),
    Hypothesis(
        "frozen for the first 50 epochs with the positions, it leaves few stuck (at most 5 of 50)",
        (CURE, PUBLISHED),
        _few(True),
    ),
    _cure("α = 8", "so at other alpha"),
    _cure("α = 32", "so at other alpha"),
    _cure("off-centre bump", "on other targets that are trapped"),
    _cure("tilted double well", "on other targets that are trapped"),
    _cure("static particles", "not on static particles, which cannot turn signs", wanted=False),
    Hypothesis("without plateau as many are stuck", ("no plateau", PUBLISHED), _alike),
    Hypothesis(
        "with p_x of deviation 1 and all negative fewer than half are stuck",
        ("static particles, pₓ of deviation 1, all negative", STATIC),
        _under_half,
    ),
    Hypothesis(
        "fewer than as published with p(0) 15 times as large",
        ("static particles, p(0) × 15", STATIC),
        _compared(more=False),
    ),
    Hypothesis(
        "the interval of the difference of median losses reaches zero or favours it",
        (WIDE,),
        _harmless,
    ),
)


def spiral_pairs() -> list[tuple[str, Record | None, Record | None]]:
    """Spiral runs as published and cured: name, and both records where they exist."""
    loaded = [records.load(SPIRAL_CURE, config) for config in spiral_grid("paper")]
    configs = spiral_grid("paper")[::2]
    names = [f"{c.protocol}, α = {c.inflation}" for c in configs]
    return list(zip(names, loaded[::2], loaded[1::2], strict=True))


def median_short(record: Record) -> tuple[float, float, float]:
    """Median loss on short snippets, with the ends of its 95 % bootstrap interval."""
    values = np.nan_to_num(np.asarray(record.metrics["short_loss"], dtype=float), nan=np.inf)
    return (median(values), *middle(resampled(values, values)[0]))


def _on_the_spiral() -> Prediction:
    words = "the intervals of the median short loss should overlap"
    found = [(name, a, b) for name, a, b in spiral_pairs() if a is not None and b is not None]
    if len(found) < len(spiral_pairs()):
        return Prediction(words, "needs all eight ensembles")
    pairs = [(median_short(a), median_short(b)) for _, a, b in found]
    alike = [max(a[1], b[1]) <= min(a[2], b[2]) for a, b in pairs]
    return Prediction(words, f"{sum(alike)} of {len(alike)} pairs", all(alike))


# --- levels of targets that nothing had been trained on --------------------------------------


@dataclass(frozen=True)
class Level:
    """A target, its predicted level, and the runs.

    Attributes:
        target: Its name.
        level: Predicted 100 MSE of the best convex function.
        trap: Whether stuck runs were expected.
        record: As published, if it exists.
    """

    target: str
    level: float
    trap: bool
    record: Record | None

    @property
    def holds(self) -> bool | None:
        """Whether the rule of the predictions is met; None without a record."""
        if self.record is None:
            return None
        count = tally_of(self.record)
        if not self.trap:
            return count.stuck == 0
        return count.stuck > 0 and _basin(self.record)[0]


def levels() -> list[Level]:
    """The predictions of ``book/convex_predictions.yaml`` beside their runs."""
    known = yaml.safe_load(book_file("convex_predictions.yaml").read_text(encoding="utf-8"))
    runs = {c.function: records.load(CONVEX_TRAP, c) for c in _of_targets()}
    return [
        Level(name, found["level"], found["trap"], runs[name])
        for name, found in known["targets"].items()
    ]


def _of_targets() -> Iterator[TrapConfig]:
    for changes in (*INTERVENTIONS.values(), *ELSEWHERE.values(), *CONTROLS.values()):
        if set(changes) == {"function"}:
            yield published(changes)
