"""What must hold inside one record, wherever it was made: found without any training.

A number that other numbers of the record determine is computed again. Such an identity holds up to
the rounding of single precision, so that it finds a number that was changed by less than any
comparison with another training could.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from shooting.fit import EARLY_STEPS
from shooting.study.data.circles import COUNTS
from shooting.study.data.digits import CLASSES, split
from shooting.study.data.functions import TARGETS, grid_points
from shooting.study.data.rotating_mnist import SOURCES
from shooting.study.data.spiral import SAMPLES, SNIPPET, SPACING, trajectory
from shooting.study.data.systems import orbit
from shooting.study.experiments import (
    ablations,
    baselines,
    bouncing_balls,
    circles,
    classifier,
    convex_trap,
    kicks,
    long_range,
    regression,
    rotating_mnist,
    spiral,
)
from shooting.study.experiments.base import float32
from shooting.study.records.files import numbers, read_document
from shooting.study.records.record import UNMEASURED, Record

ROUNDING = 2e-5  # relative: sums of a thousand numbers in single precision, in another order
STILL = 1e-5  # a constant control varies by rounding alone, relative to itself
MEAN_OF_CURVE = 0.05  # relative: an error between points; at most 0.021 in 5,000 recorded runs
Found = Iterator[tuple[str, Any, Any]]  # what, as recorded, as computed


def problems(record: Record) -> list[str]:
    """Everything in a record that other parts of it contradict.

    Args:
        record: As read.

    Returns:
        One sentence per contradiction, with both numbers.
    """
    found = [*_whole(record)]
    if not found and record.arrays:
        for name, was, now in OWN.get(record.experiment, _nothing)(record):
            found += _compare(name, was, now)
    return found


def _compare(name: str, was: Any, now: Any) -> Iterator[str]:
    a, b = np.asarray(was, dtype=np.float64), np.asarray(now, dtype=np.float64)
    if a.shape != b.shape:
        yield f"{name}: shape recorded {a.shape}, by the rest of the record {b.shape}"
        return
    bound = 0.0 if "exactly" in name else ROUNDING
    wrong = ~(np.isclose(a, b, rtol=bound, atol=0.0) | np.isnan(a))  # NaN: see `_finite`
    if wrong.any():
        k = tuple(int(i) for i in np.argwhere(wrong)[0])
        place = f" at index {k}" if k else ""
        yield f"{name}: recorded {a[k]!s}, by the rest of the record {b[k]!s}{place}"


# --- of every record ------------------------------------------------------------------------


def _whole(record: Record) -> Iterator[str]:
    """Shapes, NaN, status, and what the two files say of the same thing."""
    yield from _runs(record)
    yield from _finite(record)
    yield from _status(record)
    if record.arrays:
        yield from _histories(record)


def _runs(record: Record) -> Iterator[str]:
    runs = len(record.config.seeds)
    lengths = {"failed_at": record.failed_at, **record.metrics}
    if record.drift is not None:
        lengths["drift"] = record.drift
    for name, values in lengths.items():
        if np.shape(values) != (runs,):
            yield f"{name}: shape {np.shape(values)}, the config has {runs} seeds"


def _finite(record: Record) -> Iterator[str]:
    """NaN stands where a run failed, and nowhere else."""
    known = {k: v for k, v in record.metrics.items() if len(v) == len(record.failed)}
    for name, values in known.items():
        if not record.failed[np.isnan(values)].all():
            yield f"metric {name}: NaN in a run that did not fail"
        if np.isfinite(values[record.failed]).any():
            yield f"metric {name}: a number in a run that failed"
    if (record.failed_at < UNMEASURED).any():
        yield f"failed_at: expected steps, -1 or {UNMEASURED}, got {record.failed_at.min()}"
    for name, rows in record.arrays.items():
        alive = ~record.failed if len(rows) == len(record.failed) else ~record.failed[: len(rows)]
        if name != "history" and not np.isfinite(rows[alive]).all():
            yield f"array {name}: NaN or infinity in a run that did not fail"
    if bool(record.arrays) == bool(record.failed.all()):
        yield "arrays: expected if, and only if, a run did not fail"


def _status(record: Record) -> Iterator[str]:
    failed, runs = int(record.failed.sum()), len(record.failed)
    status = f"failed: {failed} of {runs} runs" if failed else "done"
    if record.provenance["status"] != status:
        yield f"status: recorded {record.provenance['status']!r}, by failed_at {status!r}"


def _histories(record: Record) -> Iterator[str]:
    """The losses of each epoch stand in both files, and begin with those of the first steps."""
    history, epochs = record.arrays["history"], _rows(record)
    if history.shape != (epochs, len(record.failed)):
        yield f"history: shape {history.shape}, the config has {epochs} epochs"
        return
    about = {"epochs": epochs, "first": numbers(history[0]), "last": numbers(history[-1])}
    if record.path.exists() and read_document(record.path)["history"] != about:
        yield f"history: the arrays say {about}, the JSON something else"
    per_epoch = STEPS[record.experiment](record.config) if record.experiment in STEPS else 0
    if per_epoch:
        yield from _first_epochs(record, per_epoch)


def _rows(record: Record) -> int:
    """Of the history: one for each epoch, and one for what is solved in closed form."""
    return max(1, int(record.config.epochs))


def _first_epochs(record: Record, per_epoch: int) -> Iterator[str]:
    """Whole epochs among the first steps: their mean losses are the history's."""
    if len(record.early) != min(EARLY_STEPS, per_epoch * _rows(record)):
        yield f"early: {len(record.early)} losses, {per_epoch} steps an epoch"
        return
    whole, runs = len(record.early) // per_epoch, len(record.failed)
    means = record.early[: whole * per_epoch].reshape(whole, per_epoch, runs).mean(1)
    fine = np.isfinite(means) & ~record.failed
    yield from _compare(
        "history of the first epochs, against the first steps",
        np.where(fine, record.arrays["history"][:whole], 0.0),
        np.where(fine, means, 0.0),
    )


