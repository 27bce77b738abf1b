"""How long the notebooks take: measured by `make reference`, printed on the front page.

Processor time, which does not count the time taken by other programs, but does count what they cost
by sharing caches: on a busy machine it is up to a few times that of a quiet one.

Usage: python measured.py --into book/times.json EXECUTED...

As a Sphinx extension it offers the numbers as substitutions, so that no page has them typed.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import checkout

from shooting.study.storage import atomic_write

STORED = checkout.ROOT / "book" / "times.json"


def seconds(executed: Path) -> float | None:
    """Processor time of an execution; None if the notebook carries no trace of one."""
    metadata = json.loads(executed.read_text(encoding="utf-8"))["metadata"]
    spent: float | None = metadata.get("shooting", {}).get("cpu_seconds")
    return spent


def update(stored: dict[str, Any], executed: list[Path]) -> dict[str, Any]:
    """Replace the times of notebooks that were executed, and say where.

    Args:
        stored: What is known: ``seconds`` by notebook, and where measured.
        executed: Notebooks as papermill wrote them.

    Returns:
        The new content.
    """
    from shooting.study.records.provenance import processor

    found = {path.stem: seconds(path) for path in executed}
    known = stored.get("seconds", {}) | {k: v for k, v in found.items() if v is not None}
    ended = [
        json.loads(p.read_text(encoding="utf-8"))["metadata"].get("papermill", {}).get("end_time")
        for p in executed
    ]
    date = max([stored.get("date", ""), *(str(e)[:10] for e in ended if e)])
    machine = {"processor": processor(), "cores": os.cpu_count(), "date": date}
    return {**machine, "seconds": dict(sorted(known.items()))}


def substitutions(stored: dict[str, Any]) -> dict[str, str]:
    """The times in words, for the pages; says so if not every notebook was measured."""
    times, every = stored["seconds"], len(list(checkout.ROOT.glob("notebooks/*.ipynb")))
    longest = max(times, key=times.get)
    count = f"{len(times)}" if len(times) >= every else f"{len(times)} of {every}"
    return {
        "notebooks_time": f"{sum(times.values()) / 60:.0f} minutes for {count} notebooks",
        "longest_time": f"{times[longest] / 60:.1f} minutes, `{longest}`",
        "measured_on": f"{stored['processor']}, {stored['cores']} cores, {stored['date']}",
    }


def main() -> int:
    """Write the times of executed notebooks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("notebooks", nargs="+", type=Path)
    options = parser.parse_args()
    known = json.loads(options.into.read_text(encoding="utf-8")) if options.into.exists() else {}
    content = update(known, options.notebooks)
    atomic_write(options.into, (json.dumps(content, indent=1) + "\n").encode())
    return 0


def _offer(_app: Any, config: Any) -> None:
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    config.myst_substitutions = {**(config.myst_substitutions or {}), **substitutions(stored)}


def setup(app: Any) -> dict[str, bool]:
    """Register the extension."""
    app.connect("config-inited", _offer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    sys.exit(main())
