"""The experiments of the paper, one module each; `EXPERIMENTS` is the registry."""

from shooting.study.experiments.ablations import ABLATION_RUNS
from shooting.study.experiments.base import PROFILES, Experiment, Outcome, check_profile
from shooting.study.experiments.baselines import BASELINE_RUNS
from shooting.study.experiments.bouncing_balls import BOUNCING_BALLS
from shooting.study.experiments.circles import CIRCLES
from shooting.study.experiments.classifier import CLASSIFIER
from shooting.study.experiments.convex_trap import CONVEX_TRAP
from shooting.study.experiments.kicks import KICKS
from shooting.study.experiments.long_range import LONG_RANGE
from shooting.study.experiments.regression import REGRESSION
from shooting.study.experiments.rotating_mnist import ROTATING_MNIST
from shooting.study.experiments.spiral import SPIRAL
from shooting.study.experiments.spiral_cure import SPIRAL_CURE

EXPERIMENTS: dict[str, Experiment] = {
    e.name: e
    for e in (
        REGRESSION,
        SPIRAL,
        SPIRAL_CURE,
        KICKS,
        CIRCLES,
        ABLATION_RUNS,
        CONVEX_TRAP,
        BASELINE_RUNS,
        LONG_RANGE,
        CLASSIFIER,
        ROTATING_MNIST,
        BOUNCING_BALLS,
    )
}

__all__ = ["EXPERIMENTS", "PROFILES", "Experiment", "Outcome", "check_profile"]
