"""One training loop for an ensemble of runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from shooting.errors import NonFiniteError, require_count, require_real, require_type, shown
from shooting.optim import Adam, Cosine, Plateau, Schedule, StateDict
from shooting.parametrizations import Parametrization
from shooting.watch import Watch

EARLY_STEPS = 50  # training is chaotic: only the first steps can be compared across machines


class Task(Protocol):
    """What is trained: batches, a loss per run, and the value a schedule watches."""

    def batches(self, epoch: int) -> Iterable[Any]:
        """The batches of an epoch; a function of the seeds and the epoch alone."""

    def loss(self, model: Any, batch: Any) -> Tensor:
        """Training loss of one batch, per run ``(*runs)``."""

    def monitor(self, model: Any) -> Tensor:
        """Value watched by a plateau schedule, per run ``(*runs)``."""


class Checkpoint(Protocol):
    """Where a training keeps its state; see `shooting.study.records`."""

    def load(self) -> StateDict | None:
        """The last state saved, or None."""

    def save(self, state: StateDict) -> None:
        """Keep a state, atomically."""

    def due(self) -> bool:
        """Whether enough has happened since the last save."""


@dataclass(frozen=True)
class FitConfig:
    """Settings of a training.

    A run of an UpDown model can get stuck near the best convex function; a lift that stays for the
    first 50 epochs frees nearly all such runs (the book's chapter on the convex trap)::

        FitConfig(epochs=500, freeze={"lift": 50})

    Example:
        >>> config = FitConfig(epochs=100, learning_rate=0.01, freeze={"lift": 50})

    Attributes:
        epochs: Number of epochs.
        learning_rate: Initial learning rate of Adam.
        schedule: Learning-rate schedule, stepped after each epoch.
        weight_decay: Of Adam.
        freeze: For how many first epochs parts of the model stay, e.g. ``{"x": 50, "lift": 50}``: a
            parameter stays if the part is its name or whole words of it, as ``lift`` is of
            ``flow.lift.weight``. Kept as sorted pairs, so that a config is immutable and has a
            hash.
    """

    epochs: int
    learning_rate: float = 0.01
    schedule: Schedule | None = None
    weight_decay: float = 0.0
    freeze: Mapping[str, int] | tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "freeze", _lengths(self.freeze))
        object.__setattr__(self, "epochs", require_count(self.epochs, "the number of epochs"))
        require_real(self.learning_rate, "a learning rate", above=0, example=0.01)
        require_real(self.weight_decay, "a weight decay", least=0, example=0)
        if self.schedule is not None and not isinstance(self.schedule, (Plateau, Cosine)):
            raise ValueError(
                f"expected a schedule of `shooting.optim`, got {shown(self.schedule)}; try "
                "Plateau() or Cosine(500)"
            )


def _lengths(freeze: Any) -> tuple[tuple[str, int], ...]:
    """Sorted pairs of a part and the epochs for which it stays, from a mapping or from pairs."""
    given = freeze.items() if isinstance(freeze, Mapping) else freeze
    is_list = isinstance(given, Iterable) and not isinstance(given, str)
    pairs = list(given) if is_list else [given]
    named = [p for p in pairs if isinstance(p, tuple) and len(p) == 2 and isinstance(p[0], str)]
    if len(named) < len(pairs) or len(dict(named)) < len(named):
        raise ValueError(
            f"expected names of parts, each once, with numbers of epochs, got {freeze!r}; try "
            "freeze={'x': 50}"
        )
    what = "the epochs in which {!r} stays"
    return tuple(sorted((p, require_count(n, what.format(p), least=0)) for p, n in named))


@dataclass(frozen=True)
class FitResult:
    """What a training leaves behind.

    Attributes:
        history: Mean training loss of each epoch, ``(epochs, *runs)``.
        early: Loss of each of the first steps, ``(at most 50, *runs)``.
        failed: Optimiser step at which a run met NaN or infinity, -1 if it never did.
        drift: By which part H moves over depth in the trained model's dynamic blocks, ``(*runs)``;
            None if there are none.
    """

    history: Tensor
    early: Tensor
    failed: Tensor
    drift: Tensor | None = None

    @property
    def alive(self) -> Tensor:
        """Which runs are finite to the end."""
        return self.failed < 0


@dataclass
class _Progress:
    """Mutable state of a training; everything in it is a tensor, so that it can be saved."""

    model: nn.Module
    adam: Adam
    schedule: StateDict
    history: list[Tensor] = field(default_factory=list)
    early: list[Tensor] = field(default_factory=list)
    failed: Tensor = field(default_factory=lambda: torch.tensor(-1))
    step: int = 0
    drift: Tensor | None = None

    def state_dict(self) -> StateDict:
        shape = self.adam.lr.shape
        return {
            **{f"model.{k}": v for k, v in self.model.state_dict().items()},
            **{f"adam.{k}": v for k, v in self.adam.state_dict().items()},
            **{f"schedule.{k}": v for k, v in self.schedule.items()},
            "history": torch.stack(self.history) if self.history else torch.empty(0, *shape),
            "early": torch.stack(self.early) if self.early else torch.empty(0, *shape),
            "failed": self.failed,
            "step": torch.tensor(self.step),
            **({} if self.drift is None else {"drift": self.drift}),
        }

    def load_state_dict(self, state: StateDict) -> None:
        def part(prefix: str) -> StateDict:
            return {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}

        self.model.load_state_dict(part("model."))
        self.adam.load_state_dict(part("adam."))
        for key, value in part("schedule.").items():
            self.schedule[key].copy_(value)
        device = self.adam.lr.device
        self.history, self.early = (list(state[k].to(device)) for k in ("history", "early"))
        self.failed, self.step = state["failed"].to(device), int(state["step"])
        self.drift = state["drift"].to(device) if "drift" in state else None


def fit(
    model: Any,
    task: Task,
    config: FitConfig,
    *,
    checkpoint: Checkpoint | None = None,
    label: str = "fit",
) -> FitResult:
    """Train all runs of a model together; run i trains as it would alone.

    On the route ``native`` its parameters are then the same bits whatever runs are beside it. On
    the others, and in the mean losses, sums over runs may be ordered otherwise: they agree up to
    rounding, which grows along a training.

    A run whose loss or gradient turns NaN or infinite is marked as failed and its parameters stay
    as they were; the others go on. The parameters that the last update leaves are looked at, too.
    If the Hamiltonian of a dynamic block moves by more than a hundredth over depth, a
    `ConservationWarning` says so once, with a step that would do.

    Args:
        model: A module whose parameters lead with the run axis if it has `seeds`.
        task: Batches, loss and watched value.
        config: Settings.
        checkpoint: Where to resume from and save to; None to keep nothing.
        label: Shown by the progress bar (on a terminal only).

    Returns:
        Histories and failures; the model is trained in place.

    Raises:
        ValueError: If a parameter lacks the run axis, a part to freeze is unknown, or the loss is
            not one number per run.
        NonFiniteError: If no run is left.
    """
    _check_given(model, task, config, checkpoint)
    now = _begin(model, config)
    saved = checkpoint.load() if checkpoint else None
    if saved is not None and _fits(now, saved, checkpoint):
        now.load_state_dict(saved)
    with Watch(model) as watch:
        _train(model, task, config, now, watch, checkpoint, label)
    return FitResult(torch.stack(now.history), torch.stack(now.early), now.failed, now.drift)


def _fits(now: _Progress, saved: StateDict, checkpoint: Checkpoint | None) -> bool:
    """Whether a state is one of this training; else it is rejected, where that can be done."""
    own, growing = now.state_dict(), ("history", "early")
    lacking = [name for name in own if name not in saved]
    other = [
        name
        for name, value in own.items()
        if name in saved
        and (saved[name].shape != value.shape if name not in growing else saved[name].dim()
             != value.dim() or saved[name].shape[1:] != value.shape[1:])
    ]  # fmt: skip
    if not lacking and not other:
        return True
    what = f"lacks {lacking[0]!r}" if lacking else f"has another shape of {other[0]!r}"
    reject = getattr(checkpoint, "reject", None)
    if reject is None:
        raise ValueError(f"expected the state of this training, got one that {what}; remove it")
    reject(f"the state {what}")
    return False


def _check_given(model: object, task: object, config: object, checkpoint: object) -> None:
    """Refuse what cannot be trained, before anything is."""
    require_type(model, nn.Module, "a module to train", "try DynamicParticles(field, 15)")
    require_type(config, FitConfig, "a FitConfig", "try FitConfig(epochs=500)")
    parts = {"a task": (task, ("batches", "loss", "monitor"))}
    if checkpoint is not None:
        parts["a checkpoint"] = (checkpoint, ("load", "save", "due"))
    for what, (given, names) in parts.items():
        if isinstance(given, type) or not all(callable(getattr(given, n, None)) for n in names):
            raise ValueError(
                f"expected {what} with the methods {', '.join(names)}, got {shown(given)}; see "
                "shooting.fit"
            )


def _train(
    model: Any,
    task: Task,
    config: FitConfig,
    now: _Progress,
    watch: Watch,
    checkpoint: Checkpoint | None,
    label: str,
) -> None:
    """The epochs that are left."""
    for epoch in tqdm(range(len(now.history), config.epochs), desc=label, disable=None):
        _freeze(now.adam, config, epoch)
        losses = [_train_step(model, task, batch, now) for batch in _batches(task, epoch)]
        if not losses:
            raise ValueError(
                f"expected at least one batch in epoch {epoch} of {label}, got none; "
                "lower the batch size"
            )
        now.history.append(torch.stack(losses).mean(0))
        if epoch + 1 == config.epochs:
            now.failed = torch.where((now.failed < 0) & ~_whole(now), now.step - 1, now.failed)
        _check_any_left(now, label, watch)
        watch.look(epoch + 1, config.epochs, now.failed < 0)
        _reschedule(model, task, config, now, epoch + 1)
        if epoch + 1 == config.epochs:
            now.drift = watch.drift(now.failed.shape)  # saved, since a record may yet be missing
        if checkpoint and (checkpoint.due() or epoch + 1 == config.epochs):
            checkpoint.save(now.state_dict())


def _batches(task: Task, epoch: int) -> Iterable[Any]:
    found = task.batches(epoch)
    advice = "try a generator of batches"
    return require_type(found, Iterable, f"batches of epoch {epoch}", advice)


def _begin(model: Any, config: FitConfig) -> _Progress:
    seeds = getattr(model, "seeds", None)
    runs = () if seeds is None else (len(seeds),)
    if runs and any(hasattr(p, "inner") for p in model.modules() if isinstance(p, Parametrization)):
        raise ValueError(
            "expected runs that share no learned number, got a field with a network inside, the "
            "same for all runs; train one run at a time, as with seed=0, or by torch.optim"
        )
    adam = Adam(
        model.named_parameters(),
        learning_rate=config.learning_rate,
        runs=runs,
        groups=_blocks(model),
        weight_decay=config.weight_decay,
    )
    schedule = config.schedule.start(adam.lr) if config.schedule else {}
    failed = torch.full(runs, -1, dtype=torch.int64, device=adam.lr.device)
    return _Progress(model, adam, schedule, failed=failed)


def _blocks(model: nn.Module) -> Iterator[list[str]]:
    """Names of the parameters of each block: small, so that Adam updates them together."""
    names = {id(w): name for name, w in model.named_parameters()}
    for part in model.modules():
        if isinstance(part, Parametrization):
            own = [names.pop(id(w)) for w in part.parameters() if id(w) in names]  # shared: once
            if own:
                yield own


def _train_step(model: Any, task: Task, batch: Any, now: _Progress) -> Tensor:
    now.adam.zero_grad()
    loss = task.loss(model, batch)
    if not isinstance(loss, Tensor) or not loss.requires_grad:
        raise ValueError(
            f"expected a loss that depends on the learned parameters, got {shown(loss)}; compute "
            "it from the model's call, without detach"
        )
    if loss.shape != now.failed.shape:
        raise ValueError(
            f"expected a loss of shape {tuple(now.failed.shape)}, one number for each run, got "
            f"{tuple(loss.shape)}; take the mean over everything but the runs"
        )
    loss.sum().backward()
    alive = now.failed < 0
    fine = torch.isfinite(loss.detach()) & now.adam.finite()
    now.failed = torch.where(alive & ~fine, now.step, now.failed)
    now.adam.step(alive & fine)
    if now.step < EARLY_STEPS:
        now.early.append(loss.detach())
    now.step += 1
    return loss.detach()


def _freeze(adam: Adam, config: FitConfig, epoch: int) -> None:
    """Hold the named parts in this epoch, and none but these.

    The masks are set anew in every epoch: those of a checkpoint may come from another config.
    """
    held: set[str] = set()
    for part, length in dict(config.freeze).items():
        names = {name for name in adam.parameters if f".{part}." in f".{name}."}
        if not names:
            raise ValueError(
                f"expected parts to freeze among {sorted(adam.parameters)}, got {part!r}; correct "
                "the name"
            )
        held |= names if epoch < length else set()
    adam.freeze(held)


def _reschedule(model: Any, task: Task, config: FitConfig, now: _Progress, done: int) -> None:
    if config.schedule is None:
        return
    every = config.schedule.every
    value = None
    if every and done % every == 0:
        with torch.no_grad():
            value = _monitored(task.monitor(model), now.failed.shape)
    now.adam.lr.copy_(config.schedule.rate(now.schedule, now.adam.lr, done, value))


def _monitored(value: object, shape: torch.Size) -> Tensor:
    found = require_type(value, Tensor, "what the task monitors", "return a tensor, as the loss is")
    if found.shape != shape:
        raise ValueError(
            f"expected what the task monitors of shape {tuple(shape)}, one number for each run, "
            f"got {tuple(found.shape)}; take the mean over everything but the runs"
        )
    return found


def _whole(now: _Progress) -> Tensor:
    """Which runs have finite parameters: no loss is computed after the last update."""
    runs = now.failed.dim()
    parts = [
        torch.isfinite(w.detach()).reshape(*w.shape[:runs], -1)
        for w in now.adam.parameters.values()
    ]
    return torch.cat(parts, dim=-1).all(-1)


def _check_any_left(now: _Progress, label: str, watch: Watch) -> None:
    if bool((now.failed >= 0).all()):
        steps = [int(s) for s in now.failed.reshape(-1)]
        raise NonFiniteError(
            f"expected finite losses in {label}, got NaN or infinity in every run (at steps "
            f"{steps}); lower the learning rate, shrink the initial momenta, or use float64"
            f"{watch.cause()}",
            steps,
        )


def count_parameters(model: nn.Module, runs: int = 1) -> int:
    """Number of learned numbers of one run."""
    return sum(math.prod(w.shape) for w in model.parameters()) // runs
