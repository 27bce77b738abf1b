"""What makes two runs the same: experiment, config and `NUMERICS`, hashed to 16 digits."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from shooting.study.experiments.settings import as_dict

# Raised by hand when a change of the code changes results (tests/study/test_goldens.py notices);
# every record made before is then stale.
NUMERICS = 1


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
