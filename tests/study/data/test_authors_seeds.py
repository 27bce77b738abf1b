"""The authors' initial states: where they are looked for, and what is refused."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from problems import refused

from shooting.errors import MissingDataError
from shooting.study.data import authors_seeds
from shooting.study.data.authors_seeds import FOLDER, STARTS, STEPS, first_steps, starts
from shooting.study.storage import CorruptFileError

SHAPES = {
    "x": (15, 1),
    "v": (15, 16),
    "p": (15, 17),
    "lift_weight": (16, 1),
    "lift_bias": (16,),
    "train": (500, 1),
    "watch": (1000, 1),
}
THEIRS = {
    "q1": (15, 1, 1),
    "q2": (15, 1, 16),
    "p_q1": (15, 1, 1),
    "p_q2": (15, 1, 16),
    "simple_init__weight": (16, 1),
    "simple_init__bias": (16,),
}


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Files of the right form that pass for the authors'."""
    rng = np.random.default_rng(0)
    folder = tmp_path / FOLDER
    folder.mkdir()

    def noise(*shape):
        return rng.normal(size=shape).astype(np.float32)

    known = {k: noise(50, *s) for k, s in SHAPES.items()}
    np.savez(folder / STARTS, **known)
    end = {f"end/{k}": noise(*s) for k, s in THEIRS.items()}
    np.savez(folder / STEPS, losses=rng.normal(size=100), batches=noise(100, 50), **end)
    for name in (STARTS, STEPS):
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        monkeypatch.setitem(authors_seeds.FILES, name, digest)
    monkeypatch.setenv("SHOOTING_DATA", str(tmp_path))
    return folder, known, end


def test_rows_are_those_of_the_seeds(made):
    _, known, _ = made
    found = starts([7, 0])
    assert set(found.parts) == set(authors_seeds.PARTS)
    for name, values in found.parts.items():
        np.testing.assert_array_equal(values, known[name][[7, 0]])
    np.testing.assert_array_equal(found.train, known["train"][[7, 0]])
    np.testing.assert_array_equal(found.watch, known["watch"][[7, 0]])


def test_first_steps_have_our_names_and_shapes(made):
    _, _, end = made
    found = first_steps()
    assert found.losses.shape == (100,)
    assert found.batches.shape == (100, 50, 1)
    assert {k: v.shape for k, v in found.end.items()} == {
        k: s for k, s in SHAPES.items() if k in authors_seeds.PARTS
    }
    np.testing.assert_array_equal(found.end["p"][:, 0], end["end/p_q1"][:, 0, 0])
    np.testing.assert_array_equal(found.end["p"][:, 1:], end["end/p_q2"][:, 0])


@pytest.mark.parametrize("seeds", [[50], [-1], [0, 99]])
def test_other_seeds_are_refused(made, seeds):
    with refused(str(seeds[-1]), "0 to 49"):
        starts(seeds)


def test_a_missing_file_is_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOOTING_DATA", str(tmp_path))
    with pytest.raises(MissingDataError, match=r"that folder has none.*released code"):
        starts([0])
    monkeypatch.delenv("SHOOTING_DATA")
    with pytest.raises(MissingDataError, match=r"variable is not set.*SHOOTING_DATA"):
        first_steps()


def test_another_file_is_refused(made):
    folder, _, _ = made
    data = bytearray((folder / STARTS).read_bytes())
    data[-1] ^= 1
    (folder / STARTS).write_bytes(bytes(data))
    with pytest.raises(CorruptFileError, match="expected quadratic.* with sha256"):
        starts([0])
    assert first_steps().losses.shape == (100,)
