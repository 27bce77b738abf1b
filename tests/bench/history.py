"""All measurements that `book/records/bench.json` has ever held, from the repository's history.

A page that showed one of several measurements could choose. `python tests/bench/history.py` writes
what each of them says of the criteria; `make bench` does so after each measurement.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from shooting.study.figures.speed import bars
from shooting.study.storage import atomic_write

ROOT = Path(__file__).resolve().parents[2]
RECORD = "book/records/bench.json"
HISTORY = ROOT / "book" / "records" / "bench_history.json"


def documents() -> list[dict[str, Any]]:
    """The measurement in the working tree and all that were committed, by date, each once."""
    found = [(ROOT / RECORD).read_text(encoding="utf-8")]
    known = (ROOT / ".git").exists()  # else an archive, which has no history
    commits = _git("log", "--format=%H", "--", RECORD).split() if known else []
    found += [_git("show", f"{commit}:{RECORD}") for commit in commits]
    by_date = {d["provenance"]["date"]: d for d in map(json.loads, found)}
    return [by_date[date] for date in sorted(by_date)]


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


def summary(document: dict[str, Any]) -> dict[str, Any]:
    """Date, load, and each factor that has a criterion."""
    about = document["provenance"]
    return {
        "date": about["date"],
        "load": [about["load"], about["load_end"]],
        "factors": {what: float(f"{factor:.4g}") for what, _, factor, _ in bars(document)},
    }


def write() -> None:
    """Write `HISTORY`; never with fewer measurements than it has, as a shallow clone would."""
    known = json.loads(HISTORY.read_text(encoding="utf-8")) if HISTORY.exists() else []
    by_date = {entry["date"]: entry for entry in [*known, *map(summary, documents())]}
    entries = [by_date[date] for date in sorted(by_date)]
    atomic_write(HISTORY, (json.dumps(entries, indent=1, ensure_ascii=False) + "\n").encode())


if __name__ == "__main__":
    write()
