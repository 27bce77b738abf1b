"""Verdicts as HTML: found first, then the counts with the verdict, then the comparisons, folded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from shooting.study.claims.items import Item
from shooting.study.claims.links import badge, link, table
from shooting.study.claims.registry import Claim, load_claims
from shooting.study.claims.rule import (
    NOT,
    NOT_RUN,
    PARTLY,
    REPRODUCED,
    Part,
    Verdict,
    behind_counts,
)
from shooting.study.claims.words import number, percent, share

Judged = tuple[Claim, Verdict]


def verdicts_of(page: str) -> str:
    """The verdicts on the claims of a page, as a table for its end.

    Args:
        page: Its name in notebooks/, such as ``13_circles``.

    Raises:
        ValueError: If no claim belongs to the page.
    """
    mine = [(c, c.verdict()) for c in load_claims() if c.page == f"notebooks/{page}"]
    if not mine:
        raise ValueError(f"expected a page with claims, got {page!r}; try '13_circles'")
    return table(
        ("claim", "the paper says", "found", "verdict"),
        [(escape(c.id), escape(c.claim), found(v), badge(v.counted)) for c, v in mine],
        name="verdicts",
    )


def tally(verdicts: Iterable[Judged]) -> dict[str, int]:
    """Counts for a sentence: claims, each verdict, and the comparisons of those that hold partly.

    Args:
        verdicts: Claims with their verdicts.

    Returns:
        Counts by ``claims``, ``reproduced``, ``partly``, ``not-reproduced``, ``not-run``,
        ``held`` and ``compared``.
    """
    every = [v for _, v in verdicts]
    parts = [p for v in every if v.status == PARTLY for p in v.parts]
    by_status = Counter(v.status for v in every)
    return {
        "claims": len(every),
        **{s.replace(" ", "-"): by_status[s] for s in (REPRODUCED, PARTLY, NOT, NOT_RUN)},
        "held": sum(p.status == REPRODUCED for p in parts),
        "compared": len(parts),
    }


def overview(verdicts: Sequence[Judged]) -> str:
    """All claims, each linked to its page: what was found, and the verdict behind its counts."""
    return table(
        ("claim", "the paper says", "found", "verdict"),
        [
            (
                _named(c),
                f"{escape(c.claim)}<br><small>{escape(c.place)}</small>",
                found(v),
                badge(v.counted),
            )
            for c, v in verdicts
        ],
        name="claims",
    )


def _named(claim: Claim) -> str:
    late = "added later" if claim.added else "changed" if claim.changed else ""
    name = link(claim.page.removeprefix("notebooks/"), claim.id)
    return name + (f"<br><small>{late}</small>" if late else "")


def found(verdict: Verdict) -> str:
    """What was found; or why the claim is not run."""
    return escape(verdict.found or verdict.reason)


def of_item(item: Item, judged: Mapping[str, Verdict]) -> str:
    """What became of an item of the paper, behind the counts of all comparisons of its claims.

    Args:
        item: The item.
        judged: Verdict of each claim by its id.
    """
    known = {name: v.status for name, v in judged.items()}
    parts = [p for name in item.judged_by(known) for p in judged[name].parts]
    return behind_counts(item.verdict(known), parts)


def comparisons(verdicts: Iterable[Judged]) -> str:
    """The comparisons behind each claim, folded, with its criterion."""
    return "\n".join(_folded(c, v) for c, v in verdicts if v.parts)


def _folded(claim: Claim, verdict: Verdict) -> str:
    head = ("comparison", "values", "runs", "effect", "verdict")
    rows = [_comparison(p) for p in verdict.parts]
    name = f"{claim.id}, {claim.short}" if claim.short else claim.id
    return (
        f"<details><summary>{escape(name)}: {escape(verdict.counted)}</summary>\n"
        f"<p>Criterion: {escape(claim.tolerance)}</p>\n"
        + table(head, rows, name=f"comparisons-{claim.id}")
        + "</details>"
    )


def _comparison(part: Part) -> tuple[str, ...]:
    runs = " / ".join(str(n) for n in part.runs if n)
    status = part.status + (", undecided" if part.is_undecided else "")
    values = " / ".join(map(number, part.medians))
    return escape(part.what), values, runs, effect(part), escape(status)


def effect(part: Part) -> str:
    """A ratio or a rate with its interval: ``2.10 [1.95, 2.31]``; single runs have none."""
    value, ends = part.effect.value, part.effect.interval
    if part.is_rate and ends:
        return f"{percent(value)} % [{percent(ends[0])}, {percent(ends[1])}]"
    return (
        f"{share(value)} [{share(ends[0])}, {share(ends[1])}]"
        if ends
        else f"{share(value)}, one run"
    )


def changes(claims: Iterable[Claim]) -> str:
    """What was changed or added after the runs, as a list."""
    lines = [f"<li><b>{escape(c.id)}</b>: {escape(c.changed)}</li>" for c in claims if c.changed]
    return f'<ul class="changes">{"".join(lines)}</ul>'
