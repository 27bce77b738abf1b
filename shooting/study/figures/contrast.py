"""Words in a figure that can be read: their contrast to the ground, as guidelines define it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import to_rgb

ENOUGH = 4.5  # for small words, by the Web Content Accessibility Guidelines 2.1 (1.4.3)
_SAME = 1.2  # words as light as the ground stand on something else, a cell of a table or an image


def luminance(colour: Any) -> float:
    """Relative luminance of an sRGB colour, from 0 (black) to 1 (white)."""
    c = np.array(to_rgb(colour))
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: Any, other: Any) -> float:
    """Contrast of two colours, from 1 (the same) to 21 (black and white)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def readable(colour: Any, ground: Any = "white") -> tuple[float, float, float]:
    """A colour for words: mixed with black, or with white on a dark ground, until it can be read.

    Args:
        colour: That of what the words name.
        ground: What they stand on; a colour that is nearly the ground's own is returned as it is.
    """
    own = np.array(to_rgb(colour))
    pole = float(luminance(ground) < 0.18)  # where black and white are equally far, nearly
    shares = np.linspace(0, 1, 101) if contrast(own, ground) > _SAME else np.zeros(1)
    mixed = ((1 - share) * own + share * pole for share in shares)
    red, green, blue = next((m for m in mixed if contrast(_in_files(m), ground) >= ENOUGH), own)
    return float(red), float(green), float(blue)


def _in_files(colour: np.ndarray) -> np.ndarray:
    """A colour as files hold it, in whole numbers from 0 to 255."""
    rounded: np.ndarray = np.round(255 * colour) / 255
    return rounded
