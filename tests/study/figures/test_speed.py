"""Figures of the chapter on speed, from a synthetic record."""

import json

import pytest

from shooting.study.figures import speed


def timed(ms):
    clock = {"wall": 2 * ms, "wall_low": ms, "wall_high": 3 * ms}
    return {**clock, "cpu": ms, "cpu_low": 0.9 * ms, "cpu_high": 1.1 * ms}


@pytest.fixture
def record():
    """Twenty runs cost ten times one run; each rung is half the one before."""
    rungs = {name: 64 / 2**i for i, name in enumerate(speed.ORDER)}
    alone = {n: timed(t) for n, t in rungs.items()}
    together = {n: timed(10 * t) for n, t in rungs.items() if "torchdiffeq" not in n}
    by_runs = {1: alone, 20: together}
    return {
        "ladder": [
            {"alpha": a, "runs": s, "times": by_runs[s]} for a in (16, 128) for s in (1, 20)
        ],
        "cost": [
            {
                "name": name,
                "others": {"alpha": 32} if name == "runs" else {"runs": 5},
                "times": {f"{r} {v}": timed(v) for r in ("adjoint", "native") for v in (2, 4)},
            }
            for name in ("runs", "alpha", "particles", "steps")
        ],
        "crossover": {
            "flops": {str(a): {"theta": 2.0 * a, "kernel": 8.0} for a in (2, 4, 8)},
            "times": {
                f"{f} {a}": timed(a if f == "theta" else 4)
                for f in ("theta", "kernel")
                for a in (2, 4, 8)
            },
        },
    }


def test_factors_are_per_run_over_one_run_of_torchdiffeq(record):
    found = speed.factors(record, 16, 20)
    base = record["ladder"][0]["times"][speed.BASE]["cpu"]
    native = record["ladder"][1]["times"]["native"]["cpu"] / 20
    assert found["native"] == pytest.approx(base / native)
    assert speed.factors(record, 16, 1)[speed.BASE] == 1


def test_ladder_labels_every_rung_of_twenty_runs(record):
    fig = speed.ladder(record)
    for ax in fig.axes:
        assert len(ax.texts) == len(speed.ORDER) - 2  # torchdiffeq does one run at a time
    fig.canvas.draw()


def test_cost_is_per_run(record):
    by_runs, by_alpha = speed.cost(record).axes[:2]
    assert list(by_runs.lines[0].get_ydata()) == [1, 1]
    assert list(by_alpha.lines[0].get_ydata()) == [2 / 5, 4 / 5]


def test_crossover_shows_both_ratios(record):
    record["crossover"]["flops"]["8"]["theta"] = 24.0
    (ax,) = speed.crossover(record).axes
    names = [text.get_text() for text in ax.texts]
    shown = {name: list(line.get_ydata()) for name, line in zip(names, ax.lines, strict=False)}
    assert shown == {"time measured": [0.5, 1, 2], "operations counted": [0.5, 1, 3]}
    assert {text.get_text(): text.xy[1] for text in ax.texts} == {
        k: v[-1] for k, v in shown.items()
    }


def test_the_measurement_shown_is_one_of_all_that_were_made(root):
    folder = root / "book" / "records"
    every = json.loads((folder / "bench_history.json").read_text(encoding="utf-8"))
    shown = json.loads((folder / "bench.json").read_text(encoding="utf-8"))
    mine = {entry["date"]: entry["factors"] for entry in every}[shown["provenance"]["date"]]
    assert mine == pytest.approx({what: f for what, _, f, _ in speed.bars(shown)}, rel=1e-3)
    assert len({entry["date"] for entry in every}) == len(every) >= 7
