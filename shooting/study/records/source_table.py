"""From a figure to the trainings behind it: ids, settings, commit, machine, command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from shooting.study.experiments.settings import changed
from shooting.study.records import Record

COLUMNS = ("record", "settings", "runs", "failed", "commit", "machine", "minutes")


@dataclass(frozen=True)
class SourceTable:
    """A folded table that a notebook shows below a figure.

    Attributes:
        records: The records that the figure draws.
    """

    records: tuple[Record, ...]

    def __repr__(self) -> str:
        return f"<the {len(self.records)} records behind this>"

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in COLUMNS)
        rows = "".join(f"<tr>{_cells(record)}</tr>" for record in self.records)
        names = sorted({record.experiment for record in self.records})
        commands = "".join(
            f"<pre>python -m shooting run --experiment {escape(name)} --ids ID</pre>"
            for name in names
        )
        return (
            f"<details><summary>The {len(self.records)} records behind this</summary>"
            f"<p>Any of them is made again by</p>{commands}"
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></details>"
        )


def source_table(records: Sequence[Record]) -> SourceTable:
    """Say where numbers come from.

    Args:
        records: The records behind a figure or table.

    Returns:
        An object that notebooks show as a folded table.
    """
    return SourceTable(tuple(records))


def _cells(record: Record) -> str:
    about = record.provenance
    commit = (about["commit"] or "no git")[:10] + (" with changes" if about["dirty"] else "")
    values = (
        record.id,
        changed(record.config),
        str(len(record.failed_at)),
        str(int(record.failed.sum())),
        commit,
        f"{about['processor']}, torch {about['torch'].partition('+')[0]}, {about['route']}",
        f"{about['wall_seconds'] / 60:.1f}",
    )
    return "".join(f"<td>{escape(value)}</td>" for value in values)
