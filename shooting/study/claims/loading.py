"""What claims are judged on: the recorded runs of each setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from shooting.study import records
from shooting.study.claims.rule import Part, Verdict, combine
from shooting.study.experiments.base import Experiment

Key = TypeVar("Key")


@dataclass(frozen=True)
class Runs:
    """All recorded runs of one setting.

    Attributes:
        config: The setting.
        metrics: By name, one number per run; NaN where it failed.
        ids: Of the records.
        found: The records.
    """

    config: Any
    metrics: dict[str, Any]
    ids: tuple[str, ...]
    found: tuple[Any, ...] = ()


def runs_of(experiment: Experiment, config: Any, *, more: Sequence[int] = ()) -> Runs | None:
    """Gather the runs of a setting.

    Args:
        experiment: Which experiment.
        config: The setting.
        more: Seeds of a second record of this setting, which counts where it exists.

    Returns:
        The runs; None unless the setting's own seeds are recorded.
    """
    asked = [config, *([replace(config, seeds=tuple(more))] if more else [])]
    found = [records.load(experiment, c) for c in asked]
    known = [r for r in found if r is not None]
    if found[0] is None:
        return None
    return Runs(config, records.pooled(known), tuple(r.id for r in known), tuple(known))


def load(
    experiment: Experiment, configs: Mapping[Key, Any], *, more: Sequence[int] = ()
) -> dict[Key, Runs]:
    """The runs of each setting, under its key.

    Args:
        experiment: Which experiment.
        configs: The settings.
        more: See `runs_of`.

    Raises:
        NotRunError: If a setting is not recorded; `Claim.verdict` makes it the verdict "not run".
    """
    found = {key: runs_of(experiment, config, more=more) for key, config in configs.items()}
    return records.require_all(found, experiment.name)


def judge(parts: Sequence[Part], by: Mapping[Any, Runs], *, found: str = "") -> Verdict:
    """The verdict on comparisons of these runs (see `combine`)."""
    return combine(parts, [i for runs in by.values() for i in runs.ids], found=found)
