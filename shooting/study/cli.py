"""The only command line: ``python -m shooting run|verify|status|unfinished|figure|data|new``."""

from __future__ import annotations

import argparse
import errno
import io
import math
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from shooting.environment import NoHomeError
from shooting.errors import MissingDataError
from shooting.study import records, scaffold
from shooting.study.data.fetch import fetch_mnist
from shooting.study.experiments import EXPERIMENTS, PROFILES, Experiment
from shooting.study.experiments.base import float32
from shooting.study.experiments.settings import as_dict, changed
from shooting.study.paths import NotInCheckoutError, figures_folder, records_folder, setting_of
from shooting.study.records import manifest, unfinished, verification
from shooting.study.records.identity import record_id
from shooting.study.records.store import since
from shooting.study.storage import UNWRITABLE, BusyError, CorruptFileError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):  # α and … where the terminal knows neither
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    options = parser().parse_args(arguments)
    try:
        since()
    except ValueError as error:
        sys.exit(str(error))
    torch.set_num_threads(options.threads)
    try:
        command: int = options.command(options)
    except (NotInCheckoutError, NoHomeError) as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(_unwritable(error, getattr(options, "out", None)))
    return command


def _unwritable(error: OSError, out: Path | None) -> str:
    """Which folder takes no file, why, and what to set; any other error goes its way.

    Raises:
        OSError: If it is about something else.
    """
    if error.errno not in UNWRITABLE or not error.filename:
        raise error
    room = "make room there, or " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return (
        f"expected to read and write {error.filename}, but {error.strerror}; {room}set "
        f"{setting_of(Path(error.filename), out)} to another folder"
    )


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="python -m shooting", description=__doc__)
    commands = top.add_subparsers(
        required=True, metavar="run|verify|status|unfinished|figure|data|new"
    )

    one = commands.add_parser("run", help="train what is missing, one config after the other")
    _select(one, required=True)
    one.add_argument("--out", type=Path, help="folder for the records (default: local records)")
    one.add_argument("--fresh", action="store_true", help="train again what is there already")
    one.add_argument("--checkpoint-seconds", type=float, default=20.0, metavar="S")
    one.set_defaults(command=run)

    one = commands.add_parser("verify", help="train committed records again and compare")
    one.add_argument("--experiment", choices=sorted(EXPERIMENTS))
    one.add_argument(
        "--sample", default="", type=_sample, metavar="all|NUMBER", help="default: five minutes"
    )
    one.add_argument("--seed", type=int, help="of the draw (default: by the clock)")
    one.add_argument("--records", type=Path, help="folder (default: the committed records)")
    _add_threads(one)
    one.set_defaults(command=verify)

    one = commands.add_parser("status", help="what is done, running, failed, missing, stale")
    _select(one, required=False)
    one.add_argument("--list", action="store_true", help="one line per config: state and id")
    one.add_argument("--out", type=Path, help="count records of this folder alone")
    one.set_defaults(command=status)

    help_ = "how far long trainings are, and their test error so far, from their checkpoints"
    one = commands.add_parser("unfinished", help=help_)
    _select(one, required=False)
    one.add_argument("--out", type=Path, metavar="FILE", help="also write them to this file")
    one.set_defaults(command=how_far)

    help_ = (
        "redraw figures of the paper from records into $SHOOTING_FIGDIR or figures; print tables"
    )
    one = commands.add_parser("figure", help=help_)
    known = "fig2, tab1 or another; a name that is none lists them all"
    one.add_argument("names", nargs="+", type=_figure, metavar="NAME", help=known)
    _add_threads(one)
    one.set_defaults(command=figure)

    one = commands.add_parser("data", help="fetch the test files of MNIST")
    one.add_argument("folder", type=Path, help="where to, e.g. what $SHOOTING_DATA names")
    _add_threads(one)
    one.set_defaults(command=data)

    one = commands.add_parser("new", help="write the files of a new experiment")
    one.add_argument("name", help="of its module, page and records, e.g. double_well")
    _add_threads(one)
    one.set_defaults(command=new)
    return top


def _select(command: argparse.ArgumentParser, *, required: bool) -> None:
    command.add_argument("--experiment", choices=sorted(EXPERIMENTS), required=required)
    command.add_argument("--profile", choices=PROFILES, help="default: paper")
    command.add_argument(
        "--only", type=_pairs, default={}, metavar="NAME=VALUE,…", help="settings to match"
    )
    command.add_argument("--ids", default="", metavar="ID,…", help="record ids")
    _add_threads(command)


