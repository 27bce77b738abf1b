"""The recorded trials are those of the module, and a short one can be repeated."""

from dataclasses import replace

import pytest

from shooting.study.universality.limits import LONG, SHORT, TRIALS, attempt, matters, stored
from shooting.study.universality.targets import BUILT_IN


def test_every_trial_is_recorded_on_every_field():
    assert set(stored()) == {(name, trial) for name in BUILT_IN for trial in TRIALS}


def test_a_short_trial_is_repeated():
    """A hundred steps of Adam in single precision: two machines agree to some per cent."""
    name = "pulsating rotation"
    kept, again = stored()[name, SHORT], attempt(name, SHORT)
    assert again.errors == pytest.approx(kept.errors, rel=0.05)
    assert again.energies == pytest.approx(kept.energies, rel=0.05)
    other = attempt(name, replace(SHORT, epochs=50), seeds=(0,))  # control: another trial
    assert other.errors[0] != pytest.approx(kept.errors[0], rel=0.05)


def test_steps_matter_and_particles_do_not():
    found = stored()
    for name in BUILT_IN:
        short, long = found[name, SHORT], found[name, LONG]
        assert matters(long, short)
        assert not matters(short, short)  # control: no change halves nothing
        assert not matters(found[name, replace(SHORT, particles=48)], short)
        assert not matters(found[name, replace(LONG, particles=48)], long)
        assert not matters(found[name, replace(LONG, lift="learned")], long)
        assert not matters(found[name, replace(LONG, rho=0.1)], long)
