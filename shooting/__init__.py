"""Shooting: continuous-depth networks whose weight trajectory follows from a few particles."""

from shooting.errors import NonFiniteError
from shooting.fields import Affine, Field, Term, UpDown
from shooting.flow import Path, Solver, carry, shoot
from shooting.parametrizations import (
    DynamicDirect,
    DynamicParticles,
    ParticleInit,
    StaticDirect,
    StaticParticles,
    complexity,
)

__version__ = "0.1.0"

__all__ = [
    "Affine",
    "DynamicDirect",
    "DynamicParticles",
    "Field",
    "NonFiniteError",
    "ParticleInit",
    "Path",
    "Solver",
    "StaticDirect",
    "StaticParticles",
    "Term",
    "UpDown",
    "__version__",
    "carry",
    "complexity",
    "shoot",
]
