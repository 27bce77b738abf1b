"""The four parametrisations of Section 4, with one call: ``path = model(x, times)``.

Every learned part is a parameter of its own, ``(*runs, ...)``: ``x``, ``v``, ``p``, or the controls
by name, and ``lift.weight``, ``lift.bias``. Without `seeds` a model is a single run without leading
axis and drops into anyone's own nn.Module.
"""

from shooting.parametrizations.base import Controlled, Parametrization, check_seeds
from shooting.parametrizations.direct import DynamicDirect, StaticDirect
from shooting.parametrizations.measure import complexity
from shooting.parametrizations.particles import DynamicParticles, ParticleInit, StaticParticles

__all__ = [
    "Controlled",
    "DynamicDirect",
    "DynamicParticles",
    "ParticleInit",
    "Parametrization",
    "StaticDirect",
    "StaticParticles",
    "check_seeds",
    "complexity",
]
