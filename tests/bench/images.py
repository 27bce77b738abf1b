"""The faster training step of the balls: what each measure buys, and that it does no harm.

``python tests/bench/images.py ladder pages shares solver early narrow`` measures the parts named
and keeps the others of book/records/images.json. The bars of `BARS` were set before the first
measurement.
"""

from __future__ import annotations

import datetime
import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from shooting.flow import Solver
from shooting.optim import Adam
from shooting.study import records
from shooting.study.data.bouncing_balls import sequences
from shooting.study.experiments.autoencoder import Autoencoder
from shooting.study.experiments.bouncing_balls import (
    BOUNCING_BALLS,
    CHUNK,
    COMPARED,
    PREDICTED,
    SEEN,
    BallsConfig,
    BallsTask,
    Batch,
    Chosen,
    LatentFlow,
    quick,
    train,
)
from shooting.study.records import provenance
from shooting.study.records.checkpoints import read_checkpoint
from shooting.study.storage import atomic_write

RECORD = Path(__file__).resolve().parents[2] / "book" / "records" / "images.json"
BARS = {
    "speed": 1.8,  # float32 over the setting, time per step
    "early": 0.5,  # difference of the mean loss of steps 250-300, in spreads over seeds
    "narrow": 0.5,  # likewise, test error of the `quick` runs
    "reduced": 0.1,  # relative difference of the test error of the `reduced` run
    "solver": 0.1,  # change of the predicted images by the solver, over the prediction error
}
SEEDS = (0, 1, 2)
STEPS, LAST = 300, 50
# pages of 2 MB, kept between steps: fewer page faults
PAGES = {
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "500000000",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


# --- a training step -----------------------------------------------------------------------------


class Variant(Autoencoder):
    """An autoencoder with one measure at a time.

    Args:
        like: Whose weights it takes.
        last: Whether the pixels of an image lie side by side in memory (channels last).
        half: Whether the convolutions are in bfloat16.
    """

    def __init__(self, like: Autoencoder, *, last: bool, half: bool) -> None:
        nn.Module.__init__(self)
        self.encoder, self.decoder = like.encoder, like.decoder
        self.last, self.half = last, half

    def _convolve(self, layers: Sequence[nn.Module], images: Tensor) -> Tensor:
        kind = torch.channels_last if self.last else torch.contiguous_format
        images = images.contiguous(memory_format=kind)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            return functools.reduce(lambda x, layer: layer(x), layers, images).to(images.dtype)


class Step:
    """One whole training step at the size of a config, again and again on the same sequences."""

    def __init__(self, config: BallsConfig, **variant: bool) -> None:
        few = replace(config, sequences=4 * config.batch, validation=CHUNK, test=1)
        self.task, self.chosen = BallsTask(few), Chosen(LatentFlow(few), 1)
        if variant:
            model = self.chosen.model
            model.autoencoder = Variant(model.autoencoder, **variant)
        self.adam = Adam(self.chosen.named_parameters(), learning_rate=config.learning_rate)
        self.batches = list(self.task.batches(0))
        self.done = 0

    def __call__(self) -> float:
        batch = self.batches[self.done % len(self.batches)]
        self.done += 1
        return step(self.task, self.chosen, self.adam, batch)


def step(task: BallsTask, chosen: Chosen, adam: Adam, batch: Batch) -> float:
    """Forward, backward, Adam, as `shooting.fit.fit` does them."""
    adam.zero_grad()
    loss = task.loss(chosen, batch)
    loss.backward()
    adam.step(adam.finite())
    return loss.item()


def in_turns(steps: Mapping[str, Callable[[], Any]], turns: int) -> dict[str, Any]:
    """Processor seconds of each step, one call a turn, and its gain over the first, turn by turn.

    Args:
        steps: What to time, by name; called twice before.
        turns: Calls of each.

    Returns:
        By name: median and quartiles of ``seconds`` and of ``gain``.
    """
    for call in steps.values():
        call()
        call()
    spent: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(turns):
        for name, call in steps.items():
            before = time.process_time()
            call()
            spent[name].append(time.process_time() - before)
    base = np.array(spent[next(iter(steps))])
    return {
        name: {"seconds": quartiles(np.array(s)), "gain": quartiles(base / np.array(s))}
        for name, s in spent.items()
    }


def quartiles(values: np.ndarray) -> list[float]:
    """Lower quartile, median, upper quartile."""
    return [float(q) for q in np.quantile(values, [0.25, 0.5, 0.75])]


# --- how fast ------------------------------------------------------------------------------------


def ladder() -> dict[str, Any]:
    """The step of the dynamic model, measure by measure; the three models, before and after."""
    plain, fast = BallsConfig(), BallsConfig.paper()
    rungs = {
        "float32": Step(plain),
        "channels last": Step(plain, last=True, half=False),
        "bfloat16": Step(plain, last=False, half=True),
        "both": Step(plain, last=True, half=True),
        "both, bias added last": Step(fast),
        "the same, solver step 0.05": Step(replace(fast, step=0.05)),
    }
    models = {
        m: in_turns({"float32": Step(replace(plain, model=m)), "setting": Step(of(fast, m))}, 8)
        for m in COMPARED
    }
    gain = min(found["setting"]["gain"][1] for found in models.values())
    dynamic = models["dynamic_particles"]["setting"]["gain"][1]
    return {
        "rungs": in_turns(rungs, 8),
        "models": models,
        "least gain": gain,
        "holds": dynamic >= BARS["speed"],
    }


def of(config: BallsConfig, model: str) -> BallsConfig:
    """A config of another model, with its particles."""
    return replace(config, model=model, particles=BallsConfig().particles)


def pages(turns: int = 4) -> dict[str, Any]:
    """The step with and without memory in large pages, which only a new process can choose."""
    command = [sys.executable, __file__, "--one"]
    spent: dict[str, list[float]] = {"as it is": [], "large pages": []}
    for _ in range(turns):
        for name, extra in (("as it is", {}), ("large pages", PAGES)):
            said = subprocess.run(
                command, env={**os.environ, **extra}, capture_output=True, text=True, check=True
            )
            spent[name].append(float(said.stdout))
    base = np.array(spent["as it is"])
    return {
        name: {"seconds": quartiles(np.array(s)), "gain": quartiles(base / np.array(s))}
        for name, s in spent.items()
    }


def one() -> float:
    """Median of ten steps of the dynamic model, in this process."""
    return float(in_turns({"step": Step(BallsConfig.paper())}, 10)["step"]["seconds"][1])


KINDS = {
    "flow": ("Solve", "SolveBackward"),
    "convolutions": ("aten::_convolution", "aten::convolution_backward", "aten::convolution"),
    "BatchNorm": ("aten::native_batch_norm", "aten::native_batch_norm_backward"),
    "ReLU": ("aten::clamp_min", "aten::threshold_backward", "aten::relu"),
    "copies, bias": ("aten::copy_", "aten::add_", "aten::sum"),
}


def shares() -> dict[str, Any]:
    """What a profiler says a step is spent on, in shares of its time; data loading apart."""
    found: dict[str, Any] = {}
    for name, config in (("float32", BallsConfig()), ("setting", BallsConfig.paper())):
        call = Step(config)
        for _ in range(3):
            call()
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            for _ in range(3):
                call()
        spent = {e.key: e.self_cpu_time_total for e in seen.key_averages()}
        total = sum(spent.values())
        found[name] = {k: sum(spent.get(n, 0) for n in names) / total for k, names in KINDS.items()}
        found[name]["rest"] = 1 - sum(found[name].values())
        before = time.process_time()
        list(call.task.batches(1))
        found[name]["data, seconds a step"] = (time.process_time() - before) / len(call.batches)
    return found


# --- how exact the solution is -------------------------------------------------------------------


def solver(checkpoint: Path | None = None) -> dict[str, Any]:
    """Error of solver steps, and of an adaptive solution, beside the error of the prediction.

    Args:
        checkpoint: Of a full training of the dynamic model, to look at as well.
    """
    config = BallsConfig.paper()
    frames = torch.tensor(sequences("validation", CHUNK))
    models = {"initialised": LatentFlow(config), "trained briefly": trained_briefly()}
    if checkpoint is not None:
        models |= from_checkpoint(config, checkpoint)
    found = {name: errors(model, frames) for name, model in models.items()}
    found["holds"] = all(
        e["rk4 0.1"]["images"] <= BARS["solver"] * e["prediction"] for e in found.values()
    )
    return found


def trained_briefly() -> LatentFlow:
    """The dynamic model after the first steps of `early`, seed 0."""
    return early_run(early_config(0, "bfloat16"))[1]


def from_checkpoint(config: BallsConfig, path: Path) -> dict[str, LatentFlow]:
    """The model of a training that is under way, named by its epoch."""
    state = read_checkpoint(path)[0]
    chosen = Chosen(LatentFlow(config), config.epochs)
    own = {k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")}
    chosen.load_state_dict(own)
    return {f"trained for {int(chosen.epoch)} epochs": chosen.model}


def errors(model: LatentFlow, frames: Tensor) -> dict[str, Any]:
    """Differences from a solution with 32 times as many steps, in float64.

    Returns:
        ``prediction``: mean squared error over the predicted frames; ``signal``: their variance
        over scenes, which an untrained decoder makes tiny; per solver, ``latents``: the largest
        relative difference over the frames, ``images``: mean squared difference of the predicted
        frames, ``mse``: their error, ``gradient``: relative difference of that of the loss.
    """
    model = model.double().eval()
    truth = frames.double() / 255
    solvers = {f"rk4 {h}": Solver(step=h) for h in (0.1, 0.05, 0.025)}
    solvers["adaptive, 1e-3"] = Solver(
        method="dopri5", rtol=1e-3, atol=1e-5, route="torchdiffeq", form="kernel"
    )
    reference = look(model, truth, Solver(step=0.1 / 32))
    target = truth[:, PREDICTED]
    found: dict[str, Any] = {
        "prediction": mean_square(reference["images"] - target),
        "signal": reference["images"].var(0, unbiased=False).mean().item(),
    }
    for name, how in solvers.items():
        seen = look(model, truth, how)
        away = (seen["paths"] - reference["paths"]).square().sum((0, 2))
        size = reference["paths"].square().sum((0, 2))
        found[name] = {
            "latents": (away / size).sqrt().max().item(),
            "images": mean_square(seen["images"] - reference["images"]),
            "mse": mean_square(seen["images"] - target),
            "gradient": relative(seen["gradient"], reference["gradient"]),
        }
    model.float()
    return found


def look(model: LatentFlow, truth: Tensor, how: Solver) -> dict[str, Tensor]:
    """Latent paths, predicted frames, and the gradient of the error, with a solver."""
    model.flow.solver = how
    model.zero_grad()
    paths = model.latents(truth[:, :SEEN])
    images = model.autoencoder.decode(paths)
    (images - truth).square().mean().backward()
    gradient = torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None])
    return {
        "paths": paths.detach(),
        "images": images.detach()[:, PREDICTED],
        "gradient": gradient,
    }


