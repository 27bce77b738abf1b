"""The table of forged records is what forging them gives, and nothing that is read is missed."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from tests.study.records import forging
from tests.study.records.forging import WAYS, chosen, forgeries, trials, written


@pytest.fixture(scope="module")
def known():
    return chosen()


@pytest.fixture(scope="module")
def result():
    return yaml.safe_load(forging.RESULT.read_text(encoding="utf-8"))


def test_the_page_shows_the_table_of_the_file(result):
    assert forging.on_the_page(forging.PAGE.read_text(encoding="utf-8")) == forging.table(result)


@pytest.mark.slow
@pytest.mark.parametrize("experiment", sorted(forging.CHOSEN))
def test_the_file_says_what_forging_gives(known, result, tmp_path, experiment):
    """Without the trainings: the last column takes one, which the command makes."""
    about, record = result[experiment], known[experiment]
    assert about["record"] == record.id
    for key, missed in trials(record, None, tmp_path).items():
        if key.startswith(WAYS[2]):
            continue
        said = about[key]["missed and read"] + about[key]["missed, read by nothing"]
        assert {f for f in missed if not f.startswith("provenance ")} == set(said)


def test_nothing_that_is_read_is_missed_where_an_honest_training_leaves_the_same_bits(result):
    """Also with another processor in the record, which makes the other rules apply."""
    for about in result.values():
        for way in WAYS[:2]:
            assert about[f"{way}, after"]["missed and read"] == []
        assert about[f"{WAYS[1]}, before"]["missed and read"] != []  # control: so it was


def test_no_honest_record_is_called_wrong(result):
    for about in result.values():
        assert {about[f"{way}, after"]["honest record"] for way in WAYS} == {"agrees"}


def test_a_forgery_is_one_change_that_is_written_like_a_record(known, tmp_path):
    record = known["baselines"]
    tried = list(forgeries(record))
    assert len({name for name, *_ in tried}) == len(tried)
    by = {name: (name, *rest) for name, *rest in tried}
    forged = written(record, by["metric mse"], tmp_path)
    assert forged is not None
    off = forged.metrics["mse"] - record.metrics["mse"]
    assert np.count_nonzero(off) == 1
    assert off.max() == pytest.approx(0.1 * np.ptp(record.metrics["mse"]))
    assert written(record, by["setting size"], tmp_path) is None  # refused: another config
    honest = written(record, ("none", *forging.read(record)), tmp_path)
    assert honest is not None
    assert not np.count_nonzero(honest.metrics["mse"] - record.metrics["mse"])  # control
