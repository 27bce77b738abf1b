"""Forge one field of a record after the other, and see what verification says.

``python tests/study/records/forging.py FOLDER`` writes ``book/forged_records.yaml`` and the table
of ``book/checklists.md``; the folder keeps the trainings that it needs, one of each experiment.
"""

from __future__ import annotations

import copy
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from shooting.study import records
from shooting.study.experiments import EXPERIMENTS
from shooting.study.experiments.base import TRIVIAL
from shooting.study.records import Record, comparison, files, identities, verification
from shooting.study.storage import CorruptFileError

ROOT = Path(__file__).parents[3]
# One record of each experiment: the cheapest with particles that change over depth, if there is one
CHOSEN = {
    "ablations": "0508d4c834cbfc00",
    "baselines": "dcba4e254ee880ff",
    "bouncing_balls": "97c803a22c912752",
    "circles": "b02c1b31b063afd8",
    "classifier": "b210fc737ff09c30",
    "convex_trap": "b7396f3a944a9f9d",
    "kicks": "6593b5128f4d1396",
    "long_range": "483fa8146c174c59",
    "regression": "502c4ec3d6bf2a72",
    "rotating_mnist": "63b77fece987f9c7",
    "spiral": "bfdd38ad82756a12",
    "spiral_cure": "cd75c5b447f98bd2",
}
TENTH = 0.1
WAYS = ("same machine", "processor changed", "trained again here")
RULES = ("before", "after")
Document = dict[str, Any]
Arrays = dict[str, np.ndarray]
IsRead = Callable[[str, str], bool]  # of an experiment, a field
Forgery = tuple[str, Document, Arrays]  # kind and name of the field, and what is written


def chosen(folder: Path | None = None) -> dict[str, Record]:
    """The records that are forged, by experiment."""
    known, _ = verification.committed(list(EXPERIMENTS.values()), folder)
    return {r.experiment: r for r in known if CHOSEN[r.experiment] == r.id}


# --- forging --------------------------------------------------------------------------------


def forgeries(record: Record) -> Iterator[Forgery]:
    """Every field of a record's two files changed, one at a time.

    Measured numbers by a tenth of their spread over seeds, in one run and one place; where there is
    no spread, and in everything that must be exact, by one bit, one, or one letter.
    """
    document, arrays = read(record)
    for part, value in document.items():
        if part in ("config", "facts", "provenance"):
            yield from _exact(part, document, arrays)
        elif part == "metrics":
            yield from _metrics(document, arrays)
        elif part == "history":
            for key in value:
                yield _changed(f"history {key}", document, arrays, (part, key), _entry)
        elif part == "early":
            yield _changed("field early", document, arrays, (part,), _early)
        elif part == "drift":
            yield _changed("field drift", document, arrays, (part,), _entry)
        else:
            yield _changed(f"field {part}", document, arrays, (part,), _one)
    for name, values in arrays.items():
        forged = nudged(values.T if name == "history" else values, len(record.failed))
        forged = forged.T if name == "history" else forged
        yield f"array {name}", document, {**arrays, name: forged}


def read(record: Record) -> tuple[Document, Arrays]:
    """The content of a record's files, without what is computed when they are written."""
    document = files.read_document(record.path)
    del document["arrays"]
    return document, record.arrays


def _exact(part: str, document: Document, arrays: Arrays) -> Iterator[Forgery]:
    kind = {"config": "setting", "facts": "fact", "provenance": "provenance"}[part]
    for name in document[part]:
        yield _changed(f"{kind} {name}", document, arrays, (part, name), _one)


def _metrics(document: Document, arrays: Arrays) -> Iterator[Forgery]:
    for name in document["metrics"]:
        yield _changed(f"metric {name}", document, arrays, ("metrics", name), _entry)


def _changed(
    field: str,
    document: Document,
    arrays: Arrays,
    place: tuple[str, ...],
    change: Callable[[Any], Any],
) -> Forgery:
    forged = copy.deepcopy(document)
    inner = forged[place[0]] if len(place) == 2 else forged
    inner[place[-1]] = change(inner[place[-1]])
    return field, forged, arrays


