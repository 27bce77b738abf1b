"""Sphinx extension: the foot of each page says which code and which runs made it."""

import functools
import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import checkout
import yaml

from shooting.study.paths import state_folder
from shooting.study.records.files import read_document
from shooting.study.records.identity import NUMERICS
from shooting.study.records.store import since

ROOT = checkout.ROOT
RECORDS = ROOT / "book" / "records"


def _commit(found: checkout.Commit | None, *, dated: bool = True) -> str:
    """A commit in words."""
    if found is None:
        return "sources without git"
    date = f" of {found.date}" if dated else ""
    changed = " with later changes" if found.dirty else ""
    return f"commit <code>{escape(found.name)}</code>{date}{changed}"


# --- notebooks -----------------------------------------------------------------------------


def profile(notebook: dict[str, Any]) -> str:
    """The profile a notebook was executed with: an injected parameter, or its own default."""
    injected = notebook["metadata"].get("papermill", {}).get("parameters", {}).get("profile")
    if injected:
        return str(injected)
    code = "\n".join("".join(cell["source"]) for cell in notebook["cells"])
    found = re.search(r'^profile = "(\w+)"', code, re.M)
    return found.group(1) if found else "none"


def outputs(notebook: dict[str, Any], name: str) -> str:
    """When and by which code the outputs of a notebook were made, in words.

    Args:
        notebook: Its content: with traces of papermill if just executed, else as committed.
        name: File name.

    Returns:
        A sentence in HTML.
    """
    start = f"Outputs: profile <code>{escape(profile(notebook))}</code>, "
    ended = notebook["metadata"].get("papermill", {}).get("end_time")
    if ended is None:
        return f"{start}as stored in {_commit(checkout.last_commit(f'notebooks/{name}'))}."
    when = datetime.fromisoformat(ended).strftime("%Y-%m-%d %H:%M UTC")
    stamp = notebook["metadata"].get("shooting", {}).get("commit")
    made = checkout.Commit(**stamp) if stamp else None
    return f"{start}executed on {when} from {_commit(made, dated=False)}."


def experiments(notebook: dict[str, Any], page: str) -> list[str]:
    """Experiments whose records a page reads: by name in its code, or by a claim judged there."""
    known = sorted(folder.name for folder in RECORDS.iterdir() if folder.is_dir())
    cells = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    code = "\n".join("".join(cell["source"]) for cell in cells)
    if "load_all(name" in code or "load_items" in code:
        return known
    if "records" not in code and "load_claims" not in code:
        return []
    claims = yaml.safe_load((ROOT / "book" / "claims.yaml").read_text(encoding="utf-8"))
    judged = {str(c["test"]).partition(":")[0] for c in claims if c.get("page") == page}
    return [name for name in known if name in judged or f'"{name}"' in code]


# --- records -------------------------------------------------------------------------------


def record_folders(used: str) -> list[Path]:
    """Where records of a profile are: the committed ones; for `paper` the local ones too."""
    return [RECORDS, *([state_folder() / "records"] if used == "paper" else [])]


class Origin(NamedTuple):
    """What a reader should know of a record: its id, day, number of runs and numerics."""

    id: str
    day: str
    runs: int
    numerics: int


@functools.cache
def origins(folder: Path, name: str) -> tuple[Origin, ...]:
    """Where every record of an experiment in a folder comes from.

    Under ``$FRESH`` only of those that were begun since then, as on the page itself.
    """
    found = []
    moment = since()
    for path in sorted((folder / name).glob("*.json")):
        record = read_document(path)
        made = record["provenance"]
        if moment is not None and datetime.fromisoformat(made["started"]) < moment:
            continue
        day, runs = str(made["ended"])[:10], len(record["failed_at"])
        found.append(Origin(str(record["id"]), day, runs, int(record["numerics"])))
    return tuple(found)


def records(names: Iterable[str], used: str) -> str:
    """The runs behind a page in one line: how many, when, by which numerics; their ids folded.

    Args:
        names: Experiments.
        used: Profile of the page.

    Returns:
        HTML, empty if there is no record.
    """
    by_name = {name: _each_once(name, used) for name in names}
    every = [o for found in by_name.values() for o in found]
    if not every:
        return ""
    ids = "".join(_ids(name, found) for name, found in by_name.items() if found)
    return f"<details><summary>{_summary(every)}</summary>{ids}</details>"


def _each_once(name: str, used: str) -> list[Origin]:
    every = (o for folder in record_folders(used) for o in origins(folder, name))
    return list({o.id: o for o in reversed([*every])}.values())[::-1]


def _summary(found: Sequence[Origin]) -> str:
    days = sorted({o.day for o in found})
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    runs, other = sum(o.runs for o in found), sum(o.numerics != NUMERICS for o in found)
    whole = f"{runs:,} training runs in {len(found)} records, {span}"
    numerics = f"the numerics of the code as it is (version {NUMERICS})"
    if not other:
        return f"Behind this page: {whole}, made with {numerics}."
    return f"Behind this page: {whole}; records not used, since other numerics made them: {other}."


def _ids(name: str, found: Sequence[Origin]) -> str:
    ids = " ".join(f"<code>{escape(o.id)}</code>" for o in found)
    return f"<p>{escape(name.replace('_', ' '))}, {len(found)} records: {ids}</p>"


# --- pages ---------------------------------------------------------------------------------


def foot(page: str, path: Path) -> str:
    """The provenance of a page.

    Args:
        page: Its name, as notebooks/13_circles.
        path: Its source as Sphinx reads it.

    Returns:
        HTML.
    """
    built = f"Built from {_commit(checkout.last_commit())}."
    if path.suffix != ".ipynb":
        return f'<div class="provenance"><p>{built}</p></div>'
    notebook = json.loads(path.read_text(encoding="utf-8"))
    read = records(experiments(notebook, page), profile(notebook))
    line = f"<p>{built} {outputs(notebook, path.name)}</p>"
    return f'<div class="provenance">{line}{read}</div>'


def _add(app: Any, page: str, _template: str, context: dict[str, Any], _tree: Any) -> None:
    if page in app.env.found_docs:
        context["theme_extra_footer"] = foot(page, Path(app.env.doc2path(page)))


def setup(app: Any) -> dict[str, bool]:
    """Register the extension."""
    app.connect("html-page-context", _add)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
