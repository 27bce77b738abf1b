"""Claims of the paper and their verdicts, computed from records by a rule fixed in advance."""

from shooting.study.claims.registry import Claim, judge_all, load_claims
from shooting.study.claims.rule import Part, Verdict, combine, compare, median_interval

__all__ = [
    "Claim",
    "Part",
    "Verdict",
    "combine",
    "compare",
    "judge_all",
    "load_claims",
    "median_interval",
]
