"""`book/items.yaml`: every item of the paper, where this book treats it, what became of it."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from shooting.study import records
from shooting.study.claims.rule import NOT, NOT_RUN, PARTLY, REPRODUCED
from shooting.study.experiments import EXPERIMENTS
from shooting.study.paths import book_file
from shooting.study.records.store import folders

# How many items of each kind the paper has.
COUNTS = {
    "figure": 11,
    "unnumbered figure": 3,  # two beside the text of Section 4, one promised and missing
    "table": 5,
    "equation": 20,
    "display": 10,  # used, but without a number
    "statement": 7,
    "experiment": 6,
    "model": 4,
    "claim": 27,
    "topic": 5,  # of the appendices
    "settings": 5,
    "contribution": 4,
    "footnote": 5,
    "question": 9,
}
# What can be said of an item that no claim judges, and what it means.
STATUSES = {
    "holds": "as printed",
    "corrected": "right after a correction, listed in the errata",
    "false, repaired": "has a counterexample here, and a substitute",
    "reproduced exactly": "our models give the same integers",
    "redrawn": "drawn anew; nothing in it to judge",
    "built": "part of the package",
    "stated": "written out in full, with all deviations",
    "answered": "settled here, by proof or computation",
    "partly answered": "something is settled here, something is not",
    "open": "not settled here",
    "theory corrected, experiments judged claim by claim": "see the claims",
    "not judged": "stated in the paper, not tested here",
    "not here": "not done, with the reason",
}
UNDONE = ("not here", "not judged")


@dataclass(frozen=True)
class Item:
    """One item of the paper.

    Attributes:
        id: Its name here.
        kind: Key of `COUNTS`.
        place: Where the paper has it.
        what: What it is, in our words.
        see: ``page#label`` or ``page``; pages are notebooks unless they start with ``book/``.
        status: Key of `STATUSES`; empty if claims judge the item.
        claims: Ids in `book/claims.yaml`.
        errata: Numbers of corrections.
        command: What redraws or recomputes it; empty if that happens with its page.
        runs: The experiment behind it and the settings that select its records.
        reason: Why it is not treated, if it is not.
    """

    id: str
    kind: str
    place: str
    what: str
    see: tuple[str, ...] = ()
    status: str = ""
    claims: tuple[str, ...] = ()
    errata: tuple[str, ...] = ()
    command: str = ""
    runs: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""

    @property
    def number(self) -> str:
        """``K8`` for the paper's eighth claim; empty for other kinds."""
        return self.id.removeprefix("claim-") if self.kind == "claim" else ""

    def judged_by(self, known: Mapping[str, str]) -> list[str]:
        """Ids of the claims that judge it: those listed, and those that carry its number."""
        mine = [c for c in known if self.number and claim_number(c) == self.number]
        return list(dict.fromkeys([*self.claims, *mine]))

    def verdict(self, known: Mapping[str, str]) -> str:
        """What became of it.

        Args:
            known: Verdict of each claim by its id.

        Returns:
            The verdicts of its claims, summed up; its status if no claim judges it.
        """
        found = [known[c] for c in self.judged_by(known)]
        return summary(found) if found else self.status


@dataclass(frozen=True)
class Cost:
    """What the runs behind an item took.

    Attributes:
        recorded: Ensembles with a record.
        wanted: Ensembles of the grid.
        seconds: Wall time of the recorded ones, one process each.
    """

    recorded: int
    wanted: int
    seconds: float


def claim_number(claim: str) -> str:
    """``K5`` of ``K5a-released``."""
    found = re.match(r"K\d+", claim)
    return found.group() if found else ""


def summary(verdicts: list[str]) -> str:
    """One verdict if all agree, else how many of each, best first.

    Args:
        verdicts: At least one.
    """
    counted = [(v, verdicts.count(v)) for v in (REPRODUCED, PARTLY, NOT, NOT_RUN)]
    present = [(v, n) for v, n in counted if n]
    if len(present) == 1:
        return present[0][0]
    return ", ".join(f"{n} {v}" for v, n in present)


def load_items(path: Path | None = None) -> list[Item]:
    """Read the list of items.

    Raises:
        ValueError: If an entry has unknown or missing keys.
    """
    path = path or book_file("items.yaml")
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    lists = ("see", "claims", "errata")
    try:
        return [Item(**e | {k: tuple(e.get(k, ())) for k in lists}) for e in entries]
    except TypeError as error:
        raise ValueError(f"expected the keys of Item in {path.name}, got {error}") from error


def complaints(items: Sequence[Item], claims: Sequence[str], errata: str) -> list[str]:
    """What is wrong with a list of items; empty if it is complete and sound.

    Args:
        items: The list.
        claims: Ids of all claims.
        errata: Text of the page of corrections.
    """
    counts = Counter(i.kind for i in items)
    found = [
        f"{counts[k]} of kind {k}, expected {COUNTS.get(k, 0)}"
        for k in sorted({*counts, *COUNTS})
        if counts[k] != COUNTS.get(k, 0)
    ]
    found += [
        f"{n} items named {name}" for name, n in Counter(i.id for i in items).items() if n > 1
    ]
    numbers = {i.number for i in items}
    found += [f"claim {c} belongs to no item" for c in claims if claim_number(c) not in numbers]
    return found + [f"{i.id}: {text}" for i in items for text in _faults(i, claims, errata)]


def _faults(item: Item, claims: Sequence[str], errata: str) -> Iterator[str]:
    judged = item.judged_by(dict.fromkeys(claims, ""))
    yield from (f"no claim {c}" for c in item.claims if c not in claims)
    yield from (f"no correction {e}" for e in item.errata if f"**{e}**" not in errata)
    if item.status and item.status not in STATUSES:
        yield f"status {item.status!r} is not among {list(STATUSES)}"
    if bool(item.status) == bool(judged) and item.kind != "claim":
        yield "expected either claims or a status"
    if not (item.status or judged):
        yield "no verdict"
    if not item.see and not item.reason or item.status in UNDONE and not item.reason:
        yield "neither a page nor a reason"


def cost(item: Item) -> Cost | None:
    """What its runs took so far, from the records' provenance; None if it has no runs."""
    if not item.runs:
        return None
    wanted = dict(item.runs)
    taken = durations(wanted.pop("experiment"), folders())
    chosen = [
        seconds
        for config, seconds in taken
        if all(getattr(config, name) in values for name, values in wanted.items())
    ]
    done = [s for s in chosen if s is not None]
    return Cost(len(done), len(chosen), sum(done))


@functools.cache
def durations(name: str, _folders: tuple[Path, ...]) -> list[tuple[Any, float | None]]:
    """Wall seconds of each config of an experiment's grid, None where nothing is recorded."""
    experiment = EXPERIMENTS[name]
    found = [(c, records.load(experiment, c)) for c in experiment.grid("paper")]
    return [(c, float(r.provenance["wall_seconds"]) if r else None) for c, r in found]