def _add_threads(command: argparse.ArgumentParser) -> None:
    help_ = "of torch, in this process"
    command.add_argument("--threads", type=_at_least_one, default=1, help=help_)


def _at_least_one(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {word!r}")
    return int(word)


def _figure(word: str) -> str:
    # matplotlib and seaborn take a second, which no other command needs
    from shooting.study.figures import paper

    names = sorted([*paper.FIGURES, *paper.TABLES])
    if word not in names:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(names)}, got {word!r}")
    return word


def _sample(word: str) -> str:
    return word if word in ("", "all") else str(_at_least_one(word))


def _pairs(word: str) -> dict[str, str]:
    parts = [part for part in word.split(",") if part]
    if wrong := [part for part in parts if "=" not in part]:
        raise argparse.ArgumentTypeError(
            f"expected NAME=VALUE, got {wrong[0]!r}; a list, as of seeds, cannot be matched: "
            "python -m shooting status --list shows ids"
        )
    return dict(part.split("=", 1) for part in parts)


def selected(experiment: Experiment, options: argparse.Namespace) -> list[Any]:
    """The configs of an experiment that the options select.

    Raises:
        SystemExit: If a name or an id is unknown.
    """
    chosen = matching(experiment, options)
    settings = set(as_dict(experiment.grid("paper")[0]))
    if unknown := sorted(set(options.only) - settings):
        sys.exit(f"expected settings among {sorted(settings)}, got {unknown}")
    ids = _ids(options) - {record_id(experiment.name, c) for c in chosen}
    if ids or not chosen:
        sys.exit(
            f"expected configs of {experiment.name}, found none for {sorted(ids) or options.only}"
            "; python -m shooting status --list shows the ids"
        )
    return chosen


def matching(experiment: Experiment, options: argparse.Namespace) -> list[Any]:
    """The configs of an experiment that fit the options, maybe none; ids may be of every grid."""
    ids, wanted = _ids(options), set(options.only.items())
    profiles = [options.profile] if options.profile else PROFILES if ids else ["paper"]
    grid = [config for profile in profiles for config in experiment.grid(profile)]
    fit = [c for c in grid if wanted <= {(k, str(v)) for k, v in as_dict(c).items()}]
    return [c for c in fit if not ids or record_id(experiment.name, c) in ids]


def _ids(options: argparse.Namespace) -> set[str]:
    return set(filter(None, options.ids.split(",")))


# --- run -----------------------------------------------------------------------------------


def run(options: argparse.Namespace) -> int:
    """Train what is missing. Configs that another process trains come last."""
    experiment = EXPERIMENTS[options.experiment]
    todo = selected(experiment, options)
    _announce(experiment, todo, options)
    progress = Progress(len(todo))
    names = [f"{experiment.name}/{record_id(experiment.name, c)}.json" for c in todo]
    before = manifest.digests(options.out, names) if options.out else {}
    busy = [c for c in todo if not _run_one(experiment, c, options, progress, wait=False)]
    for config in busy:
        _run_one(experiment, config, options, progress, wait=True)
    if options.out and (options.out / manifest.NAME).exists():
        after = manifest.digests(options.out, names)
        manifest.keep(options.out, [n for n in after if after[n] != before.get(n)])
    return 1 if progress.broken else 0


def _announce(experiment: Experiment, todo: Sequence[Any], options: argparse.Namespace) -> None:
    """Say how long the trainings will take here, where an experiment can tell."""
    if experiment.estimate is None:
        return
    done = () if options.fresh else ("done", "failed")
    missing = [c for c in todo if records.state_of(experiment, c, out=options.out) not in done]
    with float32():
        seconds = [experiment.estimate(config) for config in missing]
    for config, took in zip(missing, seconds, strict=True):
        name = record_id(experiment.name, config)
        print(f"{name} {changed(config)}\n    takes about {duration(took)} from its start")
    if missing:
        whole = duration(sum(seconds))
        print(f"about {whole} at the present load; a killed training goes on", flush=True)


class Progress:
    """Counts what is done, failed and left, and estimates the time left.

    Args:
        total: Number of configs.
    """

    def __init__(self, total: int) -> None:
        self.total, self.done, self.failed, self.broken, self.lacking = total, 0, 0, 0, 0
        self.trained, self.seconds = 0, 0.0

    def line(self) -> str:
        """One line for people."""
        left = self.total - self.done - self.broken - self.lacking
        text = f"done {self.done} of {self.total}, {self.failed} with failed runs, left {left}"
        if self.lacking:
            text += f", {self.lacking} skipped for want of data"
        if self.broken:
            text += f", {self.broken} ended by an error"
        if self.trained and left:
            text += f", about {duration(left * self.seconds / self.trained)} to go"
        return text


