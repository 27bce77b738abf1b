"""Records: what each training left behind, checked whenever it is read.

``compute(REGRESSION, config)`` returns the record of a config and trains only if there is none;
``load("regression", config)`` never trains. A record is ``<id>.json`` (config, metrics,
provenance, checksums) and ``<id>.npz`` (arrays), in ``book/records/<experiment>`` if committed,
else in the state folder.
"""

from shooting.study.records.record import Record, pooled, read
from shooting.study.records.status import STATES, stale, state_of
from shooting.study.records.store import (
    NotRunError,
    compute,
    gather,
    load,
    load_all,
    recompute,
    require_all,
)

__all__ = [
    "STATES",
    "NotRunError",
    "Record",
    "compute",
    "gather",
    "load",
    "load_all",
    "pooled",
    "read",
    "recompute",
    "require_all",
    "stale",
    "state_of",
]
