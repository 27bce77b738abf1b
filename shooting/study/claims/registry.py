"""`book/claims.yaml`: what the paper claims, where, and which function tests it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

import yaml

from shooting.study.claims.rule import NOT_RUN, Verdict
from shooting.study.paths import book_file
from shooting.study.records import NotRunError
from shooting.study.storage import CorruptFileError


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Attributes:
        id: Number in this book.
        place: Where the paper makes it.
        claim: The claim, in our words.
        test: ``module:function`` below `shooting.study.claims`, or empty if not testable here.
        tolerance: The bar, set before the runs.
        page: Our page.
        reason: Why there is no test, if there is none.
        short: The claim in a few words, for a picture.
        changed: What was changed or added after the runs, and the verdict before it.
        added: Whether the whole claim was added after the runs, so that it is counted apart.
    """

    id: str
    place: str
    claim: str
    test: str = ""
    tolerance: str = ""
    page: str = ""
    reason: str = ""
    short: str = ""
    changed: str = ""
    added: bool = False

    def verdict(self) -> Verdict:
        """Compute the verdict from the records; one that lacks a whole record is not judged.

        Raises:
            ValueError: If the claim has neither a test nor a reason for having none.
        """
        if not self.test:
            if not self.reason:
                raise ValueError(f"expected a test or a reason in claim {self.id}, got neither")
            return Verdict(NOT_RUN, self.reason)
        module, _, function = self.test.partition(":")
        place = importlib.import_module(f"shooting.study.claims.{module}")
        try:
            found: Verdict = getattr(place, function)()
        except (NotRunError, CorruptFileError) as missing:
            return Verdict(NOT_RUN, str(missing))
        return found


def load_claims(path: Path | None = None) -> list[Claim]:
    """Read the claims file.

    Raises:
        ValueError: If an entry has unknown or missing keys, or an id repeats.
    """
    path = path or book_file("claims.yaml")
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        claims = [Claim(**entry) for entry in entries]
    except TypeError as error:
        raise ValueError(f"expected the keys of Claim in {path.name}, got {error}") from error
    if len({c.id for c in claims}) < len(claims):
        raise ValueError(f"expected distinct claim ids in {path.name}; rename the repeated one")
    return claims


def judge_all() -> list[tuple[Claim, Verdict]]:
    """All claims with their verdicts."""
    return [(claim, claim.verdict()) for claim in load_claims()]
