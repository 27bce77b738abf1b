"""The cure for stuck runs of the regression, tried on the spiral: lift frozen for 50 epochs.

Setting: dynamic with particles, K = 15, both protocols, alpha = 16 and 64, seeds 0-49, with the
positions of the particles frozen for the first 50 epochs as published, or the lift as well. Written
down before the runs: the spiral has no target with a mean to follow and no convex trap is known
there, so that the cure should neither help nor harm; the intervals of the median short loss should
overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shooting.fit import Checkpoint
from shooting.study.experiments import spiral
from shooting.study.experiments.base import Experiment, Outcome, check_profile
from shooting.study.experiments.convex_trap import BOTH, SEEDS
from shooting.study.experiments.spiral import SpiralConfig


@dataclass(frozen=True)
class SpiralCureConfig(SpiralConfig):
    """A config of the spiral with particles, and which parts are frozen at first.

    Attributes:
        frozen: Parts of the parameters that stay for the first `frozen_epochs` epochs.
    """

    seeds: tuple[int, ...] = SEEDS
    frozen: tuple[str, ...] = ("x",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.particles:
            raise ValueError(
                f"expected a model with particles, got {self.model!r}; try 'dynamic_particles'"
            )


def train(config: SpiralCureConfig, checkpoint: Checkpoint | None = None) -> Outcome:
    """Train one ensemble and measure it as the spiral's.

    Args:
        config: Settings.
        checkpoint: Where to resume from and save to.

    Returns:
        What the spiral leaves.
    """
    return spiral.train(config, checkpoint, frozen=config.frozen)


def grid(profile: str) -> Sequence[SpiralConfig]:
    """All ensembles of a profile: `quick` with three seeds, `paper` as the module says."""
    if check_profile(profile) == "quick":
        return [SpiralCureConfig(seeds=(0, 1, 2), frozen=BOTH)]
    return [
        make(inflation=a, frozen=frozen)
        for make in (SpiralCureConfig.paper, SpiralCureConfig.released)
        for a in (16, 64)
        for frozen in (("x",), BOTH)
    ]


SPIRAL_CURE = Experiment("spiral_cure", SpiralCureConfig, grid, train)
