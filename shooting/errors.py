"""Errors of the package and the checks at its public entries."""

from __future__ import annotations

import math
import operator
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, SupportsIndex, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from shooting.transforms import readable

T = TypeVar("T")
MOST_NUMBERS = 10**9  # of one model, or of what is kept of it: more are a mistake
_LONGEST = 80  # letters of a value in an error
_INSIDE = tuple(os.path.dirname(f) + os.sep for f in (__file__, torch.__file__))


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


def caller() -> int:
    """The `stacklevel` of a warning that names the line from which the package was called.

    PyTorch is passed over too, since a call of a module goes through its files.
    """
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        frame, level = frame.f_back, level + 1
    return level


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
    # types first: an array has no single answer to "equal"
    if not any(isinstance(value, type(one)) and value == one for one in known):
        raise ValueError(f"expected {what} among {known}, got {shown(value)}; try {known[0]!r}")


def shown(value: object) -> str:
    """A value in an error: on one line, and not longer than a line."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    array = dtype is not None and not isinstance(value, type | np.generic)
    if array and shape is not None:
        return f"a {dtype} {type(value).__name__} of shape {tuple(shape)}"
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # a number of more than 4300 digits
        return f"a {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def require_type(value: object, kind: Callable[..., T], what: str, advice: str) -> T:
    """Check that something is of a type.

    Args:
        value: The thing.
        kind: The type.
        what: Its name in the error, with an article.
        advice: What to try.

    Returns:
        The thing.

    Raises:
        ValueError: If it is of another.
    """
    if isinstance(value, cast(type[T], kind)):  # a callable, so that a type may be abstract
        return value
    raise ValueError(f"expected {what}, got {shown(value)}; {advice}")


def require_text(value: object, what: str, *, example: str = "x") -> str:
    """Check that a name is a string; `require_type` says how."""
    return require_type(value, str, f"{what} to be a string", f"try {example!r}")


def require_part(name: str, what: str) -> None:
    """Check that a name can be part of the name of a parameter.

    Raises:
        ValueError: If it is empty or has a dot.
    """
    if not name or "." in name:
        raise ValueError(f"expected {what} without dots, got {name!r}; try 'theta1'")


def require_callable(value: object, what: str, advice: str) -> None:
    """Check that something is a function or an object that can be called, and no class.

    Raises:
        ValueError: If it cannot.
    """
    if not callable(value) or isinstance(value, type):
        raise ValueError(f"expected {what} to be a function, got {shown(value)}; {advice}")


def require_names(values: object, what: str, *, example: tuple[str, ...]) -> tuple[str, ...]:
    """Check that names are a list of strings, and no single string.

    Raises:
        ValueError: If they are something else.
    """
    listed = list(values) if isinstance(values, Iterable) and not isinstance(values, str) else None
    if listed is None or not all(isinstance(name, str) for name in listed):
        raise ValueError(f"expected {what} to be strings, got {shown(values)}; try {example!r}")
    return tuple(listed)


def require_mapping(values: object, what: str, *, example: str) -> dict[str, object]:
    """Check that something maps names to values.

    Raises:
        ValueError: If it does not.
    """
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise ValueError(
            f"expected {what} to map names to values, got {shown(values)}; try {example}"
        )
    return dict(values)


def require_real(
    value: object,
    what: str,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    example: float = 1.0,
) -> float:
    """Check that a setting is a finite number within bounds.

    Args:
        value: The setting; a tensor or array without axes is a number, too, unless it is trained.
        what: Its name in the error, with an article.
        least: The smallest number allowed.
        above: What it has to exceed.
        below: What it has to stay below.
        example: What to try.

    Returns:
        The number, as a float.

    Raises:
        ValueError: If it is no number, not finite, out of bounds, or asks for a gradient, which
            would be lost.
    """
    if isinstance(value, Tensor) and value.requires_grad:
        raise ValueError(
            f"expected {what} to be a fixed number, got a trained {shown(value)[2:]}; try its "
            "detach(), and leave what is learned to controls and parameters"
        )
    number = _real(value)
    if math.isfinite(number) and number >= least and above < number < below:
        return number
    wanted = _bounds(least, above, below)
    raise ValueError(f"expected {what} to be {wanted}, got {shown(value)}; try {example:g}")


def _bounds(least: float, above: float, below: float) -> str:
    if below < math.inf:
        return f"a number between {max(least, above):g} and {below:g}"
    if least > -math.inf:
        return f"a finite number of at least {least:g}"
    return "a positive, finite number" if above > -math.inf else "a finite number"


def _real(value: Any) -> float:
    """A number as a float; NaN if it is none."""
    try:
        # a tensor or an array without axes is its only number
        plain: object = value.item() if getattr(value, "ndim", None) == 0 else value
        if isinstance(plain, bool) or not isinstance(plain, Real):
            return math.nan
        return float(plain)
    except (OverflowError, RuntimeError):  # 10**400; a tensor without values
        return math.nan


def require_tensor(value: object, what: str) -> Tensor:
    """Check that something is a tensor of floating-point numbers in plain memory.

    Raises:
        ValueError: If it is something else.
    """
    if not isinstance(value, Tensor):
        kind = type(value).__name__
        raise ValueError(f"expected {what} as a tensor, got {kind}; try torch.as_tensor")
    if not value.is_floating_point() or value.layout is not torch.strided:
        raise ValueError(
            f"expected {what} as a dense tensor of floating-point numbers, got {value.dtype} of "
            f"layout {value.layout}; convert it, as in x.float() or x.to_dense()"
        )
    return value


def require_few(numbers: int, what: str) -> None:
    """Refuse sizes that are a mistake before memory is asked for.

    Raises:
        ValueError: If there are more than `MOST_NUMBERS`.
    """
    if numbers > MOST_NUMBERS:
        raise ValueError(
            f"expected {what} to have at most {MOST_NUMBERS} numbers, got {shown(numbers)}; take "
            "smaller sizes"
        )


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
    except (TypeError, RuntimeError):
        number = least - 1
    if number < least or (most is not None and number > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        advice = most if most is not None and number > most else least
        raise ValueError(
            f"expected {what} to be a whole number {bounds}, got {shown(value)}; try {advice}"
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
