"""The faster training step of the balls, as tables: how fast it is, and what it changes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shooting.errors import shown
from shooting.study.claims.words import number
from shooting.study.experiments.bouncing_balls import BallsConfig
from shooting.study.experiments.models import MODELS
from shooting.study.paths import records_folder
from shooting.study.storage import CorruptFileError

Measured = Mapping[str, Any]
USED = "rk4 0.1"  # the solver of the trainings; the others stand beside it
ADVICE = "restore it from git, or measure it anew with tests/bench/images.py"


def load(path: Path | None = None) -> Measured:
    """What tests/bench/images.py measured, whole enough for every table.

    Args:
        path: The file; ``images.json`` among the committed records unless given.

    Raises:
        FileNotFoundError: If there is no such file.
        CorruptFileError: If a table cannot be made of it.
    """
    path = path or records_folder() / "images.json"
    if not path.exists():
        raise FileNotFoundError(f"expected measurements in {path}, found no file; {ADVICE}")
    try:
        measured: Measured = json.loads(path.read_bytes())
        for table in (ladder, parity, solver):
            table(measured)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        got = f"{type(error).__name__}: {shown(str(error))}"
        raise CorruptFileError(f"expected measurements in {path}, got {got}; {ADVICE}") from error
    return measured


def ladder(measured: Measured) -> pd.DataFrame:
    """Seconds of a training step, rung by rung, and the gain over float32, paired turn by turn.

    The rungs are of the dynamic model. The last rows are the setting of the full runs, timed again
    for each model beside its own float32. Cells: median and quartiles.
    """
    bar = measured["bars"]["speed"]
    rows = [[name, *_timed(times), ""] for name, times in measured["ladder"]["rungs"].items()]
    for model, times in measured["ladder"]["models"].items():
        met = times["setting"]["gain"][1] >= bar
        name = f"setting of the full runs, {MODELS[model]}"
        rows.append([name, *_timed(times["setting"]), _judged(f"at least {bar:g}", met)])
    return pd.DataFrame(rows, columns=["training step", "seconds", "gain", "criterion"])


def _timed(times: Measured) -> list[str]:
    return [_with_quartiles(times[key]) for key in ("seconds", "gain")]


def _with_quartiles(values: Sequence[float]) -> str:
    low, middle, high = values
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def _judged(criterion: str, holds: bool) -> str:
    return f"{criterion}: {'holds' if holds else 'fails'}"


def gains(measured: Measured) -> tuple[float, float]:
    """Least and largest median gain of the setting among the models."""
    found = [times["setting"]["gain"][1] for times in measured["ladder"]["models"].values()]
    return min(found), max(found)


def hours(measured: Measured, kind: str) -> float:
    """Processor hours of the steps of a full run of the dynamic model, validations apart.

    Args:
        measured: From `load`.
        kind: ``float32`` or ``setting``.
    """
    config = BallsConfig.paper()
    steps = config.epochs * (config.sequences // config.batch)
    seconds: float = measured["ladder"]["models"][config.model][kind]["seconds"][1]
    return steps * seconds / 3600


def parity(measured: Measured) -> pd.DataFrame:
    """Both precisions: losses and errors, their mean difference, the spread over seeds, the bar."""
    bars, narrow = measured["bars"], measured["narrow"]
    rows = [
        _over_seeds("loss, steps 251 to 300", measured["early"], bars["early"]),
        _over_seeds("test error, protocol quick", narrow["quick"], bars["narrow"]),
        _one_run("test error, protocol reduced", narrow["reduced"], bars["reduced"]),
    ]
    columns = ["what", "float32", "bfloat16", "mean difference", "spread over seeds", "criterion"]
    return pd.DataFrame(rows, columns=columns)


def _over_seeds(what: str, found: Measured, bar: float) -> list[str]:
    difference, spread = differ(found)
    values = [", ".join(f"{v:.4f}" for v in found[p]) for p in ("float32", "bfloat16")]
    judged = _judged(f"at most {bar:g} spreads", abs(difference) <= bar * spread)
    return [what, *values, f"{difference:+.5f}", f"{spread:.4f}", judged]


def differ(found: Measured) -> tuple[float, float]:
    """Mean difference of bfloat16 from float32, and the spread of float32 over seeds.

    Args:
        found: Values of both precisions, seed by seed: the part ``early``, or ``quick`` in
            ``narrow``.

    Returns:
        The difference; largest less smallest value.
    """
    plain, fast = (np.array(found[p], dtype=float) for p in ("float32", "bfloat16"))
    return float((fast - plain).mean()), float(np.ptp(plain))


def _one_run(what: str, found: Measured, bar: float) -> list[str]:
    plain, fast = found["float32"], found["bfloat16"]
    judged = _judged(f"at most {bar:g} of the error", abs(fast / plain - 1) <= bar)
    return [what, f"{plain:.4f}", f"{fast:.4f}", f"{fast - plain:+.5f}", "one seed", judged]


def solver(measured: Measured) -> pd.DataFrame:
    """Errors of solvers beside the error of the prediction, for each state of the model.

    Of the latent paths: largest relative error over the frames. Of the frames: mean square, beside
    the variance of the predicted frames over scenes, which is tiny before training.
    """
    bar = measured["bars"]["solver"]
    rows = [
        [name, how, number(errors["latents"]), number(errors["images"]),
         number(state["signal"]), number(state["prediction"]),
         _judged(f"at most {bar:g} of the error", errors["images"] <= bar * state["prediction"])
         if how == USED else ""]
        for name, state in _states(measured).items()
        for how, errors in _solvers(state).items()
    ]  # fmt: skip
    heads = ["model", "solver", "paths, largest relative error", "frames, mean squared error"]
    return pd.DataFrame(
        rows, columns=[*heads, "variance over scenes", "error of the prediction", "criterion"]
    )


def _states(measured: Measured) -> Measured:
    """States of the model at which solvers were compared, by name."""
    return {k: v for k, v in measured["solver"].items() if k not in ("holds", "provenance")}


def _solvers(state: Measured) -> Measured:
    """Errors by solver, that of the trainings first."""
    return {USED: state[USED]} | {
        k: v for k, v in state.items() if k not in ("prediction", "signal")
    }


def solver_shares(measured: Measured, of: str) -> dict[str, float]:
    """What the trainings' solver changes in the frames, by state of the model, as a share.

    Args:
        measured: From `load`.
        of: ``prediction``, the error of the frames, or ``signal``, their variance over scenes.
    """
    return {name: s[USED]["images"] / s[of] for name, s in _states(measured).items()}
