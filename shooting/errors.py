"""Errors of the package and the checks at its public entries."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import SupportsIndex, cast

import torch
from torch import Tensor

from shooting.transforms import readable


class NonFiniteError(ArithmeticError):
    """Every run of an ensemble has met NaN or infinity.

    Attributes:
        steps: Optimiser step at which each run failed.
    """

    def __init__(self, message: str, steps: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.steps = tuple(steps)


class MissingDataError(FileNotFoundError):
    """Data that an experiment needs are not on this machine; the message says how to get them."""


def require_shape(value: Tensor, pattern: tuple[int | None, ...], what: str, advice: str) -> None:
    """Check the trailing axes of a tensor.

    Args:
        value: The tensor.
        pattern: Expected trailing lengths; None matches any.
        what: Name of the tensor in the error.
        advice: What to try.

    Raises:
        ValueError: If the trailing axes differ.
    """
    tail = value.shape[-len(pattern) :]
    fits = (want in (None, got) for want, got in zip(pattern, tail, strict=False))
    if len(tail) < len(pattern) or not all(fits):
        wanted = ", ".join("any" if n is None else str(n) for n in pattern)
        raise ValueError(
            f"expected {what} with trailing shape ({wanted}), got {tuple(value.shape)}; {advice}"
        )


def require_choice(value: object, allowed: Iterable[object], what: str) -> None:
    """Check that a setting is one of those there are.

    Args:
        value: The setting.
        allowed: What it may be, the usual one first; of a mapping the keys.
        what: Its name in the error, with an article.

    Raises:
        ValueError: If it is something else.
    """
    known = tuple(allowed)
    if value not in known:
        raise ValueError(f"expected {what} among {known}, got {value!r}; try {known[0]!r}")


def require_count(value: object, what: str, *, least: int = 1, most: int | None = None) -> int:
    """Check that a setting is a whole number within bounds; NumPy's integers are whole numbers.

    Args:
        value: The setting.
        what: Its name in the error, with an article.
        least: The smallest number allowed.
        most: The largest; None if there is none.

    Returns:
        The number, as an int.

    Raises:
        ValueError: If it is no whole number, or out of bounds.
    """
    try:
        number = (
            least - 1 if isinstance(value, bool) else operator.index(cast(SupportsIndex, value))
        )
    except TypeError:
        number = least - 1
    if number < least or (most is not None and number > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        advice = most if most is not None and number > most else least
        raise ValueError(
            f"expected {what} to be a whole number {bounds}, got {value!r}; try {advice}"
        )
    return number


def require_finite(value: Tensor, what: str) -> None:
    """Raise if a tensor holds NaN or infinity; one that cannot be read at once passes.

    That is one on an accelerator, without values, or under a transform or a trace: NaN then shows
    in what is computed from it.

    Raises:
        ValueError: With the number and the first place of the offending entries.
    """
    if not readable(value):
        return
    if math.isfinite(value.detach().sum()):  # one pass; NaN and infinity do not cancel out of a sum
        return
    bad = ~torch.isfinite(value)
    if bool(bad.any()):  # else only the sum was too large
        first = tuple(int(i) for i in bad.nonzero()[0])
        raise ValueError(
            f"expected finite {what}, got {int(bad.sum())} NaN or infinite entries, the first at "
            f"index {first}; remove or impute them before calling"
        )