def mean_square(values: Tensor) -> float:
    """Mean of squares."""
    return values.square().mean().item()


def relative(found: Tensor, known: Tensor) -> float:
    """Norm of the difference over the norm."""
    return float((found - known).norm() / known.norm())


# --- parity of the precisions --------------------------------------------------------------------


def early_config(seed: int, precision: str) -> BallsConfig:
    """The full protocol, but four frames of each sequence in the loss, which costs a third."""
    return BallsConfig(seeds=(seed,), precision=precision, frames=4)


def early_run(config: BallsConfig, perturbed: float = 0.0) -> tuple[np.ndarray, LatentFlow]:
    """Losses of the first steps ``(STEPS,)`` and the model after them.

    Args:
        config: Settings.
        perturbed: Relative change of the initial weights.
    """
    few = replace(config, sequences=STEPS * config.batch, validation=CHUNK, test=1)
    task, chosen = BallsTask(few), Chosen(LatentFlow(few), 1)
    with torch.no_grad():
        for w in chosen.parameters():
            w.mul_(1 + perturbed)
    adam = Adam(chosen.named_parameters(), learning_rate=config.learning_rate)
    losses = [step(task, chosen, adam, batch) for batch in task.batches(0)]
    return np.array(losses), chosen.model


def early() -> dict[str, Any]:
    """The first steps in both precisions, from the same start, and from one that is barely other.

    The control says how far rounding alone drives two trainings apart.
    """
    curves = {
        precision: np.stack([early_run(early_config(s, precision))[0] for s in SEEDS])
        for precision in ("float32", "bfloat16")
    }
    control = early_run(early_config(0, "float32"), perturbed=1e-6)[0]
    ends = {precision: c[:, -LAST:].mean(1) for precision, c in curves.items()}
    found = compared(ends["float32"], ends["bfloat16"], BARS["early"])
    return found | {
        "control": float(control[-LAST:].mean() - ends["float32"][0]),
        "curves": {p: c.reshape(len(SEEDS), -1, 10).mean(2).tolist() for p, c in curves.items()},
    }


