"""Images as bytes, and the checksum of bytes: how data are kept and compared."""

from __future__ import annotations

import hashlib

import numpy as np


def to_bytes(images: np.ndarray) -> np.ndarray:
    """Images as uint8, cut off at 0 and 1: alike on all processors, which float64 is not."""
    return np.round(255 * images.clip(0, 1)).astype(np.uint8)


def sha256(values: np.ndarray) -> str:
    """Sha256 of an array's bytes in C order."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