def _run_one(
    experiment: Experiment,
    config: Any,
    options: argparse.Namespace,
    progress: Progress,
    *,
    wait: bool,
) -> bool:
    """Train one config and say so; False if another process holds it."""
    name, before = record_id(experiment.name, config), time.monotonic()
    try:
        record = records.compute(
            experiment,
            config,
            fresh=options.fresh,
            out=options.out,
            wait=wait,
            seconds=options.checkpoint_seconds,
        )
    except BusyError:
        print(f"{name} is trained by another process: later", flush=True)
        return False
    except MissingDataError as error:
        print(f"{name} is skipped: {error}", flush=True)
        progress.lacking += 1
    except (NotInCheckoutError, NoHomeError):  # so would the next config
        raise
    except Exception as error:  # one config that cannot run must not stop the others
        if isinstance(error, OSError) and error.errno in UNWRITABLE:
            raise  # it would stop them all
        traceback.print_exc()
        progress.broken += 1
    else:
        progress.done += 1
        progress.failed += bool(record.failed.any())
        if (took := time.monotonic() - before) > 0.5:  # else it was there already
            progress.trained, progress.seconds = progress.trained + 1, progress.seconds + took
    print(f"{name} {changed(config)}\n    {progress.line()}", flush=True)
    return True


def duration(seconds: float) -> str:
    """Hours and minutes, or seconds."""
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{seconds / 60:.1f} min"


# --- verify --------------------------------------------------------------------------------


def verify(options: argparse.Namespace) -> int:
    """Check every committed record in itself, and a random sample by a fresh training of each."""
    if options.records is not None and not options.records.is_dir():
        sys.exit(f"expected a folder of records, got {options.records}; try book/records")
    started = time.monotonic()
    known = [EXPERIMENTS[n] for n in sorted(EXPERIMENTS) if options.experiment in (None, n)]
    found, corrupt = verification.committed(known, options.records)
    seed = options.seed if options.seed is not None else time.time_ns() % 10**6
    minutes = math.inf if options.sample else verification.MINUTES
    chosen = verification.sample(found, seed=seed, minutes=minutes)
    if options.sample not in ("", "all"):
        chosen = chosen[: int(options.sample)]
    for error in corrupt:
        print(f"corrupt  {error}")
    if not found and not corrupt:
        print(
            "there are no committed records yet: make runs EXPERIMENT=regression OUT=book/records"
        )
        return 0
    wrong = verification.contradictions(found)
    print(f"{len(found) - len(wrong)} of {len(found)} records agree with themselves", flush=True)
    known_wrong = {verdict.record.path for verdict in wrong}
    chosen = [record for record in chosen if record.path not in known_wrong]
    print(f"{len(chosen)} of {len(found)} records, drawn with --seed {seed}", flush=True)
    outcomes = [_say(verdict) for verdict in wrong]
    left = minutes - (time.monotonic() - started) / 60
    outcomes += [_say(verdict) for verdict in verification.verify(chosen, minutes=left)]
    counts = [f"{o} {outcomes.count(o)}" for o in verification.OUTCOMES if o in outcomes]
    print(", ".join([*counts, *([f"corrupt {len(corrupt)}"] if corrupt else [])]))
    if set(outcomes) <= {"skipped"} and not corrupt:
        print("nothing was compared: take more time with --sample, or see why above")
    return 1 if corrupt or "differs" in outcomes else 0


def _say(verdict: verification.Verdict) -> str:
    """Print a verdict; its outcome."""
    record = verdict.record
    print(f"{verdict.outcome:8} {record.experiment} {record.id} {changed(record.config)}")
    for text in verdict.details:
        print(f"    {text}", flush=True)
    return verdict.outcome


# --- status --------------------------------------------------------------------------------


