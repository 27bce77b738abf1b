"""What an experiment is: a config, a grid of configs per profile, and one training function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shooting.errors import require_choice
from shooting.fit import Checkpoint, FitConfig, FitResult, Task, fit
from shooting.parametrizations import Parametrization

PROFILES = ("quick", "paper")
TRIVIAL = "baseline: "  # begins the name of a fact that is the error of a trivial predictor


MetricsAndArrays = tuple[dict[str, list[float]], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Outcome:
    """What one training (an ensemble) leaves for its record.

    Attributes:
        metrics: Final numbers by name, one per run.
        arrays: What figures draw (curves, fits, controls over depth), first axis the run.
        fit: Histories and failures of the training.
        facts: Numbers that belong to the whole ensemble, e.g. the parameter count.
        route: The solver route that was taken.
        config: The settings, so that figures can draw an outcome like a record.
    """

    metrics: dict[str, list[float]]
    arrays: dict[str, np.ndarray]
    fit: FitResult
    facts: dict[str, float] = field(default_factory=dict)
    route: str = "autograd"
    config: Any = None


@dataclass(frozen=True)
class Experiment:
    """One experiment of the paper.

    Attributes:
        name: Folder of its records, and its name on the command line.
        config: Frozen dataclass of settings; every field is JSON-able and enters the identity.
        grid: Configs of a profile: the grid lives here once and feeds make, tests and the sweep.
        train: Trains one config (an ensemble), resuming from the checkpoint if it holds a state.
        estimate: Seconds that a config takes on this machine, where a training takes hours.
        so_far: Metrics and arrays of a config by the state in its checkpoint, likewise.
    """

    name: str
    config: type
    grid: Callable[[str], Sequence[Any]]
    train: Callable[[Any, Checkpoint | None], Outcome]
    estimate: Callable[[Any], float] | None = None
    so_far: Callable[[Any, Mapping[str, Tensor]], MetricsAndArrays] | None = None


def check_profile(profile: str) -> str:
    """Refuse an unknown profile.

    Raises:
        ValueError: If the profile is not one of `PROFILES`.
    """
    require_choice(profile, PROFILES, "a profile")
    return profile


def require_one_seed(seeds: Sequence[int]) -> None:
    """Refuse an ensemble where networks are trained one at a time.

    Raises:
        ValueError: If there is not exactly one seed.
    """
    if len(seeds) != 1:
        raise ValueError(f"expected one seed, got {seeds}; make a config for each, e.g. seeds=(0,)")


def require_evaluation(model: nn.Module) -> None:
    """Refuse a model in training mode, where BatchNorm judges inputs by their batch.

    Raises:
        ValueError: If the model is in training mode.
    """
    if model.training:
        raise ValueError("expected a model in evaluation mode, got training; call model.eval()")


@contextmanager
def float32() -> Iterator[None]:
    """Experiments train in float32, whatever the notebook around them has chosen."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


Measured = tuple[Mapping[str, Tensor], Mapping[str, Tensor]]


def train_and_measure(
    config: Any,
    model: Parametrization,
    task: Task,
    settings: FitConfig,
    measure: Callable[[], Measured],
    *,
    checkpoint: Checkpoint | None = None,
    label: str = "fit",
) -> Outcome:
    """Train one ensemble, measure it, and say what it was: the end of most experiments' `train`.

    Args:
        config: The experiment's settings, kept with the outcome.
        model: The untrained model; trained in place.
        task: What it is trained on.
        settings: How it is trained.
        measure: Called after the training, without gradients: final numbers ``(runs,)`` and
            what figures draw ``(runs, ...)``, each by name.
        checkpoint: Where to resume from and save to.
        label: Shown by the progress bar.

    Returns:
        The outcome, its facts the number of parameters of one run.
    """
    result = fit(model, task, settings, checkpoint=checkpoint, label=label)
    with torch.no_grad():
        values, drawn = measure()
    return Outcome(
        as_metrics(values),
        as_arrays(drawn),
        result,
        facts={"parameters": model.count},
        route=model.route(),
        config=config,
    )


def as_metrics(values: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """Final numbers ``(runs,)`` by name, as a record keeps them."""
    return {k: [float(x) for x in v] for k, v in values.items()}


def as_arrays(drawn: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """What figures draw, in single precision, as a record keeps it."""
    return {k: v.detach().cpu().numpy().astype(np.float32) for k, v in drawn.items()}
