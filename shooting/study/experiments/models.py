"""The four models by name, checked and built alike for every experiment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from shooting.errors import require_choice
from shooting.fields import Field
from shooting.flow import Solver
from shooting.parametrizations import (
    Controlled,
    DynamicDirect,
    DynamicParticles,
    ParticleInit,
    StaticDirect,
    StaticParticles,
)

MODELS: dict[str, str] = {
    "static_direct": "static direct",
    "static_particles": "static with particles",
    "dynamic_particles": "dynamic with particles",
    "dynamic_direct": "dynamic direct",
}


def part_of(name: str) -> str:
    """Name in a model of a part as configs and the authors' seeds name it: lift_bias, lift.bias."""
    return name.replace("lift_", "lift.")


def check_model(config: Any, allowed: Iterable[str] = MODELS) -> None:
    """Check the model of a frozen config, and set K to 0 where it has no particles.

    Else one run would have many identities.

    Args:
        config: Settings with ``model`` and ``particles``, being made.
        allowed: The models that the experiment knows.

    Raises:
        ValueError: If the model is unknown.
    """
    require_choice(config.model, allowed, "a model")
    if config.model.endswith("direct"):
        object.__setattr__(config, "particles", 0)


def build_model(
    name: str,
    field: Field,
    *,
    particles: int,
    init: ParticleInit,
    momentum_scale: float | None,
    seeds: Sequence[int],
    lift: str,
    solver: Solver,
    **more: Any,
) -> Controlled:
    """One of the four models for a field.

    Args:
        name: Key of `MODELS`.
        field: The vector field.
        particles: K, for the particle models.
        init: Distribution of the particles.
        momentum_scale: See `DynamicParticles`.
        seeds: One per run.
        lift: ``learned``, ``fixed`` or ``zero``.
        solver: How to integrate.
        **more: What the particle models take besides, as kicks.

    Returns:
        The untrained model.
    """
    if name in ("dynamic_particles", "static_particles"):
        kind = DynamicParticles if name == "dynamic_particles" else StaticParticles
        return kind(
            field,
            particles,
            init=init,
            momentum_scale=momentum_scale,
            seeds=seeds,
            lift=lift,
            solver=solver,
            **more,
        )
    direct = DynamicDirect if name == "dynamic_direct" else StaticDirect
    return direct(field, seeds=seeds, lift=lift, solver=solver)
