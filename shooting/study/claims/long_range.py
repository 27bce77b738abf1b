"""What was predicted of the long range before its runs, and what came out.

The predictions stand in ``book/long_range_predictions.yaml``; verdicts follow the rule of the other
claims. Ten seeds were run and judged first, ten further ones later; everything here counts both
but where it says ``first``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import yaml

from shooting.errors import require_choice
from shooting.study import records
from shooting.study.claims.loading import Runs, runs_of
from shooting.study.claims.registry import load_claims
from shooting.study.claims.rule import (
    NOT,
    NOT_RUN,
    PARTLY,
    REPRODUCED,
    Part,
    Verdict,
    alike,
    combine,
    compare,
    outcome,
    tally,
    threshold,
)
from shooting.study.data.systems import SYSTEMS, system
from shooting.study.experiments.long_range import (
    FURTHER,
    LONG_RANGE,
    NAMES,
    RIDGE,
    SWITCHES,
    VARIED,
    LongRangeConfig,
    setting,
    switched,
    trials,
)
from shooting.study.paths import book_file
from shooting.study.records import NotRunError
from shooting.study.storage import CorruptFileError

KINDS = ("better", "alike", "below")
LONGER = ("followed", "reached")  # measures of which more is better


@dataclass(frozen=True)
class Prediction:
    """One prediction, as committed before the first record.

    Attributes:
        id: Its number.
        words: Its sentence.
        kind: One of `KINDS`.
        measure: Name of a metric.
        systems: Where.
        first: Models that are said to be better; or all that are judged.
        others: Models, or switches of dynamic particles, that they are compared with.
        varied: Name of other snippets, key of `VARIED`.
        bound: For the kind ``below``.
    """

    id: str
    words: str
    kind: str
    measure: str
    systems: Sequence[str]
    first: Sequence[str]
    others: Sequence[str]
    varied: str = ""
    bound: float = 0.0

    def __post_init__(self) -> None:
        require_choice(self.kind, KINDS, "a kind of prediction")

    def verdict(self, *, first: bool = False) -> Verdict:
        """The verdict, computed from the records; ``not run`` where one is missing or corrupt.

        Args:
            first: Count the first ten seeds alone.
        """
        try:
            parts, ids = self._parts(first)
        except (NotRunError, CorruptFileError) as missing:
            return Verdict(NOT_RUN, str(missing))
        return combine(parts, ids)

    def _parts(self, first: bool) -> tuple[list[Part], list[str]]:
        parts, ids = [], []
        for place in self.systems:
            for name in self.first:
                one, *rivals = (
                    found(config_of(place, n, self.varied), first=first)
                    for n in (name, *self.others)
                )
                ids += [i for runs in (one, *rivals) for i in runs.ids]
                what = f"{SYSTEMS[place].words}: {NAMES.get(name, name)}"
                if self.kind == "below":
                    parts.append(threshold(what, one.metrics[self.measure], self.bound))
                parts += [
                    self._part(f"{what} against {NAMES.get(n, n)}", one, r)
                    for n, r in zip(self.others, rivals, strict=True)
                ]
        return parts, ids

    def _part(self, what: str, one: Runs, rival: Runs) -> Part:
        a, b = counted(self.measure, one), counted(self.measure, rival)
        if self.kind == "alike":
            part = alike(what, a, b)
            values = (runs.metrics[self.measure] for runs in (one, rival))
            lost = all(np.isnan(v).mean() > 0.5 for v in values)  # counted as 0 on both sides
            return replace(part, status=NOT) if lost else part
        return compare(what, *((b, a) if self.measure in LONGER else (a, b)))


def config_of(place: str, name: str, varied: str = "") -> LongRangeConfig:
    """The config of a model, or of a switch of dynamic particles, on a system."""
    if name in SWITCHES:
        return switched(SWITCHES[name])
    return setting(place, name, **(VARIED[varied] if varied else {}))


def found(config: LongRangeConfig, *, first: bool = False) -> Runs:
    """The runs of a config, of its first ten seeds and the further ten.

    Args:
        config: The setting, with the first ten seeds.
        first: Leave the further seeds out.

    Raises:
        NotRunError: If the first ten are not recorded.
    """
    runs = runs_of(LONG_RANGE, config, more=() if first else FURTHER)
    if runs is None:
        raise NotRunError(
            f"expected a record of {config.model} on {config.system}, got none; try "
            "make runs EXPERIMENT=long_range OUT=book/records"
        )
    return runs


def predictions() -> list[Prediction]:
    """The committed predictions."""
    entries = yaml.safe_load(book_file("long_range_predictions.yaml").read_text(encoding="utf-8"))
    return [Prediction(**entry) for entry in entries]


def tuned(model: str) -> float | None:
    """The value that the tuning chooses: the least median validation error; None if not run.

    A trial with a failed run counts as infinitely bad, if it is one of more than half.
    """
    errors = {}
    for config in trials(model):
        record = records.load(LONG_RANGE, config)
        if record is None:
            return None
        value = config.penalty if model == RIDGE else config.learning_rate
        errors[value] = np.median(np.nan_to_num(record.metrics["validation"], nan=np.inf))
    return min(errors, key=lambda value: errors[value])


def counted(measure: str, runs: Runs) -> np.ndarray:
    """A measure of each run; of a failed run the worst that it can be."""
    worst = 0.0 if measure in LONGER else math.inf
    return np.nan_to_num(runs.metrics[measure], nan=worst, posinf=math.inf)


def quartiles(values: Sequence[float] | np.ndarray) -> str:
    """Median and quartiles in words; infinite ones, of failed runs, as such."""
    with np.errstate(invalid="ignore"):  # between infinity and itself
        low, mid, high = np.quantile(values, (0.25, 0.5, 0.75))
    one, two, three = (_short(v) for v in (mid, low, high))
    return f"{one} ({two} to {three})"


def _short(value: float) -> str:
    if not math.isfinite(value):
        return "failed"
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}" if value >= 1e-4 else "under 0.0001"


def table_of(measure: str = "followed", varied: str = "") -> pd.DataFrame:
    """Median and quartiles of a measure, a row for each system and a column for each model.

    Args:
        measure: Name of a metric.
        varied: Other snippets of Lotka-Volterra, key of `VARIED`; all systems without.
    """
    places = ["lotka_volterra"] if varied else list(SYSTEMS)
    rows: list[dict[str, Any]] = []
    for place in places:
        one = system(place)
        row: dict[str, Any] = {"system": one.words, "horizon": f"{one.horizon:.3g}"}
        for model, words in NAMES.items():
            runs = found(config_of(place, model, varied))
            measured = measure in runs.metrics
            row[words] = quartiles(counted(measure, runs)) if measured else "—"
        rows.append(row)
    return pd.DataFrame(rows)


def outcomes() -> pd.DataFrame:
    """Win, tie or loss of dynamic particles against the best other model, by followed time."""
    rows = []
    for place in SYSTEMS:
        mine = found(config_of(place, "dynamic_particles"))
        rivals = {m: found(config_of(place, m)) for m in NAMES if m != "dynamic_particles"}
        times = {m: counted("followed", runs) for m, runs in rivals.items()}
        best = max(rivals, key=lambda m: float(np.median(times[m])))
        own = counted("followed", mine)
        rows.append(
            {
                "task": f"long range, {SYSTEMS[place].words}",
                "particles": quartiles(own),
                "best rival": f"{NAMES[best]}, {quartiles(times[best])}",
                "outcome": outcome(own, times[best]),
                "seconds, all runs": f"{seconds(mine):.0f} against {seconds(rivals[best]):.1f}",
            }
        )
    return pd.DataFrame(rows)


MEASURES = {
    "snippet": "error on snippets",
    "long": "long error",
    "orbit": "orbit distance",
    "followed": "followed time",
}


def against(rival: str = "node") -> pd.DataFrame:
    """Win, tie or loss of dynamic particles against one model: systems by measures.

    Args:
        rival: Key of `NAMES`.
    """
    rows = []
    for place in SYSTEMS:
        mine, other = (found(config_of(place, m)) for m in ("dynamic_particles", rival))
        words = {name: outcome_by(m, mine, other) for m, name in MEASURES.items()}
        rows.append({"system": SYSTEMS[place].words} | words)
    return pd.DataFrame(rows)


def apart(measure: str) -> dict[str, str]:
    """Win, tie or loss of dynamic particles on Lotka-Volterra against each of its switches."""
    mine = found(config_of("lotka_volterra", "dynamic_particles"))
    names = ("static_particles", *SWITCHES)
    return {n: outcome_by(measure, mine, found(config_of("lotka_volterra", n))) for n in names}


def outcome_by(measure: str, mine: Runs, other: Runs) -> str:
    """Win, tie or loss of the first by the interval of the medians; a failed run is the worst."""
    sign = 1.0 if measure in LONGER else -1.0
    return outcome(*(sign * counted(measure, runs) for runs in (mine, other)))


def seconds(runs: Runs) -> float:
    """Wall time of the trainings, all seeds together."""
    return sum(float(record.provenance["wall_seconds"]) for record in runs.found)


# Other tasks of this book: the claim that compares dynamic particles with their rivals there, and
# what it means for them if it is reproduced.
USES: dict[str, tuple[str, str]] = {
    "regression, quadratic-like function": ("K1a", "win"),
    "spiral, snippets, paper": ("K5a", "tie or win"),
    "spiral, snippets, released": ("K5a-released", "tie or win"),
    "spiral, pasted, paper": ("K6a", "tie or win"),
    "spiral, pasted, released": ("K6a-released", "tie or win"),
    "rotating threes, pixels": ("K8b", "tie"),
    "bouncing balls, ten frames": ("K10b", "win"),
}


def uses() -> list[tuple[str, str, str]]:
    """Task, outcome and what was found, from the claims of this book."""
    claims = {c.id: c for c in load_claims()}
    rows = []
    for task, (name, won) in USES.items():
        verdict = claims[name].verdict()
        said = {REPRODUCED: won, PARTLY: f"{won} in {tally(verdict.parts)}", NOT: "no win"}
        rows.append((task, said.get(verdict.status, verdict.status), verdict.line))
    return rows


def ensembles(place: str) -> list[Runs]:
    """The runs of all models on a system, those that exist."""
    every = (runs_of(LONG_RANGE, config_of(place, m), more=FURTHER) for m in NAMES)
    return [r for r in every if r is not None]


def median_of(runs: Runs, measure: str = "followed") -> float:
    """Median of a measure over runs; a failed one follows for no time."""
    return float(np.median(np.nan_to_num(runs.metrics[measure])))


def table_or_none(measure: str, varied: str) -> pd.DataFrame | None:
    """`table_of`, or None where a record is missing."""
    try:
        return table_of(measure, varied)
    except NotRunError:
        return None


def switches() -> pd.DataFrame:
    """Dynamic particles on Lotka-Volterra with one change at a time."""
    rows = []
    for name in ("dynamic_particles", "static_particles", *SWITCHES):
        runs = runs_of(LONG_RANGE, config_of("lotka_volterra", name), more=FURTHER)
        if runs is None:
            continue
        numbers = int(runs.found[0].facts["parameters"])
        row: dict[str, Any] = {"setting": NAMES.get(name, name), "numbers": numbers}
        for measure in ("followed", "long", "snippet"):
            row[measure] = quartiles(counted(measure, runs))
        rows.append(row)
    return pd.DataFrame(rows)


def hours() -> float:
    """Wall time of all recorded trainings of the paper's grid, in hours."""
    every = records.load_all(LONG_RANGE, "paper")
    return sum(r.provenance["wall_seconds"] for r in every) / 3600


def medians(prediction: Prediction, verdict: Verdict) -> str:
    """The comparisons of a verdict with their medians, or why it is not run.

    Of more than six the range of the effects is told instead.
    """
    if not 0 < len(verdict.parts) <= 6:
        return verdict.found or verdict.reason
    # the rule takes the side claimed lower first: of a followed time that is the rival
    order = -1 if prediction.kind == "better" and prediction.measure in LONGER else 1
    return "; ".join(
        f"{p.what}: {' and '.join(_short(m) for m in p.medians[::order])}, interval of the "
        f"difference {p.interval[0]:.2g} to {p.interval[1]:.2g}"
        for p in verdict.parts
    )
