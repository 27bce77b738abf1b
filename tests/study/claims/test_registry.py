"""The file of claims: whole, tested or excused, and judged without records too."""

import re
from dataclasses import replace

import pytest

from shooting.study import records
from shooting.study.claims import circles, judge_all, load_claims, registry, spiral
from shooting.study.experiments.circles import CirclesConfig, grid
from shooting.study.experiments.spiral import SpiralConfig
from shooting.study.storage import CorruptFileError


def test_every_claim_has_a_test_or_a_reason_and_a_page(root):
    for claim in load_claims():
        assert claim.test or claim.reason
        assert (root / f"{claim.page}.ipynb").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {id: A, place: x, claim: y, tset: z}", "expected the keys of Claim"),
        ("- {id: A, place: x, claim: y}\n- {id: A, place: x, claim: y}", "expected distinct"),
    ],
)
def test_a_faulty_claims_file_is_refused(tmp_path, text, message):
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_claims(path)


def test_every_claim_says_what_was_found_with_a_number():
    judged = judge_all()
    found = {c.id: v.found for c, v in judged if v.status != "not run"}
    assert len(found) > 20
    silent = [name for name, words in found.items() if not re.search(r"\d", words)]
    assert not silent
    for name, words in found.items():
        assert words.endswith("."), name
        assert not {"nan", "inf", "failed"} & set(re.split(r"\W+", words)), name
    commands = [v.reason for _, v in judged if v.status == "not run"]
    assert all("make runs EXPERIMENT=" in reason for reason in commands)


def test_each_effect_lies_on_the_side_that_its_comparison_says():
    """1 is no difference: above it where medians have the claimed sign, with the same interval."""
    for claim, verdict in judge_all():
        for part in verdict.parts:
            if part.is_rate or claim.page.endswith(("15_rotating_mnist", "16_bouncing_balls")):
                continue
            effect = part.effect
            assert (effect.value > 1) == (part.medians[0] < part.medians[1]), part.what
            assert (effect.interval[0] > 1) == (part.interval[0] > 0), part.what
            assert effect.interval[0] <= effect.value <= effect.interval[1], part.what


def test_what_was_changed_after_the_runs_is_declared():
    changed = {c.id: c.changed for c in load_claims() if c.changed}
    assert {"K1b", "K2", "K3b", "K4b", "K7b", "K12a", "K17", "K18", "K25", "K27"} <= set(changed)
    for name, words in changed.items():
        assert words.startswith("Added") or "Before, " in words, name
    added = {c.id for c in load_claims() if c.added}
    assert added == {name for name, words in changed.items() if words.startswith("Added")}


def test_a_claim_without_verdict_is_refused():
    with pytest.raises(ValueError, match="expected a test or a reason in claim A"):
        registry.Claim("A", "x", "y").verdict()


@pytest.mark.parametrize("module", ["spiral", "circles"])
def test_every_claim_runs_without_records(monkeypatch, module):
    monkeypatch.setattr(records, "load", lambda experiment, config: None)
    mine = [c for c in load_claims() if c.test.startswith(f"{module}:")]
    assert len(mine) == {"spiral": 8, "circles": 4}[module]
    assert {c.verdict().status for c in mine} == {"not run"}


def test_claims_ask_for_configs_of_the_grids():
    from shooting.study.experiments.spiral import grid as spiral_grid

    assert spiral._config("released", "dynamic_direct", 128) in set(spiral_grid("paper"))
    assert replace(SpiralConfig.paper(), inflation=64) in set(spiral_grid("paper"))
    wanted = {
        CirclesConfig.paper(inflation=a, classification=w)
        for a in circles.FACTORS
        for w in circles.WEIGHTS
    }
    assert wanted <= set(grid("paper"))


def test_claims_are_plain_text():
    """Their pages show them as they are."""
    assert not [c.id for c in load_claims() if set(c.claim) & set("`$*_\\")]


def test_a_corrupt_record_leaves_its_own_claims_unjudged_and_no_others(monkeypatch):
    """One record of the circles is not what was written: its claims name it, the others go on."""
    sound, victim = records.load, grid("paper")[0]
    whole = {c.id: v.status for c, v in judge_all()}

    def load(experiment, config, **where):
        if config == victim:
            raise CorruptFileError("expected circles.json as written, but it was changed")
        return sound(experiment, config, **where)

    monkeypatch.setattr(records, "load", load)
    judged = {c.id: v for c, v in judge_all()}
    changed = {name for name, v in judged.items() if v.status != whole[name]}
    assert changed
    assert changed <= {c.id for c in load_claims() if c.test.startswith("circles:")}
    assert all("circles.json as written" in judged[name].reason for name in changed)
