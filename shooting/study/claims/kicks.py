"""What ``book/kicks_predictions.yaml`` predicted of kicks on the spiral, and what came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from shooting.study.claims.loading import Runs, runs_of
from shooting.study.claims.rule import REPRODUCED, Part, compare, lies, median
from shooting.study.experiments.kicks import FACTORS, KICKED, KICKS, names, setting
from shooting.study.experiments.spiral import PROTOCOLS
from shooting.study.paths import book_file

HOLDS, PARTLY, FAILS, NOT_RUN = "holds", "partly", "fails", "not run yet"
BEST_DIRECT = "best direct"
MORE_IS_BETTER = ("followed",)
Key = tuple[str, str, int]  # name of a setting, protocol, alpha


@dataclass(frozen=True)
class Prediction:
    """One prediction and its comparisons.

    Attributes:
        name: Short name.
        words: As written before the runs.
        why: The reason given then.
        undecided: Whether it says that no side is ahead.
        factor: Which part of the other side is the criterion.
        parts: Its comparisons by protocol and alpha; those without records are missing.
        planned: How many comparisons it makes.
    """

    name: str
    words: str
    why: str
    undecided: bool
    factor: float
    parts: Mapping[tuple[str, int], Part]
    planned: int

    @property
    def verdict(self) -> str:
        """``holds`` if every comparison is as predicted; ``partly`` if some are."""
        if len(self.parts) < self.planned:
            return NOT_RUN
        hits = [self.hit(part) for part in self.parts.values()]
        return HOLDS if all(hits) else PARTLY if any(hits) else FAILS

    def hit(self, part: Part) -> bool:
        """Whether one comparison came out as predicted."""
        low, high = part.interval
        return low <= 0 <= high if self.undecided else part.status == REPRODUCED

    @property
    def found(self) -> str:
        """The comparisons in words: the ratio of the medians, and whether it is as predicted."""
        told = []
        for (protocol, alpha), part in self.parts.items():
            sure = "as predicted" if self.hit(part) else "not so"
            told.append(f"{protocol}, α = {alpha}: {self.share(part):.2f} ({sure})")
        return "; ".join(told) or "no records"

    def share(self, part: Part) -> float:
        """Median of the side named first, as a part of that of the other."""
        lower, other = part.medians
        return self.factor * lower / other


def recorded() -> dict[Key, Runs]:
    """The runs of each setting that has a record."""
    found = {
        (n, p, a): runs_of(KICKS, setting(n, p, a))
        for n in names()
        for p in PROTOCOLS
        for a in FACTORS
    }
    return {key: runs for key, runs in found.items() if runs is not None}


def predictions(by: Mapping[Key, Runs] | None = None) -> list[Prediction]:
    """All predictions, judged by the records there are.

    Args:
        by: Runs by setting; the committed and local ones if left out.
    """
    known = recorded() if by is None else by
    text = book_file("kicks_predictions.yaml").read_text(encoding="utf-8")
    return [_judged(entry, known) for entry in yaml.safe_load(text)["predictions"]]


def _judged(entry: Mapping[str, Any], known: Mapping[Key, Runs]) -> Prediction:
    metric, factor = entry["metric"], entry["factor"]
    places = [(p, a) for p in entry["protocols"] for a in FACTORS]
    parts = {}
    for protocol, alpha in places:
        sides = [known.get((entry[side], protocol, alpha)) for side in ("lower", "other")]
        if sides[0] is None or sides[1] is None:
            continue
        first, second = (side.metrics[metric] for side in sides if side is not None)
        what = f"{metric}, {protocol}, α = {alpha}: {entry['lower']} below {entry['other']}"
        parts[protocol, alpha] = compare(what, first, [factor * v for v in second])
    undecided = bool(entry.get("undecided", False))
    name, words, why = (str(entry[key]) for key in ("name", "words", "why"))
    return Prediction(name, words, why, undecided, factor, parts, len(places))


def against(by: Mapping[Key, Runs], other: str, metric: str) -> dict[tuple[str, int], Part]:
    """One metric with kicks against another setting, by protocol and alpha.

    Args:
        by: Runs by setting; all that are compared.
        other: Name of a setting, or `BEST_DIRECT` for that of the direct ones with the best median.
        metric: Name of a metric; one of `MORE_IS_BETTER` is negated on both sides.

    Returns:
        The comparisons that kicks have the better median.
    """
    sign = -1 if metric in MORE_IS_BETTER else 1
    found = {}
    for place in ((p, a) for p in PROTOCOLS for a in FACTORS):
        rivals = [n for n in names() if n.startswith("direct")] if other == BEST_DIRECT else [other]
        values = [[sign * v for v in by[n, *place].metrics[metric]] for n in (KICKED, *rivals)]
        best = min(values[1:], key=median)
        found[place] = compare(f"{metric}, {place[0]}, α = {place[1]}", values[0], best)
    return found


def decided(part: Part) -> str:
    """Whether kicks are better or worse by the interval, or it is undecided."""
    return lies(part.interval, "better", "worse", "undecided")


def told(part: Part) -> str:
    """Median with kicks as a share of the other's, and what is decided: ``0.84, better``."""
    return f"{part.medians[0] / part.medians[1]:.2f}, {decided(part)}"
