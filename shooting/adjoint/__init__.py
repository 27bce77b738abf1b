"""The discrete adjoint: the exact gradient of a fixed-step solve, as one node of autograd."""

from shooting.adjoint.carrying import Carrying, dense, fuse, stacked
from shooting.adjoint.merged import Merged, Shooting, energy, knows, merge
from shooting.adjoint.solve import Engine, Tape, run
from shooting.adjoint.stagewise import Stagewise

__all__ = [
    "Carrying",
    "Engine",
    "Merged",
    "Shooting",
    "Stagewise",
    "Tape",
    "dense",
    "energy",
    "fuse",
    "knows",
    "merge",
    "run",
    "stacked",
]
