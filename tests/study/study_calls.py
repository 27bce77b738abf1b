"""Generated calls of all public names, library and study, counted into the book.

``PYTHONPATH=.:tests python tests/study/study_calls.py --count 10000 --write after`` makes ten
thousand calls and keeps their number by outcome in ``book/calls.json``; without ``--write`` it
shows what went wrong.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import typing
from pathlib import Path
from typing import Any

from call_targets import ARRAYS, NO_NUMBER, NUMBERS, STRANGE, TARGETS, WORDS, consts, without
from calls import MEANING, OUTCOMES, Kind, Target, counted, generate, ready, run

from shooting.study.experiments.ablations import AblationConfig
from shooting.study.experiments.baselines import BaselineConfig
from shooting.study.experiments.bouncing_balls import BallsConfig
from shooting.study.experiments.circles import CirclesConfig
from shooting.study.experiments.convex_trap import TrapConfig
from shooting.study.experiments.regression import RegressionConfig
from shooting.study.experiments.rotating_mnist import RotatingConfig
from shooting.study.experiments.spiral import SpiralConfig
from shooting.study.experiments.spiral_cure import SpiralCureConfig

CONFIGS = (AblationConfig, BallsConfig, BaselineConfig, CirclesConfig, RegressionConfig,
           RotatingConfig, SpiralConfig, SpiralCureConfig, TrapConfig)  # fmt: skip
BOOK = Path(__file__).resolve().parents[2] / "book"
RESULTS, PAGE = BOOK / "calls.json", BOOK / "checklists.md"
BEGIN, END = "<!-- calls -->", "<!-- end of calls -->"
# Wrong values of a setting by its type; the right ones are its default
WRONG: dict[Any, dict[str, Any]] = {
    int: {**NO_NUMBER, **consts(-1, 2.5, "3", float("inf"))},
    float: {**NO_NUMBER, **consts(-1.0, float("inf"), "0.1", 10**400)},
    str: {**without(WORDS, "''", "True"), **consts(1j)},
    bool: {**STRANGE, **NUMBERS, **ARRAYS, **consts("yes", 2)},
    tuple[int, ...]: {**without(STRANGE, "()", "[]"), **NUMBERS, **ARRAYS,
                      **consts((0.5,), ("a",), (0, 0), "01", (None,), (True,))},
    tuple[str, ...]: {**without(STRANGE, "()", "[]", "['a']", "{}"), **NUMBERS,
                      **consts((1,), "x", (None,), ("x", "x"))},
}  # fmt: skip
WRONG[bool] = without(WRONG[bool], "True")


def settings(config: Any) -> Target:
    """A config, each setting with its default or something else."""
    hints = typing.get_type_hints(config)
    kinds = {
        f.name: Kind(consts(f.default), without(WRONG[hints[f.name]], repr(f.default)))
        for f in dataclasses.fields(config)
    }
    return Target(config, kinds, tuple(kinds))


STUDY: dict[str, Target] = {config.__name__: settings(config) for config in CONFIGS}
EVERYTHING = {**TARGETS, **STUDY}


def table(kept: dict[str, dict[str, int]]) -> list[str]:
    """Lines of the page's table."""
    rows = [f"| {MEANING[k]} | {kept['before'][k]} | {kept['after'][k]} |" for k in OUTCOMES]
    return ["", "| a call ends in | before | after |", "|---|---|---|", *rows, ""]


def main() -> None:
    """Make calls, count them, and keep the counts or show what went wrong."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=10_000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--write", choices=("before", "after"))
    given = options.parse_args()
    ready()
    found = run(EVERYTHING, given.count, seed=given.seed)
    counts = counted(found)
    print(counts)
    if given.write:
        kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        kept[given.write] = {"seed": given.seed, "calls": len(found), **counts}
        RESULTS.write_text(json.dumps(kept, indent=2) + "\n")
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(before + "\n".join([BEGIN, *table(kept), END]) + after, encoding="utf-8")
        return
    for index, kind, text in found:
        if kind not in ("result", "refused"):
            print(f"{kind:8} {generate(EVERYTHING, index, given.seed)} -> {text[:200]}")


if __name__ == "__main__":
    main()
