"""Each public name shows how it is used, and the line runs."""

from __future__ import annotations

import doctest
import importlib
import inspect

import pytest
import torch

import shooting

# bases, results and an error, which users do not build; `fit` stands on the page of own models
UNBUILT = {"Feature", "VectorField", "Parametrization", "FitResult", "NonFiniteError"}
UNBUILT |= {"Pasted", "fit"}
NAMES = [n for n in shooting.__all__ if callable(getattr(shooting, n)) and n not in UNBUILT]


def names() -> dict[str, object]:
    """What an example may use: the public names and torch."""
    return {n: getattr(shooting, n) for n in shooting.__all__} | {"torch": torch}


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_public_name_runs(name):
    thing = getattr(shooting, name)
    module = importlib.import_module(thing.__module__)
    text = inspect.getdoc(thing) or ""
    example = doctest.DocTestParser().get_doctest(text, names(), name, module.__file__, 0)
    assert example.examples
    asked = {"Dense": ".dense(", "Path": "shoot("}.get(name, name)  # made by calls
    assert asked in text.partition("Example:")[2]
    assert doctest.DocTestRunner().run(example).failed == 0


def test_control_a_wrong_line_is_noticed():
    example = doctest.DocTestParser().get_doctest(">>> UpDown(2)", names(), "x", None, 0)
    said: list[str] = []
    assert doctest.DocTestRunner().run(example, out=said.append).failed == 1
