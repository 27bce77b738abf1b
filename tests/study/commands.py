"""What the tests of the command line share."""

from __future__ import annotations

import dataclasses

from toy import TOY

from shooting.study.experiments import EXPERIMENTS
from shooting.study.records.identity import record_id

TOY_RUN = ["run", "--experiment", "toy"]


def ids(profile):
    return [record_id("toy", c) for c in TOY.grid(profile)]


def stop_the_first(monkeypatch, error):
    """The training of the first toy config ends by an error."""

    def train(config, checkpoint):
        if config.label == 0:
            raise error
        return TOY.train(config, checkpoint)

    monkeypatch.setitem(EXPERIMENTS, "toy", dataclasses.replace(TOY, train=train))
