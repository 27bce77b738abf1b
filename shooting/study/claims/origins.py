"""Which code made the committed records, and which records are stale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from shooting.study import records
from shooting.study.experiments import EXPERIMENTS
from shooting.study.records import Record, provenance
from shooting.study.records.files import read_document
from shooting.study.records.identity import NUMERICS

HEAD = ("experiment", "records", "made by", "source hash", "commit", "trained")
STALE_HEAD = ("experiment", "record", "why it is stale")
DIGITS = 10  # of hashes shown
HERE, EARLIER = "the code as it is here", "an earlier version"


@dataclass(frozen=True)
class Origin:
    """Records that one experiment's training left under one version of the code.

    Attributes:
        experiment: Name of the experiment.
        source: Hash of the sources that can change a result.
        commit: Git commit in which they stood; "no git" outside a checkout.
        records: The records.
    """

    experiment: str
    source: str
    commit: str
    records: tuple[Record, ...]

    @property
    def is_present(self) -> bool:
        """Whether these sources are the ones that this process runs."""
        return provenance.is_present(self.source)

    @property
    def days(self) -> str:
        """First and last day of training."""
        days = sorted({str(r.provenance["ended"])[:10] for r in self.records})
        return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def origins(found: Sequence[Record]) -> list[Origin]:
    """Group records by experiment and code; experiments as given, each in order of training."""
    names = list(dict.fromkeys(r.experiment for r in found))
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in sorted(found, key=lambda r: (names.index(r.experiment), r.provenance["ended"])):
        key = record.experiment, record.provenance["source"], _commit(record)
        groups.setdefault(key, []).append(record)
    return [Origin(*key, tuple(members)) for key, members in groups.items()]


def _commit(record: Record) -> str:
    about = record.provenance
    return (about["commit"] or "no git")[:DIGITS] + (" with changes" if about["dirty"] else "")


def origin_rows(found: Sequence[Origin]) -> list[tuple[str, ...]]:
    """One row under `HEAD` per origin, as HTML."""
    return [
        (
            escape(o.experiment),
            str(len(o.records)),
            HERE if o.is_present else EARLIER,
            f"<code>{escape(o.source[:DIGITS])}</code>",
            f"<code>{escape(o.commit)}</code>",
            o.days,
        )
        for o in found
    ]


def remark(found: Sequence[Origin]) -> str:
    """Whether the records are those of the present code, and how many versions made them."""
    total = sum(len(o.records) for o in found)
    versions = len({o.source for o in found})
    made = "one version of the code" if versions == 1 else f"{versions} versions of the code"
    return (
        f"All {total} records that are used have the numerics of the code as it is "
        f"(version {NUMERICS}); {made} with these numerics made them."
    )


def stale_rows(folder: Path | None = None) -> list[tuple[str, ...]]:
    """One row under `STALE_HEAD` per committed record that is no longer used.

    Args:
        folder: Where to look; the committed records by default.

    Raises:
        CorruptFileError: If a record is not what was written.
    """
    return [
        (name, f"<code>{path.stem}</code>", _why(path))
        for name in EXPERIMENTS
        for path in records.stale(name, folder)
    ]


def _why(path: Path) -> str:
    made = read_document(path)["numerics"]
    if made != NUMERICS:
        return f"made under NUMERICS {made}, now {NUMERICS}"
    return "no grid asks for its settings"
