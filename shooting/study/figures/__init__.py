"""Figures: results in, `matplotlib.figure.Figure` out; one style for the whole book."""

from shooting.study.figures.style import MODEL_COLOURS, PALETTE, save, use_style

__all__ = ["MODEL_COLOURS", "PALETTE", "save", "use_style"]
