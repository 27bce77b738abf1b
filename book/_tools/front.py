"""Sphinx extension: numbers that the front page and the course need, computed when they are built.

``{{ few.loss }}`` and its like compare fifteen particles with five free blocks at the largest
inflation factor of the paper; ``{{ minutes.shooting }}`` is the time to read a chapter, by
``reading.py``, and ``{{ chapter.shooting }}`` its number, by the contents. Names are those of the
notebooks without the number in front; minutes may be added.
"""

import json
from pathlib import Path
from typing import Any

import checkout
import reading
import yaml

LARGEST = 128  # the paper's last inflation factor
BLOCKS = 5


def minutes(notebooks: Path) -> dict[str, int]:
    """Time to read each chapter, words and code in sight.

    Args:
        notebooks: Their folder.

    Returns:
        Minutes by name; the number in front of it is left out.
    """
    found = {}
    for path in notebooks.glob("*.ipynb"):
        content = json.loads(path.read_text(encoding="utf-8"))
        found[_name(path.stem)] = reading.measure(content).minutes
    return found


def chapters(contents: Path) -> dict[str, int]:
    """Number of each chapter, counted over the numbered parts as Sphinx does.

    Args:
        contents: The file ``_toc.yml``.

    Returns:
        Numbers from 1, by name.
    """
    parts = yaml.safe_load(contents.read_text(encoding="utf-8"))["parts"]
    files = [c["file"] for part in parts if part.get("numbered") for c in part["chapters"]]
    return {_name(Path(file).name): number for number, file in enumerate(files, start=1)}


def _name(stem: str) -> str:
    return stem.partition("_")[2]


def comparison() -> dict[str, dict[str, str]]:
    """Fifteen particles and five free blocks: median loss over all seeds, and learned numbers.

    Returns:
        ``few`` and ``many`` with ``loss``, ``count``, ``runs`` in words; all from records that are
        kept with the sources. A missing record is named so.
    """
    from shooting.study.claims.regression import runs_of
    from shooting.study.experiments.regression import RegressionConfig
    from shooting.study.theory.counting import direct_count, particle_count

    few = RegressionConfig(model="dynamic_particles", inflation=LARGEST)
    many = RegressionConfig(model="dynamic_direct", inflation=LARGEST)
    counts = {
        "few": particle_count(1, LARGEST, particles=few.particles),
        "many": direct_count(1, LARGEST, blocks=BLOCKS),
    }
    return {
        name: {**_loss(runs_of(config)), "count": f"{counts[name]:,}"}
        for name, config in (("few", few), ("many", many))
    }


def _loss(runs: Any) -> dict[str, str]:
    if runs is None:
        return {"loss": "(not run)", "runs": "no"}
    from shooting.study.claims.rule import median  # a failed run counts as infinitely bad

    losses = runs.metrics["loss"]
    return {"loss": f"{median(losses):.3f}", "runs": str(len(losses))}


def _offer(_app: Any, config: Any) -> None:
    offered = {
        "minutes": minutes(checkout.ROOT / "notebooks"),
        "chapter": chapters(checkout.ROOT / "book" / "_toc.yml"),
        **comparison(),
    }
    config.myst_substitutions = {**(config.myst_substitutions or {}), **offered}


def setup(app: Any) -> dict[str, bool]:
    """Register the extension."""
    app.connect("config-inited", _offer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
