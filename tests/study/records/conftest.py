"""The record that most tests look at."""

from __future__ import annotations

import pytest
from toy import TOY

from shooting.study import records
from tests.study.records.handling import CONFIG


@pytest.fixture
def record(folders):
    return records.compute(TOY, CONFIG)
