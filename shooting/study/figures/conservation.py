"""The error of a solve over what it loses of the Hamiltonian."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from shooting.conservation import ERROR_PER_DRIFT
from shooting.study.figures.style import PALETTE, WIDTH
from shooting.study.theory.drift import Pair

MARKERS = "osD^v<>P"  # of the fields, which colours alone would tell apart


def drift_and_error(found: Sequence[Pair]) -> Figure:
    """Every run at every step as a point: drift of H across, true error of the end point up.

    Args:
        found: The measured pairs.

    Returns:
        The figure; the full line is an error equal to the drift, the dashed one the factor that
        ``step="auto"`` reckons with.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.6))
    names = dict.fromkeys(p.name for p in found)
    for colour, marker, name in zip(PALETTE, MARKERS, names, strict=False):
        own = np.array([(p.drift, p.error) for p in found if p.name == name])
        ax.loglog(*own.T, marker, ms=4.5, mew=0, alpha=0.7, color=colour, label=name)
    ends = np.array([min(p.drift for p in found), max(p.drift for p in found)])
    ax.loglog(ends, ends, color="0.35", lw=1, zorder=0, label="error = drift")
    label = f"error = {ERROR_PER_DRIFT:g} × drift"
    ax.loglog(ends, ERROR_PER_DRIFT * ends, "--", color="0.35", lw=1, zorder=0, label=label)
    ax.set(xlabel="drift of H, relative", ylabel="error of the end point, relative")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig
