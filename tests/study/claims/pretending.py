"""Records that were never trained: their metrics are what a test says."""

from types import SimpleNamespace

import numpy as np

from shooting.study import records

ORDER = ("dynamic_particles", "static_particles", "static_direct", "dynamic_direct")


def pretend(monkeypatch, metrics):
    """Records whose metrics are a function of the config."""

    def load(experiment, config):
        return SimpleNamespace(id="test", config=config, metrics=metrics(config), arrays={})

    monkeypatch.setattr(records, "load", load)


def spread(level, runs=10):
    return level * (1 + 0.01 * np.arange(runs))


def record_of(config, **metrics):
    failed_at = np.full(len(config.seeds), -1)
    return SimpleNamespace(
        id="test", config=config, metrics=metrics, failed_at=failed_at, arrays={}
    )


def errors(fits):
    """Records with an error of 0 where a run fits, of 1 elsewhere; 40 more seeds for K = 15."""

    def load(experiment, config):
        runs = len(config.seeds)
        if runs > 10 and config.particles != 15:
            return None
        metrics = {"mse": np.where(fits(config, runs), 0.0, 1.0)}
        return SimpleNamespace(
            id="test", config=config, metrics=metrics, failed_at=np.full(runs, -1), arrays={}
        )

    return load