def status(options: argparse.Namespace) -> int:
    """Print the state of each experiment's grid, or of what the options select in some of them."""
    broken = False
    for name, configs in _selected_anywhere(options).items():
        experiment = EXPERIMENTS[name]
        corrupt: list[str] = []
        states = [
            (records.state_of(experiment, c, out=options.out, told=corrupt), c) for c in configs
        ]
        broken |= bool(corrupt)
        if options.list:
            for state, config in states:
                print(f"{state:8} {record_id(name, config)} {changed(config)}")
            continue
        counts = {s: sum(state == s for state, _ in states) for s in records.STATES}
        text = ", ".join(f"{s} {n}" for s, n in counts.items() if n or s in ("done", "missing"))
        left = _time_left(experiment, states, options.out)
        print(f"{name} ({options.profile or 'paper'}): {text}{left}")
        for path in records.stale(experiment, options.out):
            print(f"  stale: {path.name}")
        for told in corrupt:
            print(f"  corrupt: {told}")
    if options.list:  # for a program, which reads the states: a sweep trains corrupt ones again
        return 0
    changed_since = manifest.changes(options.out or records_folder())
    for line in changed_since:
        print(f"changed: {line}")
    return 1 if broken or changed_since else 0


def _selected_anywhere(options: argparse.Namespace) -> dict[str, list[Any]]:
    """Configs by experiment: of the one that is named, else of all that have any."""
    if options.experiment:
        return {options.experiment: selected(EXPERIMENTS[options.experiment], options)}
    found = {name: matching(known, options) for name, known in sorted(EXPERIMENTS.items())}
    ids = _ids(options) - {record_id(n, c) for n, configs in found.items() for c in configs}
    if ids or not any(found.values()):
        sys.exit(
            f"expected configs of some experiment, found none for {sorted(ids) or options.only}; "
            "python -m shooting status --list shows the ids"
        )
    return {name: configs for name, configs in found.items() if configs}


def how_far(options: argparse.Namespace) -> int:
    """Print what the checkpoints of long trainings say; write it where that is asked for."""
    found, broken = [], False
    for name, configs in _selected_anywhere(options).items():
        experiment = EXPERIMENTS[name]
        for config in configs if experiment.so_far else ():
            try:
                one = unfinished.measure(experiment, config)
            except CorruptFileError as error:
                print(f"corrupt: {error}")
                broken = True
                continue
            if one is not None:
                found.append(one)
                print(f"{one.id} {changed(config)}\n    {one.line()}", flush=True)
    if not found and not broken:
        print("no long training has begun here: python -m shooting run --experiment bouncing_balls")
    if options.out and found:
        try:
            unfinished.write(found, options.out)
        except CorruptFileError as error:  # what the file had of other trainings
            sys.exit(str(error))
    return 1 if broken else 0


def figure(options: argparse.Namespace) -> int:
    """Redraw figures into $SHOOTING_FIGDIR or ./figures, print tables; 1 if one lacks records."""
    from shooting.study.figures import paper, save, use_style

    use_style()
    folder, lacking = figures_folder() or Path("figures"), False
    for name in options.names:
        try:
            if name in paper.TABLES:
                print(paper.TABLES[name]().to_string())
            else:
                drawn, behind = paper.figure(name)
                save(drawn, name, folder)
                print(
                    f"{name}: drawn from {len(behind)} records into {folder / name}.svg, .pdf, .png"
                )
        except (records.NotRunError, CorruptFileError) as error:
            print(f"{name}: {error}")
            lacking = True
    return int(lacking)


def data(options: argparse.Namespace) -> int:
    """Fetch what no package ships; 1 if it is not to be had."""
    try:
        brought = fetch_mnist(options.folder)
    except MissingDataError as error:
        print(error)
        return 1
    print(f"{len(brought)} files fetched; the test files of MNIST are in {options.folder}")
    return 0


def new(options: argparse.Namespace) -> int:
    """Write the files of a new experiment; 1 if the name will not do."""
    try:
        paths = scaffold.new(options.name)
    except (ValueError, FileExistsError) as error:
        print(error)
        return 1
    print("\n".join(["written or changed:", *(f"  {path}" for path in paths), "try:"]))
    print(f"  python -m pytest tests/study/experiments/test_{options.name}.py")
    print(f"  make page PAGE={options.name}")
    print("what comes then is in CONTRIBUTING.md, How to add an experiment")
    return 0


def _time_left(experiment: Experiment, states: list[tuple[str, Any]], out: Path | None) -> str:
    """A guess from the mean of what is done; none where trainings differ by hours."""
    if experiment.estimate is not None:
        return ""
    done = [c for s, c in states if s in ("done", "failed")]
    left = len(states) - len(done)
    if not done or not left:  # reading records once more takes seconds
        return ""
    found = [records.load(experiment, c, out=out) for c in done]
    seconds = [r.provenance["wall_seconds"] for r in found if r is not None]
    if not seconds:
        return ""
    return f"; about {duration(left * sum(seconds) / len(seconds))} of one core left"
