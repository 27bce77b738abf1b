"""Shooting: continuous-depth networks whose weight trajectory follows from a few particles."""

from shooting.activations import Activation
from shooting.automatic import AutomaticField
from shooting.dense import Dense
from shooting.errors import NonFiniteError
from shooting.features import Activated, Constant, Feature, Function, Identity, Patches
from shooting.fields import Drift, Field, Term, VectorField
from shooting.fit import FitConfig, FitResult, fit
from shooting.flow import Path, Solver, carry, shoot
from shooting.metrics import Metric
from shooting.named_fields import Affine, ConvUpDown, SecondOrder, UpDown
from shooting.parametrizations import (
    DynamicDirect,
    DynamicParticles,
    Parametrization,
    ParticleInit,
    StaticDirect,
    StaticParticles,
    complexity,
)
from shooting.paste import Pasted, paste
from shooting.randomness import normal, uniform
from shooting.spaces import Slot

__version__ = "0.1.0"

__all__ = [
    "Activated",
    "Activation",
    "Affine",
    "AutomaticField",
    "Constant",
    "ConvUpDown",
    "Dense",
    "Drift",
    "DynamicDirect",
    "DynamicParticles",
    "Feature",
    "Field",
    "FitConfig",
    "FitResult",
    "Function",
    "Identity",
    "Metric",
    "NonFiniteError",
    "Parametrization",
    "ParticleInit",
    "Pasted",
    "Patches",
    "Path",
    "SecondOrder",
    "Slot",
    "Solver",
    "StaticDirect",
    "StaticParticles",
    "Term",
    "UpDown",
    "VectorField",
    "__version__",
    "carry",
    "complexity",
    "fit",
    "normal",
    "paste",
    "shoot",
    "uniform",
]
