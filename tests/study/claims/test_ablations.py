"""Claims about other models at as many parameters."""

from types import SimpleNamespace

import numpy as np

from shooting.study import records
from shooting.study.claims import ablations
from tests.study.claims.pretending import spread


def test_a_rival_with_as_many_parameters_is_no_gain(monkeypatch):
    """K25 asks for half the parameters first: at equal loss it holds, unless they are not."""

    def load(experiment, config):
        metrics = {"loss": spread(1.0, len(config.seeds))}
        failed_at = np.full(len(config.seeds), -1)
        return SimpleNamespace(
            id="test", config=config, metrics=metrics, failed_at=failed_at, arrays={}
        )

    monkeypatch.setattr(records, "load", load)
    assert ablations.fewer_parameters().status == "reproduced"
    monkeypatch.setattr(ablations, "FEWER", 0.3)  # at α = 16 it is 542 of 1557
    parts = ablations.fewer_parameters().parts
    assert [p.status for p in parts if "α = 16" in p.what] == ["not reproduced"] * 2
    assert {p.status for p in parts if "α = 16" not in p.what} == {"reproduced"}
