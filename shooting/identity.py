"""What makes two runs the same: experiment, config and `NUMERICS`, hashed to 16 digits."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing
from collections.abc import Mapping
from typing import Any

# Raised by hand when a change of the code changes results (tests/test_goldens.py notices);
# every record made before is then stale.
NUMERICS = 1


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
    hints = typing.get_type_hints(type(config))
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


def record_id(experiment: str, config: Any, numerics: int | None = None) -> str:
    """Name of the record of a config.

    Args:
        experiment: Name of the experiment.
        config: Its config.
        numerics: `NUMERICS` of another version of the package.

    Returns:
        16 hexadecimal digits.
    """
    entries = as_dict(config)
    for f in dataclasses.fields(config):
        if "implied" in f.metadata and entries[f.name] == f.metadata["implied"]:
            del entries[f.name]
    numerics = NUMERICS if numerics is None else numerics
    return digest({"experiment": experiment, "config": entries, "numerics": numerics})[:16]


def digest(value: Any) -> str:
    """Sha256 of the canonical JSON of a value: sorted keys, no spaces, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