def _batches(config: Any) -> int:
    return int(config.train_points // config.batch)


STEPS: dict[str, Callable[[Any], int]] = {  # of an epoch
    "regression": _batches,
    "ablations": _batches,
    "baselines": _batches,
    "convex_trap": _batches,
    "spiral": lambda c: 1,
    "spiral_cure": lambda c: 1,
    "kicks": lambda c: 1,
    "long_range": lambda c: 1,
    "classifier": classifier.steps,
    "circles": lambda c: -(-sum(COUNTS) // c.batch),
    "bouncing_balls": lambda c: c.sequences // c.batch,
    "rotating_mnist": lambda c: SOURCES[c.source].train * (1 + c.copies) // c.batch,
}


# --- of each experiment ---------------------------------------------------------------------


def _nothing(record: Record) -> Found:
    return iter(())


def _parameters(record: Record, count: Callable[[Any], float]) -> Found:
    """The number of parameters is that of the model, which is built anew."""
    with float32():
        yield "parameters, exactly", record.facts["parameters"], count(record.config)


def _curves(record: Record) -> Found:
    """Of the regression and its like: the loss, and the error of the curve that is drawn."""
    m, config = record.metrics, record.config
    yield "loss = 100 mse + penalty", m["loss"], regression.SIMILARITY * m["mse"] + m["penalty"]
    x, fine = grid_points(101).double(), grid_points(1000)[:, 0].numpy()
    miss = record.arrays["fit"] - TARGETS[config.function](x)[:, 0].numpy()
    drawn = np.array([(np.interp(fine, x[:, 0], each) ** 2).mean() for each in miss])
    near = np.isclose(drawn, m["mse"], rtol=MEAN_OF_CURVE, atol=0.0)
    yield "mse, of the curve", np.where(near, 0.0, m["mse"]), np.where(near, 0.0, drawn)


def _still(record: Record) -> Found:
    """The control of a static model does not vary over depth."""
    for name, values in record.metrics.items():
        if name.startswith("variation/") and record.config.model.startswith("static"):
            still = np.abs(values) < STILL
            yield f"{name} of a static model", np.where(still, 0.0, values), np.zeros(len(values))


def _regression(record: Record) -> Found:
    """Of the regression and its ablations."""
    house = ablations if record.experiment == "ablations" else regression
    yield from _parameters(record, lambda c: house.make_model(c).count)
    yield from _curves(record)
    yield from _still(record)
    yield from _drawn_depth(record)
    if record.config.lift != "learned":
        yield (
            "lift_square without a lift",
            record.metrics["lift_square"],
            np.zeros(len(record.failed)),
        )


def _drawn_depth(record: Record) -> Found:
    """The first run's paths start at their points and end on its curve; its control varies so."""
    a, m = record.arrays, record.metrics
    if "depth" not in a or record.failed[0]:
        return
    grid = grid_points(31)[:, 0].numpy()
    size = 2 * np.abs(grid).max()  # away from 0, which some processors make of the middle
    yield "depth, at its start", size + a["depth"][0, 0], size + grid
    fit, end = a["fit"][0, ::10], a["depth"][0, -1, ::3]  # every 0.3: points of both grids
    size = np.abs(fit).max()
    yield "depth, at its end", end + size, fit + size  # near 0 an absolute difference counts
    for name in (k.removeprefix("theta/") for k in a if k.startswith("theta/")):
        entries = a[f"theta/{name}"][:1].astype(np.float64)
        if entries.shape[-1] < 128:  # all of them, then
            one = 1.0  # a variation far below 1 is a difference of equal numbers
            varies = regression.variation(torch.from_numpy(entries).unsqueeze(-1))
            known = np.nan_to_num(varies.numpy())
            yield f"variation/{name} of run 0", one + m[f"variation/{name}"][:1], one + known


def _convex_trap(record: Record) -> Found:
    if record.config.source == "own":
        yield from _parameters(record, lambda c: convex_trap.make_model(c).count)
    yield from _curves(record)
    yield from _still(record)
    size = np.abs(record.arrays["fit"]).max(-1)  # a second difference is one of large numbers
    bend = convex_trap.least_bend(torch.from_numpy(record.arrays["fit"])).numpy()
    yield "bend of the curve", size + record.metrics["bend"], size + bend
    negative = record.metrics["negative"]
    yield (
        "negative, exactly a count",
        negative,
        np.clip(np.round(negative), 0, record.config.particles),
    )
    if "gaps" in record.arrays:
        yield "gap, the largest of gaps", record.metrics["gap"], record.arrays["gaps"].max(-1)
    yield from _film(record)


def _film(record: Record) -> Found:
    """What was noted during the training: a count, and curves whose error and bend are there."""
    trace = {name: record.arrays["trace"][..., k] for k, name in enumerate(convex_trap.TRACED)}
    yield "trace, exactly counts", trace["negative"], np.round(trace["negative"])
    if "film" not in record.arrays:
        return
    curves = torch.from_numpy(record.arrays["film"])
    truth = TARGETS[record.config.function](grid_points(101))[:, 0]
    yield "trace, errors of the film", trace["mse"], ((curves - truth) ** 2).mean(-1)
    bend, size = convex_trap.least_bend(curves).numpy(), curves.abs().amax(-1).numpy()
    yield "trace, bends of the film", size + trace["bend"], size + bend


def _baselines(record: Record) -> Found:
    yield from _parameters(record, lambda c: baselines.make_model(c).count)
    yield from _curves(record)


def _spiral(record: Record) -> Found:
    """Of the spiral and its like."""
    yield from _parameters(record, lambda c: spiral.make_model(c).count)
    yield from _spiral_numbers(record)


def _kicks(record: Record) -> Found:
    yield from _parameters(record, lambda c: kicks.make_model(c).count)
    yield from _spiral_numbers(record)


def _spiral_numbers(record: Record) -> Found:
    """Weighted sums, complexities of pasted pieces, errors of the kept paths."""
    m, config = record.metrics, record.config
    yield from _still(record)
    over = spiral.DEPTH if config.penalty_over_depth else 1.0
    for name in ("short", "long"):
        data = spiral.SIMILARITY * m[f"{name}_{config.error}"]
        yield f"{name}_data = 100 error", m[f"{name}_data"], data
        weighted = spiral.PENALTY * over * m["penalty"]
        yield f"{name}_loss = data + penalty", m[f"{name}_loss"], data + weighted
    whole, rest = divmod(SAMPLES - 1, SNIPPET - 1)
    for name in ("", "_norm"):  # exact for a control that is smooth over the shorter piece
        one, long = m[f"complexity{name}"], m[f"complexity_long{name}"]
        pieces = (whole + rest / (SNIPPET - 1)) * one
        near = np.abs(long - pieces) <= PIECE * (np.abs(long) + 1)
        yield f"complexity_long{name}, of the pieces", np.where(near, 0, long), 0 * long
    samples = m["followed"] / SPACING
    yield "followed, whole samples", 1 + samples, 1 + np.clip(np.round(samples), 0, SAMPLES - 1)
    yield from _paths(record)


def _paths(record: Record) -> Found:
    path = torch.from_numpy(record.arrays["long"])
    kept = len(path)
    with float32():
        truth = trajectory()
        for kind in spiral.ERRORS:
            error = spiral.data_error(path.unsqueeze(-2), truth.unsqueeze(-2), kind)
            yield f"long_{kind} of the kept paths", record.metrics[f"long_{kind}"][:kept], error
        yield "followed, kept paths", record.metrics["followed"][:kept], spiral.followed(path)
        yield "long, at its start", path[:, 0], truth[0].expand(kept, 2)


def _long_range(record: Record) -> Found:
    """What the path that is kept says of its run, the one with the median followed time."""
    m, config = record.metrics, record.config
    if config.model != long_range.RIDGE:
        yield from _parameters(record, lambda c: long_range.make_model(c).count)
    path = torch.from_numpy(record.arrays["path"])
    with float32():
        truth = orbit(config.system)
        run = int(torch.tensor(m["followed"]).argsort()[(len(config.seeds) - 1) // 2])
        known = {
            "followed": long_range.followed(config.system, path),
            "long": (long_range.distance(path, truth) ** 2).mean(-1).sqrt(),
            "orbit": long_range.orbit_distance(path, truth),
            "reached": torch.isfinite(path).all(-1).double().mean(-1),
        }
        count = torch.tensor(m["reached"]).mul(len(truth)).round().long()
        yield "reached, exactly counts", m["reached"], (count / len(truth)).numpy()
        if "phase" in m:
            known["phase"] = (long_range.turns(path) - long_range.turns(truth)).abs()
    for name, value in known.items():
        yield f"{name} of the kept path", 1 + m[name][run : run + 1], 1 + value.numpy()


def _classifier(record: Record) -> Found:
    """Accuracy and cross-entropy are those of the labels and probabilities that are kept."""
    m, config = record.metrics, record.config
    yield from _parameters(record, lambda c: classifier.count(c))
    labels = split(config.seeds, validation=config.validation)[1][1].numpy()
    predicted = record.arrays["predicted"]
    yield "predicted, exactly labels", predicted, np.clip(np.round(predicted), 0, CLASSES - 1)
    yield "accuracy, exactly a share", m["accuracy"], (predicted == labels).mean(1)
    yield "cross_entropy, a mean", m["cross_entropy"], record.arrays["surprise"].mean(1)


def _circles(record: Record) -> Found:
    """Of the circles: shares of points, and the two successes that follow from them."""
    m = record.metrics
    yield (
        "parameters, exactly",
        record.facts["parameters"],
        circles.make_model(record.config).flow.count + 6,
    )
    yield "fits, exactly train_accuracy = 1", m["fits"], m["train_accuracy"] == 1
    good = m["test_accuracy"] > circles.GENERALISES
    yield "generalises, exactly test_accuracy > 0.99", m["generalises"], good
    for name in ("train_accuracy", "test_accuracy"):
        points = sum(COUNTS)
        yield f"{name}, exactly a share of points", m[name], np.round(m[name] * points) / points


def _rotating(record: Record) -> Found:
    """Of the threes: errors of frames, and the shape of the paths that are kept."""
    m, misses = record.metrics, record.arrays["misses"]
    if not record.config.variant:  # one of those looks at the digits to be built
        network = rotating_mnist.build(record.config)
        yield from _images(record, network)
    yield "mse, of the frame left out", m["mse"], misses[:, rotating_mnist.HELD_OUT]
    yield "mse_first, of the first frame", m["mse_first"], misses[:, 0]
    if "errors" in record.arrays:
        errors = record.arrays["errors"].astype(np.float64)
        yield "mse, mean over digits", m["mse"], errors.mean(-1)
        yield "mse_std, over digits", m["mse_std"], errors.std(-1)
    if record.config.variant:
        paths = record.arrays["paths"].astype(np.float64)
        size = np.abs(paths).max()
        yield "paths, in their own components", size + paths.mean(2), 0 * paths.mean(2) + size


def _balls(record: Record) -> Found:
    """Of the balls: errors of frames, and the epoch that validation chose."""
    m, misses, seen = record.metrics, record.arrays["misses"], bouncing_balls.SEEN
    predicted, checked = bouncing_balls.PREDICTED, record.arrays["validation"]
    yield from _images(record, bouncing_balls.LatentFlow(record.config))
    yield "mse, of ten frames", m["mse"], misses[:, predicted].mean(-1)
    yield "mse_first", m["mse_first"], misses[:, predicted.start]
    yield "mse_last", m["mse_last"], misses[:, predicted.stop - 1]
    yield "mse_seen", m["mse_seen"], misses[:, :seen].mean(-1)
    yield "mse_beyond", m["mse_beyond"], misses[:, predicted.stop :].mean(-1)
    yield "validation_mse, the least", m["validation_mse"], checked.min(-1)
    yield "best_epoch, exactly where it is", m["best_epoch"], checked.argmin(-1) + 1


def _images(record: Record, network: Any) -> Found:
    count = sum(w.numel() for w in network.parameters())
    yield "parameters, exactly", record.facts["parameters"], count
    yield "flow_parameters, exactly", record.facts["flow_parameters"], network.flow.count


PIECE = 1e-3  # relative: of a last, shorter piece, see `spiral.complexities`
OWN: dict[str, Callable[[Record], Found]] = {
    "regression": _regression,
    "ablations": _regression,
    "convex_trap": _convex_trap,
    "baselines": _baselines,
    "spiral": _spiral,
    "spiral_cure": _spiral,
    "kicks": _kicks,
    "long_range": _long_range,
    "classifier": _classifier,
    "circles": _circles,
    "rotating_mnist": _rotating,
    "bouncing_balls": _balls,
}
