"""What a record must look like: types, keys, lengths, and where nothing may be void."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Check = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return _whole(value) or (isinstance(value, float) and math.isfinite(value))


def _maybe(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _list_of_numbers(value: Any) -> bool:
    # by types first: most of a record are such lists
    if not isinstance(value, list) or not {type(v) for v in value} <= {float, int, type(None)}:
        return False
    return all(math.isfinite(v) for v in value if v is not None)


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _by_name(check: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _anything(value: Any) -> bool:
    return True


VOID = _list_of_numbers  # null stands for the number of a run that failed
PROVENANCE: Mapping[str, Check] = {
    "package": _text,
    "commit": _maybe(_text),
    "dirty": _maybe(_flag),
    "source": _text,
    "python": _text,
    "torch": _text,
    "numpy": _text,
    "platform": _text,
    "processor": _text,
    "device": _text,
    "threads": _whole,
    "route": _maybe(_text),
    "wall_seconds": _number,
    "resumed": _whole,
    "peak_memory_mb": _number,
    "started": _text,
    "ended": _text,
    "status": _text,
}
DOCUMENT: Mapping[str, Check] = {
    "experiment": _text,
    "id": _text,
    "numerics": _whole,
    "config": _by_name(_anything),
    "metrics": _by_name(VOID),
    "facts": _by_name(_number),
    "failed_at": _list_of(_whole),
    "history": _by_name(_anything),
    "early": _list_of(VOID),
    "provenance": _by_name(_anything),
    "arrays": _by_name(_anything),
}
HISTORY: Mapping[str, Check] = {"epochs": _whole, "first": VOID, "last": VOID}
ARRAYS: Mapping[str, Check] = {"sha256": _text, "shapes": _by_name(_list_of(_whole))}
OPTIONAL: Mapping[str, Check] = {"drift": VOID}


def against(document: Any) -> str:
    """What is wrong with a record's document, as half a sentence; empty if nothing is."""
    if wrong := _mistake(document, DOCUMENT, "the record"):
        return wrong
    inner = {"history": HISTORY, "arrays": ARRAYS, "provenance": PROVENANCE}
    for part, checks in inner.items():
        if wrong := _mistake(document[part], checks, part):
            return wrong
    if not _list_of(_by_name(_text))(document["provenance"].get("environments", [])):
        return "'environments' of the wrong type in provenance"
    for part, check in OPTIONAL.items():
        if part in document and not check(document[part]):
            return f"{part} of the wrong type"
    return _lengths(document)


def _mistake(value: Any, checks: Mapping[str, Check], what: str) -> str:
    if not isinstance(value, dict):
        return f"{what} of type {type(value).__name__}"
    for name, check in checks.items():
        if name not in value:
            return f"no {name!r} in {what}"
        if not check(value[name]):
            return f"{name!r} of the wrong type in {what}"
    return ""


def _lengths(document: dict[str, Any]) -> str:
    """Every list of runs is as long as there are runs, and void only where a run failed."""
    failed = document["failed_at"]
    runs, history = len(failed), document["history"]
    if not runs:
        return "no run"
    lists = {f"metric {k}": v for k, v in document["metrics"].items()}
    if "drift" in document:
        lists["drift"] = document["drift"]
    if history["epochs"]:
        lists |= {"first losses": history["first"], "last losses": history["last"]}
    if wrong := [name for name, values in lists.items() if len(values) != runs]:
        return f"{wrong[0]} of another length than {runs} runs"
    if wrong := [row for row in document["early"] if len(row) != runs]:
        return f"early losses of another length than {runs} runs"
    for name, values in document["metrics"].items():
        if any(v is None and step == -1 for v, step in zip(values, failed, strict=True)):
            return f"metric {name} void for a run that did not fail"
    return ""


def against_arrays(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, Any]) -> str:
    """What is wrong with a record's arrays, as half a sentence; empty if nothing is."""
    found = {name: list(value.shape) for name, value in arrays.items()}
    if found != dict(shapes):
        return f"the shapes {found} in place of {dict(shapes)}"
    strange = [n for n, value in arrays.items() if value.dtype.kind not in "fiub"]
    return f"{strange[0]} of type {arrays[strange[0]].dtype}" if strange else ""


def against_fingerprints(document: Any) -> str:
    """What is wrong with the committed fingerprints; empty if nothing is."""
    fits = _by_name(_by_name(_text))(document)
    return "" if fits else "something else than words by seed and data set"
