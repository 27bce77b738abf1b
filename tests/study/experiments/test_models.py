"""The four models by name: the right class each, and a K only where there are particles."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from problems import refused

from shooting import (
    DynamicDirect,
    DynamicParticles,
    ParticleInit,
    Solver,
    StaticDirect,
    StaticParticles,
    UpDown,
)
from shooting.study.experiments.models import MODELS, build_model, check_model

CLASSES = {
    "static_direct": StaticDirect,
    "static_particles": StaticParticles,
    "dynamic_particles": DynamicParticles,
    "dynamic_direct": DynamicDirect,
}


@dataclass(frozen=True)
class Config:
    model: str
    particles: int = 7

    def __post_init__(self):
        check_model(self, ("static_direct", "dynamic_particles"))


@pytest.mark.parametrize("name", MODELS)
def test_each_name_is_its_class(name):
    model = build_model(
        name,
        UpDown(2, 3),
        particles=5,
        init=ParticleInit(),
        momentum_scale=None,
        seeds=(0, 1),
        lift="learned",
        solver=Solver(step=0.5),
    )
    assert type(model) is CLASSES[name]
    assert (model.seeds, model.solver.step) == ((0, 1), 0.5)
    if "particles" in name:
        assert model.x.shape == (2, 5, 2)


def test_a_model_without_particles_has_one_identity():
    assert Config("static_direct") == Config("static_direct", particles=3)
    assert Config("static_direct").particles == 0
    assert Config("dynamic_particles").particles == 7  # the control


def test_a_model_that_the_experiment_does_not_know_is_refused():
    with refused("a model", "'dynamic_direct'"):
        Config("dynamic_direct")