def compared(plain: np.ndarray, fast: np.ndarray, bar: float) -> dict[str, Any]:
    """Values of both precisions, seed by seed, against the bar.

    Args:
        plain: Values in float32, ``(seeds,)``.
        fast: In bfloat16.
        bar: Allowed mean difference, in spreads (largest less smallest) of float32 over seeds.
    """
    spread = float(np.ptp(plain))
    difference = float((fast - plain).mean())
    return {
        "float32": plain.tolist(),
        "bfloat16": fast.tolist(),
        "differences": (fast - plain).tolist(),
        "difference": difference,
        "spread": spread,
        "holds": abs(difference) <= bar * spread,
    }


def narrow() -> dict[str, Any]:
    """Test errors of narrow runs in both precisions: `quick` by seeds, `reduced` by its record."""
    errors = {
        precision: np.array([mse(replace(quick(), seeds=(s,), precision=precision)) for s in SEEDS])
        for precision in ("float32", "bfloat16")
    }
    config = BallsConfig.reduced()
    known = records.load(BOUNCING_BALLS, config)
    assert known is not None
    recorded, fast = float(known.metrics["mse"][0]), mse(replace(config, precision="bfloat16"))
    away = abs(fast / recorded - 1)
    return {
        "quick": compared(errors["float32"], errors["bfloat16"], BARS["narrow"]),
        "reduced": {
            "float32": recorded,
            "record": known.id,
            "bfloat16": fast,
            "away": away,
            "holds": away <= BARS["reduced"],
        },
    }


