"""`make bench`: all rungs do the same step; then time them and write book/records/bench.json."""

from __future__ import annotations

import pytest

pytest.importorskip("jax", reason="extra 'bench' is not installed")
pytestmark = [pytest.mark.bench, pytest.mark.filterwarnings("default"), pytest.mark.timeout(1800)]


def test_every_rung_does_the_same_step():
    """Three steps in a row: loss, gradient and Adam's update agree."""
    from bench import check_equal
    from jax_rungs import jax_rungs
    from rungs import Size, torch_rungs

    size = Size(alpha=4, runs=1)
    rungs = {**jax_rungs(size), **torch_rungs(size)}
    for _ in range(3):
        assert check_equal(rungs, inexact=("diffrax Tsit5",)) <= 1e-4  # single precision


def test_the_complete_set_falls_into_two_halves():
    """The paper's: 2 functions, 4 models, 4 inflation factors."""
    from bench import halves

    first, second = halves()
    assert len({*first, *second}) == len(first) + len(second) == 2 * 4 * 4


def test_benchmark(capsys):
    from bench import RECORD, main, ratios

    record = main()
    with capsys.disabled():
        print()
        for name, factor in ratios(record).items():
            print(f"{factor:8.2f}  {name}")
        print(f"{record['provenance']['seconds']:8.0f}  seconds; written to {RECORD.name}")
