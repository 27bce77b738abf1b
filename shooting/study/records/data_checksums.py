"""Fingerprints of the data that runs are trained on, the same on every machine.

``book/records/data.json`` holds one per run; `verification` compares it before it trains. Frames of
the rotating threes and the bouncing balls and the authors' own data are not in it: their checksums
stand in `shooting.study.data` and are compared when they are read.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shooting.study.data import digits, spiral, systems
from shooting.study.data.circles import circles
from shooting.study.data.functions import TARGETS, permutations, samples
from shooting.study.experiments import EXPERIMENTS
from shooting.study.experiments.baselines import BaselineConfig
from shooting.study.experiments.circles import CirclesConfig
from shooting.study.experiments.classifier import ClassifierConfig
from shooting.study.experiments.convex_trap import TrapConfig
from shooting.study.experiments.long_range import LongRangeConfig
from shooting.study.experiments.regression import RegressionConfig
from shooting.study.experiments.spiral import SpiralConfig
from shooting.study.paths import records_folder
from shooting.study.records import schema
from shooting.study.storage import CorruptFileError, atomic_write

DECIMALS = 6  # machines differ in the sixteenth; a data set that differs in the sixth is another
HEX = 16  # digits of a fingerprint

DataSet = tuple[str, Callable[[int], Iterable[Tensor]]]  # name, and arrays by the seed of a run
Known = Mapping[str, Mapping[str, str]]


@functools.singledispatch
def data(config: Any) -> DataSet | None:
    """What a config's runs are trained on, by its type.

    Args:
        config: Settings of a record.

    Returns:
        Name of the data set and its arrays as a function of a run's seed, all drawn in double
        precision; None where the data have checksums of their own.
    """
    return None


@data.register
def _(config: RegressionConfig) -> DataSet:
    count = config.train_points

    def arrays(seed: int) -> Iterable[Tensor]:
        x = samples([seed], count, "train")
        watch = samples([seed], 1000, "watch")
        order = permutations([seed], count, 0)
        return x, TARGETS[config.function](x), watch, order

    return f"{config.function}, {count} points", arrays


@data.register
def _(config: TrapConfig) -> DataSet | None:
    # the authors' own data are in a file with a checksum, and not on every machine
    return None if config.source == "authors-seeds" else data.dispatch(RegressionConfig)(config)


@data.register
def _(config: BaselineConfig) -> DataSet | None:
    return data(config.regression())


@data.register
def _(config: SpiralConfig) -> DataSet:
    def arrays(seed: int) -> Iterable[Tensor]:
        first = spiral.starts([seed], config.batch, "train", 0)
        return spiral.trajectory(), first, spiral.starts([seed], 100, "watch")

    return f"spiral, {config.batch} snippets", arrays


@data.register
def _(config: CirclesConfig) -> DataSet:
    def arrays(seed: int) -> Iterable[Tensor]:
        points, labels = circles([seed], "train")
        return points, labels, permutations([seed], points.shape[1], 0)

    return "circles", arrays


@data.register
def _(config: LongRangeConfig) -> DataSet:
    def arrays(seed: int) -> Iterable[Tensor]:
        name, samples = config.system, config.samples
        drawn = systems.snippets(
            name, [seed], config.count, "train", samples=samples, noise=config.noise
        )
        return systems.orbit(name), drawn

    noise = f", noise {config.noise:g}" if config.noise else ""
    return f"{config.system}, {config.count} snippets of {config.samples}{noise}", arrays


@data.register
def _(config: ClassifierConfig) -> DataSet:
    def arrays(seed: int) -> Iterable[Tensor]:
        train, held = digits.split([seed], validation=config.validation)
        return *train, *held, permutations([seed], train[1].shape[1], 0)

    return f"digits, {'validation' if config.validation else 'test'} images held out", arrays


def fingerprints(config: Any) -> tuple[str, dict[str, str]]:
    """Name of a config's data set and the fingerprint of every run; none where `data` is None."""
    name, arrays = data(config) or ("", None)
    if arrays is None:
        return name, {}
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # rounding to six decimals needs more than float32
    try:
        return name, {str(seed): _digest(arrays(seed)) for seed in config.seeds}
    finally:
        torch.set_default_dtype(before)


def _digest(arrays: Iterable[Tensor]) -> str:
    whole = hashlib.sha256()
    for values in arrays:
        rounded = np.round(values.numpy().astype(np.float64), DECIMALS) + 0.0  # no -0
        whole.update(repr(rounded.shape).encode())
        whole.update(rounded.astype("<f8").tobytes())
    return whole.hexdigest()[:HEX]


def reference() -> dict[str, dict[str, str]]:
    """The fingerprints of all runs of the paper's grids, as this machine makes the data."""
    whole: dict[str, dict[str, str]] = {}
    for config in (c for e in EXPERIMENTS.values() for c in e.grid("paper")):
        found = data(config)
        if found is not None and not set(map(str, config.seeds)) <= set(whole.get(found[0], ())):
            whole.setdefault(found[0], {}).update(fingerprints(config)[1])
    return {name: dict(sorted(v.items(), key=lambda s: int(s[0]))) for name, v in whole.items()}


def path() -> Path:
    """The committed fingerprints."""
    return records_folder() / "data.json"


def renew() -> None:
    """Write the fingerprints afresh, after data were changed on purpose."""
    atomic_write(path(), (json.dumps(reference(), indent=1) + "\n").encode())


def committed() -> Known:
    """The committed fingerprints; empty if there are none."""
    if not path().exists():
        return {}
    try:
        found: Known = json.loads(path().read_bytes())
        wrong = schema.against_fingerprints(found)
    except (ValueError, RecursionError) as error:
        wrong = type(error).__name__
    if wrong:
        raise CorruptFileError(
            f"expected fingerprints of data in {path()}, got {wrong}; restore it from git"
        )
    return found


def differences(config: Any, known: Known) -> list[str]:
    """Every run whose data are not those of the committed fingerprint, with both.

    Args:
        config: Settings of a record.
        known: From `committed`; runs that are not in it are not compared.

    Returns:
        One sentence per run.
    """
    name, each = fingerprints(config)
    noted = known.get(name, {})
    return [
        f"data of seed {seed} ({name}): recorded {noted[seed]}, now {now}; rule: equal everywhere"
        for seed, now in each.items()
        if noted.get(seed, now) != now
    ]
