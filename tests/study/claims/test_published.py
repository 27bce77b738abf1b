"""The report's tables: every published number has a place, ours come from records."""

from types import SimpleNamespace

import numpy as np

from shooting.study.claims import published
from shooting.study.claims.published import PUBLISHED


def test_every_published_number_has_a_place():
    assert all(p.place for p in PUBLISHED if p.paper)
    assert all(p.released_place for p in PUBLISHED if p.released)
    assert all(p.paper or p.released for p in PUBLISHED)
    assert len({p.what for p in PUBLISHED}) == len(PUBLISHED)


def test_without_records_nothing_is_claimed(monkeypatch):
    monkeypatch.setattr(published.records, "load", lambda experiment, config: None)
    ours = {p.what: p.ours() for p in PUBLISHED}
    counted = ours.pop("parameters, all entries")
    assert counted == "56 of 56 equal"
    assert all(text.startswith("not run") for text in ours.values())


def test_control_a_wrong_count_is_counted(monkeypatch):
    monkeypatch.setitem(published.TABLE_2, "static direct", (1282, 4610, 17410, 67587))
    assert published.counts() == "55 of 56 equal"


def test_ours_are_read_from_the_records(monkeypatch):
    def load(experiment, config):
        rate = 0.5 if config.classification > 1 else 0.1
        fits = np.where(np.arange(50) < 50 * rate, 1.0, np.nan)  # failed runs do not fit
        return SimpleNamespace(metrics={"fits": fits, "generalises": fits})

    monkeypatch.setattr(published.records, "load", load)
    assert published.circles_swept(5).startswith("10 to 50 %")
    assert published.circles_released(5) == "10 % of 50 runs"
