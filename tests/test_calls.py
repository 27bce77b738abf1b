"""Generated calls of the library end in a result or in one sentence; see `calls`."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
import torch
from call_targets import TARGETS, consts
from calls import OUTCOMES, Kind, Target, counted, generate, outcome, ready, run
from problems import refused

import shooting
from shooting import DynamicDirect, FitConfig, Solver, StaticDirect, Term, UpDown, carry, complexity
from shooting.flow import shoot

CALLS = 600  # more, and those of the study: tests/study/study_calls.py
# No calls of their own: an error, bases, and what only a call returns
NOT_CALLED = {"NonFiniteError", "Feature", "Parametrization", "VectorField", "Path", "Pasted",
              "FitResult", "__version__"}  # fmt: skip


def test_every_public_name_is_called():
    assert set(shooting.__all__) - NOT_CALLED <= set(TARGETS)


@pytest.mark.slow
def test_generated_calls_end_in_a_result_or_in_a_sentence():
    ready()
    found = run(TARGETS, CALLS, seed=1)
    wrong = [(str(generate(TARGETS, i, 1)), kind, text) for i, kind, text in found
             if kind not in ("result", "refused")]  # fmt: skip
    assert wrong == []
    assert min(counted(found)[kind] for kind in ("result", "refused")) > CALLS / 10


def die() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def spin() -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        pass


def raw() -> None:
    raise AttributeError("'int' object has no attribute 'shape'")


def sentence() -> None:
    raise ValueError("expected this, got that; try another")


@pytest.mark.parametrize(
    ("call", "ends"),
    [(die, "crash"), (spin, "hang"), (raw, "raw"), (sentence, "refused"), (dict, "result")],
)
def test_control_each_outcome_is_seen(call, ends):
    found = run({"call": Target(call, {})}, 2)
    assert counted(found) == {kind: 2 * (kind == ends) for kind in OUTCOMES}


def test_control_a_wrong_argument_that_is_taken_is_seen():
    targets = {"str": Target(lambda x: str(x), {"x": Kind(consts("a"), consts(1))})}
    calls = [generate(targets, i) for i in range(9) if generate(targets, i).wrong]
    assert {outcome(targets, call)[0] for call in calls} == {"accepted"}


def test_calls_are_the_same_in_every_process():
    for i in range(50):
        assert str(generate(TARGETS, i)) == str(generate(TARGETS, i))
        assert " at 0x" not in str(generate(TARGETS, i))


def biases():
    return StaticDirect(shooting.Field({"x": 2}, [Term("b", "x")]), seed=0)


FIELD = UpDown(2, 3)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: carry(FIELD, {k: torch.zeros(0, *s) for k, s in FIELD.shapes.items()},
                       torch.zeros(5, 8), [0, 1]), "blocks"),
        (lambda: DynamicDirect(FIELD, seeds=3), "seeds"),
        (lambda: DynamicDirect(FIELD, seeds=[0.5]), "seeds"),
        (lambda: StaticDirect(FIELD, seed=0)(torch.zeros(3, 2), None), "times"),
        (lambda: StaticDirect(FIELD, seed=0)([[0.0, 0.0]], [0, 1]), "data x"),
        (lambda: StaticDirect(FIELD, solver="rk4", seed=0), "Solver"),
        (lambda: shooting.fit(torch.nn.Identity(), None, FitConfig(1)), "task"),
        (lambda: complexity(biases(), [0, 1]), "no bias"),
        (lambda: shoot(FIELD, *torch.zeros(3, 1, 8), [0, 1], solver=Solver(step=1e-320)), "steps"),
        (lambda: shoot(FIELD, *torch.zeros(3, 1, 8), [0, 1e300]), "steps"),
        (lambda: DynamicDirect(FIELD, blocks=10**7, seed=0), "blocks"),
        (lambda: DynamicDirect(UpDown(10**4, 10), blocks=10**6, seed=0), "numbers"),
        (lambda: shooting.Activated("v", "no"), "activation"),
        (lambda: FitConfig(epochs=float("nan")), "epochs"),
        (lambda: FitConfig(1, weight_decay=float("nan")), "weight decay"),
        (lambda: FitConfig(1, learning_rate=float("inf")), "learning rate"),
        (lambda: Solver(tolerance=np.array([0.1, 0.2])), "tolerance"),
    ],
)  # fmt: skip
def test_calls_that_once_crashed_hung_or_were_taken(call, told):
    with refused(told):
        call()


def test_more_steps_than_a_million_are_made_if_they_are_asked_for():
    """Between two bounds: a limit of ten refuses eleven steps, one of eleven makes them."""
    q, p, z = torch.ones(3, 2, 8) / 9
    with refused("at most 10 steps", "most_steps"):
        shoot(FIELD, q, p, z, [0, 1.1], solver=Solver(most_steps=10))
    path = shoot(FIELD, q, p, z, [0, 1.1], solver=Solver(most_steps=11))
    assert torch.equal(path.z, shoot(FIELD, q, p, z, [0, 1.1]).z)
