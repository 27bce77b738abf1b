"""Where the authors' own runs of the regression start: states and data of their seeds 0-49.

Made once by running their released code up to its first step (quadratic-like function, alpha = 16,
K = 15), and for seed 0 over its first 100. The files are not part of this repository; they lie in
``$SHOOTING_DATA/authors_seeds``.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shooting.errors import MissingDataError
from shooting.study.paths import data_folder
from shooting.study.storage import CorruptFileError

FOLDER = "authors_seeds"
STARTS = "quadratic_a16_K15_seeds0-49.npz"
STEPS = "quadratic_a16_K15_seed0_first_steps.npz"
FILES = {  # sha256
    STARTS: "9c3bac0bf9dadf034a6cbf2c7dfeeac1a6380ab776770fc3c3cb580c80bed776",
    STEPS: "5f3c79c43732fa324e8384ecb19dbccaf5c9139beed5fdaf55a18c36664c3614",
}
SEEDS = 50
PARTS = ("x", "v", "p", "lift_weight", "lift_bias")
REMEDY = (
    f"put it into the folder $SHOOTING_DATA/{FOLDER}; it is made by running the authors' released "
    "code and saving what each seed draws, see shooting/study/data/authors_seeds.py"
)


@dataclass(frozen=True)
class Starts:
    """What the authors' code draws for some seeds, float32.

    Attributes:
        parts: Learned parameters by our names, each ``(runs, ...)``: x ``(K, 1)``, v ``(K, 16)``,
            p ``(K, 17)`` in the published scale, lift_weight ``(16, 1)``, lift_bias ``(16,)``.
        train: Training points ``(runs, 500, 1)``.
        watch: Points that the plateau schedule looks at, ``(runs, 1000, 1)``.
    """

    parts: dict[str, np.ndarray]
    train: np.ndarray
    watch: np.ndarray


@dataclass(frozen=True)
class FirstSteps:
    """The first 100 steps of the authors' code with seed 0.

    Attributes:
        losses: Training loss before each step, ``(100,)``.
        batches: Points of each step, ``(100, 50, 1)``.
        end: Learned parameters after the last step, as in `Starts`, without the run axis.
    """

    losses: np.ndarray
    batches: np.ndarray
    end: dict[str, np.ndarray]


def starts(seeds: Sequence[int]) -> Starts:
    """Initial states and data of some of the authors' seeds.

    Args:
        seeds: Among 0 to 49.

    Returns:
        Arrays with the run axis in the order of `seeds`.

    Raises:
        ValueError: If a seed is none of theirs.
        MissingDataError: If the file is not on this machine.
        CorruptFileError: If it is another one.
    """
    if wrong := [s for s in seeds if not 0 <= s < SEEDS]:
        raise ValueError(
            f"expected seeds of the authors' runs, 0 to {SEEDS - 1}, got {wrong}; take fewer"
        )
    known, rows = _read(STARTS), list(seeds)
    parts = {name: known[name][rows] for name in PARTS}
    return Starts(parts, known["train"][rows], known["watch"][rows])


def first_steps() -> FirstSteps:
    """Losses, batches and last parameters of the authors' first 100 steps with seed 0.

    Raises:
        MissingDataError: If the file is not on this machine.
        CorruptFileError: If it is another one.
    """
    known = _read(STEPS)
    end = {k.removeprefix("end/"): v for k, v in known.items() if k.startswith("end/")}
    momenta = [end["p_q1"][:, 0], end["p_q2"][:, 0]]
    parts = {
        "x": end["q1"][:, 0],
        "v": end["q2"][:, 0],
        "p": np.concatenate(momenta, axis=-1),
        "lift_weight": end["simple_init__weight"],
        "lift_bias": end["simple_init__bias"],
    }
    return FirstSteps(known["losses"], known["batches"][..., None], parts)


def _read(name: str) -> Mapping[str, np.ndarray]:
    folder = data_folder()
    path = folder / FOLDER / name if folder else None
    if path is None or not path.exists():
        where = "that folder has none" if folder else "the variable is not set"
        raise MissingDataError(
            f"expected {name} in $SHOOTING_DATA/{FOLDER}, got nothing ({where}); {REMEDY}"
        )
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != FILES[name]:
        raise CorruptFileError(
            f"expected {name} with sha256 {FILES[name][:12]}…, got {found[:12]}…; {REMEDY}"
        )
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return dict(arrays)