def mse(config: BallsConfig) -> float:
    """Test error of a training."""
    return float(train(config).metrics["mse"][0])


# --- the record ----------------------------------------------------------------------------------

PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "ladder": ladder,
    "pages": pages,
    "shares": shares,
    "solver": solver,
    "early": early,
    "narrow": narrow,
}


def main(names: Sequence[str]) -> None:
    """Measure the parts named and write them, each with where it comes from."""
    torch.set_num_threads(1)
    if names == ["--one"]:
        print(one())
        return
    checkpoint = next((Path(n) for n in names if n.endswith(".safetensors")), None)
    parts = dict(PARTS) | {"solver": functools.partial(solver, checkpoint)}
    for name in names:
        if name in parts:
            begun = time.process_time()
            content = parts[name]()
            cost = {"processor_seconds": time.process_time() - begun}
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes")
            about = provenance.environment() | {"date": now, "load": os.getloadavg()[0]} | cost
            keep(name, content | {"provenance": about})
            print(json.dumps(rounded({k: v for k, v in content.items() if k != "curves"})))


def keep(name: str, content: Mapping[str, Any]) -> None:
    """Put one part into the record; the others stay."""
    known = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    document = known | {"bars": BARS, name: rounded(content)}
    atomic_write(RECORD, (json.dumps(document, indent=1) + "\n").encode())


def rounded(value: Any) -> Any:
    """Four significant digits."""
    if isinstance(value, Mapping):
        return {str(k): rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main(sys.argv[1:])
