"""The experiments of the paper, one module each; `EXPERIMENTS` is the registry."""

from shooting.experiments.ablations import ABLATION_RUNS
from shooting.experiments.base import PROFILES, Experiment, Outcome, check_profile
from shooting.experiments.baselines import BASELINE_RUNS
from shooting.experiments.bouncing_balls import BOUNCING_BALLS
from shooting.experiments.circles import CIRCLES
from shooting.experiments.regression import REGRESSION
from shooting.experiments.rotating_mnist import ROTATING_MNIST
from shooting.experiments.spiral import SPIRAL

EXPERIMENTS: dict[str, Experiment] = {
    e.name: e
    for e in (
        REGRESSION,
        SPIRAL,
        CIRCLES,
        ABLATION_RUNS,
        BASELINE_RUNS,
        ROTATING_MNIST,
        BOUNCING_BALLS,
    )
}

__all__ = ["EXPERIMENTS", "PROFILES", "Experiment", "Outcome", "check_profile"]
