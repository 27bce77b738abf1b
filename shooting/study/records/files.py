"""The two files of a record, written whole and checked when read: JSON and npz."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from shooting.errors import shown
from shooting.study.records import schema
from shooting.study.records.identity import digest
from shooting.study.storage import CorruptFileError, staged, sync_folder

Document = dict[str, Any]
ADVICE = "restore it from git, or remove it and run it again"


def read_document(path: Path) -> Document:
    """The JSON of a record, checked against its own checksum, its name and its config.

    Raises:
        CorruptFileError: If it is not what was written.
    """
    try:
        document: Document = json.loads(path.read_bytes())
        claimed = document.pop("sha256")
        name, own = document["id"], digest(document)  # which refuses NaN
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        got = f"{type(error).__name__}: {shown(str(error))}"
        raise CorruptFileError(f"expected a record in {path}, got {got}; {ADVICE}") from error
    if own != claimed:
        raise CorruptFileError(f"expected {path} as written, but it was changed; {ADVICE}")
    if name != path.stem:
        raise CorruptFileError(f"expected {path} to be named {name}; {ADVICE}")
    if wrong := schema.against(document):
        raise CorruptFileError(f"expected a whole record in {path}, got {wrong}; {ADVICE}")
    return document


def read_arrays(path: Path, about: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays that belong to a record.

    Args:
        path: The npz file.
        about: What the JSON says about it.

    Raises:
        CorruptFileError: If the file is missing or not what was written.
    """
    data = path.read_bytes() if path.exists() else b""
    if hashlib.sha256(data).hexdigest() != about["sha256"]:
        raise CorruptFileError(f"expected the arrays of {path} as written, got others; {ADVICE}")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as opened:
            arrays = dict(opened)
        wrong = schema.against_arrays(arrays, about["shapes"])
    except (ValueError, OSError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        wrong = f"{type(error).__name__}: {shown(str(error))}"
    if wrong:
        raise CorruptFileError(f"expected the arrays of a record in {path}, got {wrong}; {ADVICE}")
    return arrays


def write(path: Path, document: Document, arrays: dict[str, np.ndarray]) -> None:
    """Write a record: first the arrays, then the JSON that vouches for them.

    Args:
        path: The JSON file.
        document: Its content, without checksums.
        arrays: Arrays by name.
    """
    packed = pack(arrays)
    shapes = {k: list(v.shape) for k, v in sorted(arrays.items())}
    document["arrays"] = {"sha256": hashlib.sha256(packed).hexdigest(), "shapes": shapes}
    _write_pair(path, document, packed)


def _write_pair(path: Path, document: Document, packed: bytes) -> None:
    text = _format({**document, "sha256": digest(document)}).encode()
    arrays = path.with_suffix(".npz")
    with staged(arrays, packed) as new_arrays, staged(path, text) as new_text:
        # all is on disk, and only names change: no moment with an old JSON beside new arrays
        path.unlink(missing_ok=True)
        os.replace(new_arrays, arrays)
        sync_folder(path.parent)
        os.replace(new_text, path)


def publish(source: Path, target: Path) -> None:
    """Copy a record to another folder, checked on the way.

    Raises:
        CorruptFileError: If either file is not what was written; nothing is copied then.
    """
    document, arrays = read_document(source), source.with_suffix(".npz")
    read_arrays(arrays, document["arrays"])
    _write_pair(target, document, arrays.read_bytes())


def pack(arrays: dict[str, np.ndarray]) -> bytes:
    """Arrays as npz whose bytes depend on nothing else: no dates, sorted names, no pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in sorted(arrays.items()):
            part = io.BytesIO()
            np.lib.format.write_array(part, np.ascontiguousarray(value), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(info, part.getvalue(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _format(document: Document) -> str:
    """JSON with one line per entry of each part, for people and for git."""
    parts = []
    for key, value in document.items():
        text = json.dumps(value, allow_nan=False)
        if isinstance(value, dict):
            lines = [f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()]
            text = "{\n" + ",\n".join(lines) + "\n  }"
        parts.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def numbers(values: np.ndarray) -> list[float | None]:
    """Shortest decimals that give the same numbers back; null for NaN and infinity."""
    return [float(str(v)) if np.isfinite(v) else None for v in values]
