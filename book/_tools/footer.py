"""Sphinx extension: the foot of each page says which code, run and records made it."""

import functools
import json
import re
from collections.abc import Iterable
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

import checkout
import yaml

from shooting.study.paths import state_folder
from shooting.study.records.files import read_document
from shooting.study.records.provenance import is_present
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


@functools.cache
def provenance(folder: Path, name: str) -> tuple[tuple[str, str, str], ...]:
    """Id, day and hash of the sources of every record of an experiment in a folder.

    Under ``$FRESH`` only of those that were begun since then, as on the page itself.
    """
    found = []
    moment = since()
    for path in sorted((folder / name).glob("*.json")):
        record = read_document(path)
        made = record["provenance"]
        if moment is not None and datetime.fromisoformat(made["started"]) < moment:
            continue
        found.append((str(record["id"]), str(made["ended"])[:10], str(made["source"])))
    return tuple(found)


def records(names: Iterable[str], used: str) -> str:
    """The records behind a page: how many, when, by which code, and their ids.

    Args:
        names: Experiments.
        used: Profile of the page.

    Returns:
        HTML, empty if there is no record.
    """
    parts = []
    for name in names:
        every = (r for folder in record_folders(used) for r in provenance(folder, name))
        found = list({one: (one, *rest) for one, *rest in reversed([*every])}.values())[::-1]
        if found:
            days = sorted({day for _, day, _ in found})
            span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
            other = sum(not is_present(source) for _, _, source in found)
            note = f", {other} of them before a later change of the package" if other else ""
            ids = " ".join(f"<code>{escape(one)}</code>" for one, _, _ in found)
            parts.append(
                f"<details><summary>{len(found)} records of {escape(name.replace('_', ' '))}, "
                f"trained {span}{note}</summary><p>{ids}</p></details>"
            )
    return "".join(parts)


# --- pages ---------------------------------------------------------------------------------


def foot(page: str, path: Path) -> str:
    """The provenance of a page.

    Args:
        page: Its name, as notebooks/12_circles.
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
