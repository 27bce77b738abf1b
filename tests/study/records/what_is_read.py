"""What claims, figures and pages read of records, computed from the code that does so.

Twice: claims and figures are evaluated on records that note every access; and the sources of
claims, figures and pages are searched for the names of entries, since pages are not executed here.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt

from shooting.study.claims import judge_all
from shooting.study.claims.convex_hypotheses import hypotheses, levels, median_short, spiral_pairs
from shooting.study.figures import paper
from shooting.study.records import Record, store

Entry = tuple[str, str, str]  # experiment, kind, name
KINDS = {"metrics": "metric", "arrays": "array", "facts": "fact", "provenance": "provenance"}
FIELDS = ("early", "failed_at", "drift")
SHORTEST = 3  # letters that a formatted name must have of its own


class Noted(dict[str, Any]):
    """A dictionary that notes what is taken out of it, also by ``{**noted}``."""

    def __init__(self, entries: dict[str, Any], note: Callable[[str], None]) -> None:
        super().__init__(entries)
        self.note = note

    def __getitem__(self, name: str) -> Any:
        self.note(name)
        return super().__getitem__(name)

    def __iter__(self) -> Iterator[str]:  # without it ``{**noted}`` would bypass __getitem__
        return super().__iter__()

    def get(self, name: str, default: Any = None) -> Any:
        self.note(name)
        return super().get(name, default)

    def items(self) -> Any:
        return [(name, self[name]) for name in self]

    def values(self) -> Any:
        return [self[name] for name in self]


def noting(seen: set[Entry]) -> Callable[[Record], Record]:
    """Makes copies of records that add to a set whatever is read of them."""

    class NotedRecord(Record):
        def __getattribute__(self, name: str) -> Any:
            if name in FIELDS:
                seen.add((super().__getattribute__("experiment"), "field", name))
            return super().__getattribute__(name)

    def copy(record: Record) -> Record:
        if not record.metrics:  # every run failed
            return record
        parts = {f.name: getattr(record, f.name) for f in fields(Record)}
        for part, kind in KINDS.items():
            note = _noter(seen, record.experiment, kind)
            parts[part] = Noted(parts[part], note)
        return NotedRecord(**parts)

    return copy


def _noter(seen: set[Entry], experiment: str, kind: str) -> Callable[[str], None]:
    return lambda name: seen.add((experiment, kind, name))


def evaluated(monkeypatch: Any) -> set[Entry]:
    """Entries that are read while all claims, predictions and figures are made from the records."""
    seen: set[Entry] = set()
    copy, plain = noting(seen), store.read
    with monkeypatch.context() as patch:
        patch.setattr(store, "read", lambda path, config: copy(plain(path, config)))
        judge_all()
        hypotheses()
        levels()
        for _, *pair in spiral_pairs():
            for record in filter(None, pair):
                median_short(record)
        for name in paper.FIGURES:
            plt.close(paper.figure(name)[0])
    return seen


def sources(root: Path) -> Iterator[str]:
    """Python text of claims, figures, tools of the book, and the code cells of all pages."""
    folders = ("shooting/study/claims", "shooting/study/figures", "book/_tools")
    shown = root / "shooting/study/records/source_table.py"
    for path in [shown, *(p for folder in folders for p in sorted((root / folder).glob("*.py")))]:
        yield path.read_text(encoding="utf-8")
    for page in sorted((root / "notebooks").glob("*.ipynb")):
        cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
        code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
        yield "\n".join(line for c in code for line in c.splitlines() if line[:1] not in "%!")


def named(texts: Iterable[str]) -> re.Pattern[str]:
    """A pattern of the strings that sources spell out, parts that are put in being open."""
    found = set()
    for text in texts:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(re.escape(node.value))
            elif isinstance(node, ast.JoinedStr):
                parts = [str(p.value) if isinstance(p, ast.Constant) else "" for p in node.values]
                if len("".join(parts)) >= SHORTEST:
                    found.add("".join(re.escape(p) or ".+" for p in parts))
    return re.compile("|".join(f"(?:{one})" for one in sorted(found)))


def fields_named(texts: Iterable[str]) -> set[str]:
    """Fields of records whose names sources take as an attribute of anything."""
    nodes = (node for text in texts for node in ast.walk(ast.parse(text)))
    taken = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return {f for f in FIELDS if f in taken or (f == "failed_at" and "failed" in taken)}


def reader(root: Path, monkeypatch: Any) -> Callable[[str, str], bool]:
    """Whether claims, figures or pages read a field of an experiment, named as in `forging`."""
    seen, pattern = evaluated(monkeypatch), named(sources(root))
    taken = fields_named(sources(root))

    def is_read(experiment: str, field: str) -> bool:
        kind, _, name = field.partition(" ")
        if kind in ("field", "history"):  # the latter stands in the JSON alone
            return name in taken
        return (experiment, kind, name) in seen or pattern.fullmatch(name) is not None

    return is_read
