"""Errors of the package and the checks at its public entries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral

import torch
from torch import Tensor


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


def require_choice(value: object, allowed: Sequence[str], what: str) -> None:
    """Refuse a value that is not among the allowed ones.

    Args:
        value: What came.
        allowed: What may come; the first is advised.
        what: Name of the setting in the error.

    Raises:
        ValueError: If the value is not allowed.
    """
    if value not in allowed:
        raise ValueError(
            f"expected {what} among {tuple(allowed)}, got {value!r}; try {allowed[0]!r}"
        )


def require_count(value: object, what: str, *, least: int = 1) -> int:
    """A whole number of at least `least`, as an int; numpy's integers are welcome.

    Args:
        value: What came.
        what: Name of the number in the error.
        least: The smallest that is allowed.

    Raises:
        ValueError: If it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(
            f"expected a whole {what} of at least {least}, got {value!r}; try {what} = {least}"
        )
    return int(value)


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


def require_finite(value: Tensor, what: str) -> None:
    """Raise if a tensor holds NaN or infinity.

    Raises:
        ValueError: With the number and the first place of the offending entries.
    """
    if math.isfinite(value.detach().sum()):  # one pass; NaN and infinity do not cancel out of a sum
        return
    bad = ~torch.isfinite(value)
    if bool(bad.any()):  # else only the sum was too large
        first = tuple(int(i) for i in bad.nonzero()[0])
        raise ValueError(
            f"expected finite {what}, got {int(bad.sum())} NaN or infinite entries, the first at "
            f"index {first}; remove or impute them before calling"
        )