def _one(value: Any) -> Any:
    """The least change: one bit of a number, one more, a letter more, or the other truth value."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, list):
        return [*value[:-1], _one(value[-1])]
    if isinstance(value, float):
        return float(np.nextafter(value, np.inf))
    return value + 1 if isinstance(value, int) else f"{value}x"


def _entry(values: Any) -> Any:
    """One run of a list of numbers, by a tenth of their spread; numbers by one."""
    if not isinstance(values, list):
        return _one(values)
    forged = nudged(np.array(values, dtype=np.float64), len(values))
    return [float(x) for x in forged]


def _early(rows: Any) -> Any:
    values = np.array(rows, dtype=np.float64)
    return [[float(x) for x in row] for row in nudged(values.T, values.shape[1]).T]


def nudged(values: np.ndarray, runs: int) -> np.ndarray:
    """One number in the middle moved by a tenth of its spread over seeds, or by one bit.

    Where there is one run only, or the array is kept for the first runs, the spread is that of the
    whole array, or the size of a number alone.
    """
    forged, place = values.copy(), tuple(n // 2 for n in values.shape)
    if values.shape[0] == runs > 1:
        spread = np.ptp(values[(slice(None), *place[1:])].astype(float))
    else:
        spread = np.ptp(values.astype(float)) if values.size > 1 else float(np.abs(values).max())
    if values.dtype == np.uint8:
        far = max(1, round(TENTH * spread))
        forged[place] = int(values[place]) + (far if values[place] < 128 else -far)
    else:
        forged[place] = values[place] + TENTH * spread
        if forged[place] == values[place]:
            forged[place] = np.nextafter(values[place], values.dtype.type(np.inf))
    return forged


# --- judging --------------------------------------------------------------------------------


def written(record: Record, forgery: Forgery, folder: Path) -> Record | None:
    """The forged record with the project's own checksums, as verification reads it.

    None if it is refused: when it is written, or when it is read.
    """
    _, document, arrays = forgery
    path = folder / record.path.name
    try:
        files.write(path, copy.deepcopy(document), arrays)
        return records.read(path, record.config)
    except (CorruptFileError, ValueError, TypeError):
        return None


def moved(record: Record) -> Record:
    """The same from another processor, so that the rules for other machines apply."""
    about = {**record.provenance, "processor": f"{record.provenance['processor']}, moved"}
    return replace(record, provenance=about)


def before(old: Record, new: Record) -> list[str]:
    """The rules as they were: elsewhere only counts, first losses and last losses counted."""
    if comparison.same_machine(old, new):
        return list(comparison.exactly(old, new))
    facts = {k for k in {*old.facts, *new.facts} if not k.startswith(TRIVIAL)}
    wrong = [k for k in facts if old.facts.get(k) != new.facts.get(k)]
    first = old.early[:50]
    if first.shape != new.early[:50].shape or not np.allclose(
        new.early[:50], first, rtol=1e-4, atol=0.0, equal_nan=True
    ):
        wrong.append("early")
    finals = [(old.arrays["history"][-1], new.arrays["history"][-1])]
    finals += [(old.metrics["loss"], new.metrics["loss"])] if "loss" in old.metrics else []
    for was, now in finals:
        low, high = comparison.widened(was[~old.failed])
        wrong += ["final"] if not ((low <= now) & (now <= high))[~old.failed].all() else []
    return wrong


def trials(record: Record, now: Record | None, folder: Path) -> dict[str, list[str]]:
    """Fields whose forgery is missed, by way of comparing and rules.

    An honest training on the same machine leaves the record itself; so it does here.

    Args:
        record: The record.
        now: The outcome of training it again here; none to leave that out.
        folder: To write into.
    """
    missed: dict[str, list[str]] = {f"{way}, {rules}": [] for way in WAYS for rules in RULES}
    for forgery in forgeries(record):
        forged = written(record, forgery, folder)
        if forged is None:
            continue
        wrong = identities.problems(forged)
        ways = ((forged, record), (moved(forged), record), (moved(forged), now))
        for way, (old, new) in zip(WAYS, ways, strict=True):
            if new is not None and not before(old, new):
                missed[f"{way}, before"].append(forgery[0])
            if new is not None and not wrong and not comparison.compare(old, new):
                missed[f"{way}, after"].append(forgery[0])
    return missed


def shown(record: Record, now: Record | None, folder: Path, is_read: IsRead) -> Document:
    """What came of all forgeries of one record, for the file."""
    fields = [f[0] for f in forgeries(record)]
    counted = [f for f in fields if not f.startswith("provenance ")]
    found: Document = {"record": record.id, "fields": len(counted)}
    for key, missed in trials(record, now, folder).items():
        way, _, rules = key.partition(", ")
        other = now if way == WAYS[-1] else record
        if other is None:
            continue
        judge = before if rules == "before" else comparison.compare
        rows = [f for f in missed if f in counted]
        found[key] = {
            "honest record": "differs" if judge(moved(record), other) else "agrees",
            "caught": len(counted) - len(rows),
            "missed and read": [f for f in rows if is_read(record.experiment, f)],
            "missed, read by nothing": [f for f in rows if not is_read(record.experiment, f)],
            "provenance caught": len(fields) - len(counted) - (len(missed) - len(rows)),
        }
    return found


# --- the file and the table -----------------------------------------------------------------

RESULT, PAGE = ROOT / "book" / "forged_records.yaml", ROOT / "book" / "checklists.md"
BEGIN, END = "<!-- forged records, written by a command -->", "<!-- end of forged records -->"
HEAD = (
    "| experiment | fields | same machine | processor changed | trained on another processor |\n"
    "|---|---|---|---|---|"
)


def table(found: Document) -> str:
    """Markdown: the share that is caught or read by nothing, as the rules were → as they are."""
    return "\n".join([HEAD, *(_row(name, [about]) for name, about in found.items()),
                      _row("all", list(found.values()))])  # fmt: skip


def _row(name: str, rows: Sequence[Document]) -> str:
    fields = sum(about["fields"] for about in rows)
    cells = [_cell(rows, f"{way}, before") + " → " + _cell(rows, f"{way}, after") for way in WAYS]
    return f"| {name.replace('_', ' ')} | {fields} | " + " | ".join(cells) + " |"


def _cell(rows: Sequence[Document], key: str) -> str:
    """A share, of the records that are not called wrong when they are honest."""
    sound = [about for about in rows if about[key]["honest record"] == "agrees"]
    if not sound:
        return "false alarm"
    fine = sum(about["fields"] - len(about[key]["missed and read"]) for about in sound)
    return f"{100 * fine / sum(about['fields'] for about in sound):.0f} %"


def on_the_page(text: str) -> str:
    """The table as the page has it."""
    return text.partition(BEGIN)[2].partition(END)[0].strip()


def main(cache: Path, is_read: IsRead) -> None:
    """Forge all, with a training of each record in the cache, and write file and page."""
    found: Document = {}
    for name, record in sorted(chosen().items()):
        path = cache / name / f"{record.id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            records.recompute(EXPERIMENTS[name], record.config, path.parent)
        now = records.read(path, record.config)
        with tempfile.TemporaryDirectory() as folder:
            found[name] = shown(record, now, Path(folder), is_read)
    RESULT.write_text(yaml.safe_dump(found, sort_keys=False, width=100), encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    if BEGIN in text:
        head, tail = text.partition(BEGIN)[0], text.partition(END)[2]
        PAGE.write_text(f"{head}{BEGIN}\n\n{table(found)}\n\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    from what_is_read import reader

    main(Path(sys.argv[1]), reader(ROOT, pytest.MonkeyPatch()))
