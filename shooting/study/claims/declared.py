"""Where every setting of the experiments comes from: the text, the released code, or us.

Read from ``book/differences.yaml``: where text and code disagree, and whence each setting is.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import yaml

from shooting.errors import require_choice
from shooting.study.claims.links import table
from shooting.study.experiments import EXPERIMENTS
from shooting.study.experiments.bouncing_balls import BallsConfig
from shooting.study.experiments.circles import CirclesConfig
from shooting.study.experiments.regression import RegressionConfig
from shooting.study.experiments.rotating_mnist import RotatingConfig
from shooting.study.experiments.spiral import SpiralConfig
from shooting.study.paths import book_file

FROM = {
    "ours": "that neither the text nor the released code names",
    "differ": "on which text and code differ: the topic in the table above",
    "code": "as in the released code, where the text is silent",
    "text": "as in the text",
}
HEAD = ("setting", "where it is from, or why it is so", "experiments")
CONFIGS = {
    "regression": RegressionConfig(),
    "spiral_paper": SpiralConfig.paper(),
    "spiral_released": SpiralConfig.released(),
    "circles_paper": CirclesConfig.paper(),
    "circles_released": CirclesConfig.released(),
    "rotating_paper": RotatingConfig(),
    "rotating_released": RotatingConfig.released(),
    "balls_paper": BallsConfig.paper(),
    "balls_released": BallsConfig.released(),
}


@dataclass(frozen=True)
class Difference:
    """One place where the paper's text and the released code disagree, or one is silent.

    Attributes:
        topic: What it is about.
        paper: What the text says.
        code: What the code does.
        here: What this book does, its numbers read from the configs.
    """

    topic: str
    paper: str
    code: str
    here: str


@dataclass(frozen=True)
class Setting:
    """Whence some settings are: fields of configs, or one that no config has.

    Attributes:
        whence: Key of `FROM`.
        of: Experiments whose configs declare the fields themselves, not by inheritance.
        note: The place in the text, the topic of the difference, or why.
        fields: Names of the fields; empty for a setting that is a constant of the code.
        what: Its name in words, where there are no fields.
    """

    whence: str
    of: tuple[str, ...]
    note: str
    fields: tuple[str, ...] = ()
    what: str = ""

    def values(self) -> list[str]:
        """Defaults of each field in all experiments and protocols, as in ``500, 1500``."""
        configs = [c for name in self.of for c in protocols(name)]
        each = (dict.fromkeys(_show(getattr(c, f)) for c in configs) for f in self.fields)
        return [", ".join(values) for values in each]


def load_differences(path: Path | None = None) -> list[Difference]:
    """Read the list; ``{spiral_paper.learning_rate}`` and the like become our settings.

    Raises:
        ValueError: If an entry has unknown or missing keys.
    """
    try:
        return [
            Difference(**e | {"here": e["here"].format(**CONFIGS)})
            for e in _read(path, "differences")
        ]
    except (TypeError, KeyError) as error:
        raise ValueError(
            f"expected the keys of Difference in differences.yaml, got {error!r}; correct them"
        ) from error


def load_settings(path: Path | None = None) -> list[Setting]:
    """Read whence the settings are; names of fields and experiments stand apart by blanks.

    Raises:
        ValueError: If an entry has unknown or missing keys, or a place that is none of `FROM`.
    """
    try:
        found = [
            Setting(
                **e | {"of": tuple(e["of"].split()), "fields": tuple(e.get("fields", "").split())}
            )
            for e in _read(path, "settings")
        ]
    except (TypeError, KeyError) as error:
        raise ValueError(
            f"expected the keys of Setting in differences.yaml, got {error!r}; correct them"
        ) from error
    for setting in found:
        require_choice(setting.whence, FROM, "whence a setting is")
    return found


def misdeclared(
    settings: Iterable[Setting],
    topics: Iterable[str],
    configs: Mapping[str, type] | None = None,
) -> list[str]:
    """What is wrong with a list of settings; empty if every field has one entry and no more.

    Args:
        settings: The list.
        topics: Of the differences, one of which an entry ``differ`` names.
        configs: Config dataclasses by experiment; all of `EXPERIMENTS` by default.

    Returns:
        One line for each field without entry, with two, or unknown, and each unknown topic.
    """
    if configs is None:
        configs = {name: e.config for name, e in EXPERIMENTS.items()}
    listed, known = list(settings), set(topics)
    wanted = {(name, f) for name, config in configs.items() for f in own_fields(config)}
    got = Counter((name, f) for s in listed for name in s.of for f in s.fields)
    return [
        *(f"{name}.{f} has no entry" for name, f in sorted(wanted - set(got))),
        *(f"{name}.{f} is no field" for name, f in sorted(set(got) - wanted)),
        *(f"{name}.{f} has {n} entries" for (name, f), n in sorted(got.items()) if n > 1),
        *(f"no topic {s.note!r}" for s in listed if s.whence == "differ" and s.note not in known),
        *(f"{s.note!r} is about nothing" for s in listed if bool(s.fields) == bool(s.what)),
        *(f"{s.what!r} is of unknown {n!r}" for s in listed for n in s.of if n not in configs),
    ]


def setting_tables(settings: Iterable[Setting]) -> str:
    """The list in HTML, one table for each place; all but our own settings are folded.

    Args:
        settings: The list.

    Returns:
        Tables of setting with value, where it is from or why, and experiments.
    """
    listed = list(settings)
    parts = {whence: [_row(s) for s in listed if s.whence == whence] for whence in FROM}
    tables = {k: table(HEAD, rows, name=f"settings-{k}") for k, rows in parts.items()}
    return tables.pop("ours") + "".join(
        f"<details><summary>{len(parts[k])} entries {FROM[k]}</summary>{found}</details>"
        for k, found in tables.items()
    )


def own_fields(config: type) -> list[str]:
    """Fields that a config dataclass declares itself; inherited ones are its parent's."""
    own = inspect.get_annotations(config)
    return [f.name for f in dataclasses.fields(config) if f.name in own]


def protocols(experiment: str) -> list[Any]:
    """Configs whose settings are shown: of the text's protocol, and of the code's if there is."""
    kind = EXPERIMENTS[experiment].config
    makers = [getattr(kind, "paper", kind), getattr(kind, "released", None)]
    return [make() for make in makers if make is not None]


def _read(path: Path | None, part: str) -> list[dict[str, Any]]:
    path = path or book_file("differences.yaml")
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))[part]
    return found


def _row(setting: Setting) -> tuple[str, ...]:
    named = zip(setting.fields, setting.values(), strict=True)
    # a name may be broken after an underscore, as a phone's column is narrow
    lines = [f"<code>{f.replace('_', '_<wbr>')}</code> {escape(v)}" for f, v in named]
    experiments = ", ".join(name.replace("_", " ") for name in setting.of)
    return "<br>".join(lines) or escape(setting.what), escape(setting.note), experiments


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple) and len(value) > 2 and value == tuple(range(len(value))):
        return f"0 to {len(value) - 1}"
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"
