"""Generated calls: right and wrong arguments, mixed by chance, each call in a process that may die.

A call ends in one of `OUTCOMES`. Each is made in a forked process with a bound on its seconds, so
that a crash or a hang is seen and counts, and costs no more than that process.
"""

from __future__ import annotations

import faulthandler
import os
import random
import re
import resource
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from shooting import native

SENTENCE = re.compile(r"expected .+, (got|but) .+; .+")
OUTCOMES = ("result", "refused", "accepted", "raw", "hang", "crash")
MEANING = {
    "result": "a result, and no argument was wrong",
    "refused": "one sentence: what was expected, what came, what to try",
    "accepted": "a result, although an argument was wrong",
    "raw": "any other error",
    "hang": "more than a second of processor time",
    "crash": "the process died",
}
SECONDS, WALL = 1, 60  # of processor time, and by the clock for a call that waits for ever
MEMORY = 6 * 2**30  # bytes that a process may have: a call that wants more ends in a raw error
Context = dict[str, Any]
Thunk = Callable[[Context], Any]


@dataclass(frozen=True)
class Kind:
    """Values of one argument by words that say them; each is made anew from the context.

    Attributes:
        right: Values that must be taken.
        wrong: Values that must be refused.
        edge: Values that may be either, but must not end in anything else.
    """

    right: Mapping[str, Thunk]
    wrong: Mapping[str, Thunk]
    edge: Mapping[str, Thunk] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """What is called.

    Attributes:
        call: From arguments by name.
        arguments: Their kinds.
        optional: Arguments that are left out half of the time.
    """

    call: Callable[..., object]
    arguments: Mapping[str, Kind]
    optional: Sequence[str] = ()


@dataclass(frozen=True)
class Call:
    """One generated call: its words, its values, and whether some value is wrong."""

    target: str
    words: dict[str, str]
    values: dict[str, Any]
    wrong: bool
    edge: bool

    def __str__(self) -> str:
        return f"{self.target}({', '.join(f'{k}={w}' for k, w in self.words.items())})"


def ready() -> None:
    """Load and compile what is loaded and compiled once, so that no call has to."""
    torch.set_num_threads(1)
    for dtype in (torch.float32, torch.float64):
        native.library_error(dtype)
    for place in ("cpu", "meta"):
        like = torch.zeros(2, 2, device=place)
        torch.func.vjp(lambda v: torch.isfinite(torch.sin(v)).sum() * v, like)[1](like)
    torch.func.vmap(torch.func.grad(lambda v: v.sum()))(torch.zeros(2, 2))


def generate(targets: Mapping[str, Target], index: int, seed: int = 0) -> Call:
    """The call of a number, the same in every process."""
    rng = random.Random(f"{seed}/{index}")
    name = rng.choice(sorted(targets))
    target, context, words = targets[name], {}, {}
    names = [a for a in target.arguments if a not in target.optional or rng.random() < 0.5]
    # a call with two mistakes is rarer than with one, since the first hides the second
    bad = set(rng.sample(names, min(len(names), rng.choice((0, 1, 1, 1, 1, 2)))))
    wrong = edge = False
    for argument in names:
        kind = target.arguments[argument]
        pool: Mapping[str, Thunk] = kind.right
        if argument in bad:
            pool = {**kind.wrong, **kind.edge}
        word = rng.choice(sorted(pool))
        wrong, edge = wrong or word in kind.wrong, edge or word in kind.edge
        words[argument], context[argument] = word, pool[word](context)
    return Call(name, words, context, wrong, edge)


def outcome(targets: Mapping[str, Target], call: Call) -> tuple[str, str]:
    """What came of a call that neither hung nor crashed, and the error's words."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            targets[call.target].call(**call.values)
    except (ValueError, TypeError, ArithmeticError) as error:
        kind = "refused" if SENTENCE.fullmatch(str(error)) else "raw"
        return kind, f"{type(error).__name__}: {error}"
    except Exception as error:
        return "raw", f"{type(error).__name__}: {error}"
    return ("accepted" if call.wrong else "result"), ""


def run(targets: Mapping[str, Target], count: int, *, seed: int = 0) -> list[tuple[int, str, str]]:
    """Make calls number 0 to count - 1; number, outcome and words of each."""
    found: list[tuple[int, str, str]] = []
    while len(found) < count:
        found += _child(targets, len(found), count, seed)
    return found


def counted(found: Sequence[tuple[int, str, str]]) -> dict[str, int]:
    """How many calls ended in each outcome."""
    counts = Counter(kind for _, kind, _ in found)
    return {kind: counts[kind] for kind in OUTCOMES}


def _child(
    targets: Mapping[str, Target], start: int, stop: int, seed: int
) -> list[tuple[int, str, str]]:
    """Calls from a number on, up to the last or to the one that ends the process."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.close(reading)
        _calls(targets, start, stop, seed, writing)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8", errors="replace") as lines:
        done = [line.rstrip("\n").split("\t", 1) for line in lines]
    _, ended = os.waitpid(child, 0)
    found = [(start + i, kind, text) for i, (kind, text) in enumerate(done)]
    if len(found) < stop - start:  # the next call ended it
        by = os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else 0
        hung = by in (signal.SIGPROF, signal.SIGALRM)
        found.append((start + len(found), "hang" if hung else "crash", f"signal {by}"))
    return found


def _calls(targets: Mapping[str, Target], start: int, stop: int, seed: int, writing: int) -> None:
    """In the child: one line for each call, written when it has ended."""
    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)  # which ends the process, wherever it is
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(quiet, stream)
    for index in range(start, stop):
        call = generate(targets, index, seed)  # making the values is no part of the call
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.setitimer(signal.ITIMER_REAL, WALL)
        kind, text = outcome(targets, call)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        words = " ".join(text.split()) if kind != "raw" else repr(text)
        os.write(writing, f"{kind}\t{words[:1000]}\n".encode())
