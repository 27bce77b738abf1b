"""Settings of a run as plain entries, for identities, records and the command line."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Hashable, Mapping
from typing import Any, cast

import numpy as np

from shooting.errors import require_count, require_names, require_real, require_text, require_type
from shooting.parametrizations import check_seeds


# evaluating annotations takes longer than all else that is done with a config
@functools.cache
def _hints(kind: Hashable) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def check_kinds(config: Any) -> None:
    """Check the settings of a frozen config by their types; numbers of NumPy become Python's.

    Whole numbers are at least 0, other numbers finite and at least 0, seeds distinct.

    Raises:
        ValueError: If one is of another type, or out of bounds.
    """
    for name, kind in _hints(cast(Hashable, type(config))).items():
        value = getattr(config, name)
        object.__setattr__(config, name, _checked(value, kind, f"the setting {name}"))


def _checked(value: Any, kind: Any, what: str) -> Any:
    if kind is bool:
        return require_type(value, bool, f"{what} to be True or False", "try True")
    if kind is int:
        return require_count(value, what, least=0)
    if kind is float:
        require_real(value, what, least=0)  # kept as it came: 1 and 1.0 are one identity
        return float(value) if isinstance(value, np.floating) else value
    if kind is str:
        return require_text(value, what, example="paper")
    if kind == tuple[int, ...]:
        return check_seeds(value)
    return require_names(value, what, example=("x",))


def later(implied: Any) -> Any:
    """A config field that was added after records existed.

    It enters the identity only where it differs from the value that older records imply, so that
    adding a setting does not make them stale.

    Args:
        implied: What all records without the field did; also the default.

    Returns:
        A dataclass field.
    """
    return dataclasses.field(default=implied, metadata={"implied": implied})


def as_dict(config: Any) -> dict[str, Any]:
    """A config as JSON-able dict: tuples become lists, whole numbers in float fields floats."""
    hints = _hints(cast(Hashable, type(config)))
    entries = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    return {
        name: float(v) if hints[name] is float else list(v) if isinstance(v, tuple) else v
        for name, v in entries.items()
    }


def from_dict(kind: type[Any], entries: Mapping[str, Any]) -> Any:
    """Inverse of `as_dict`.

    Args:
        kind: The config dataclass.
        entries: Settings by name.

    Returns:
        The config.

    Raises:
        ValueError: If a key is unknown.
    """
    known = {f.name for f in dataclasses.fields(kind)}
    if unknown := sorted(set(entries) - known):
        raise ValueError(
            f"expected settings of {kind.__name__} among {sorted(known)}, got {unknown}; check "
            "the spelling, or whether the record was made by another version"
        )
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in entries.items()})


def changed(config: Any) -> str:
    """The settings of a config that differ from the defaults, as ``name=value``."""
    default = as_dict(type(config)())
    return " ".join(f"{k}={v}" for k, v in as_dict(config).items() if v != default[k])
