"""The file of claims: whole, tested or excused, and judged without records too."""

from dataclasses import replace

import pytest

from shooting.study import records
from shooting.study.claims import circles, load_claims, registry, spiral
from shooting.study.experiments.circles import CirclesConfig, grid
from shooting.study.experiments.spiral import SpiralConfig


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


def test_a_claim_without_verdict_is_refused():
    with pytest.raises(ValueError, match="expected a test or a reason in claim A"):
        registry.Claim("A", "x", "y").verdict()


@pytest.mark.parametrize("module", ["spiral", "circles"])
def test_every_claim_runs_without_records(monkeypatch, module):
    monkeypatch.setattr(records, "load", lambda experiment, config: None)
    mine = [c for c in load_claims() if c.test.startswith(f"{module}:")]
    assert len(mine) == {"spiral": 10, "circles": 4}[module]
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
