"""The library's public calls, with right, wrong and doubtful values of each argument."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from calls import Context, Kind, Target, Thunk
from square import Square
from torch import Tensor, nn

import shooting
from shooting import (
    Activated,
    Activation,
    Affine,
    AutomaticField,
    Constant,
    ConvUpDown,
    Drift,
    DynamicDirect,
    DynamicParticles,
    Field,
    FitConfig,
    Function,
    Identity,
    Metric,
    ParticleInit,
    Patches,
    SecondOrder,
    Slot,
    Solver,
    StaticDirect,
    StaticParticles,
    Term,
    UpDown,
    carry,
    complexity,
    fit,
    normal,
    paste,
    shoot,
    uniform,
)
from shooting.activations import ACTIVATIONS
from shooting.conservation import drift, step_for
from shooting.diagnosis import diagnose
from shooting.metrics import MatrixMetric
from shooting.optim import Adam, Cosine, Plateau
from shooting.randomness import generator
from shooting.solvers import make_grid
from shooting.spaces import StateSpace

NAN, INF = float("nan"), float("inf")


def consts(*values: Any) -> dict[str, Thunk]:
    """Thunks of constants, by what they look like, the same in every process."""
    return {words(v): lambda c, v=v: v for v in values}


def words(value: Any) -> str:
    text = " ".join(re.sub(r" at 0x[0-9a-f]+", "", repr(value)).split())
    return text if len(text) < 60 else f"{text[:40]}… of {len(text)} letters"


class Thing:
    """An object of nobody's."""

    def __repr__(self) -> str:
        return "Thing()"


STRANGE = consts(None, "", "nope", [], {}, (), 1j, b"a", Thing(), ["a"], [None], object, NAN)
NUMBERS = consts(3, 0.5, True, INF)
ARRAYS = {
    "empty tensor": lambda c: torch.zeros(0),
    "tensor (2,)": lambda c: torch.tensor([1.0, 2.0]),
    "array (2,)": lambda c: np.array([1.0, 2.0]),
    "array of words": lambda c: np.array(["a", "b"]),
}
WORDS = {**consts(None, "", "nope", [], {}, 3, NAN, True, b"rk4", Thing()), **ARRAYS}
NO_NUMBER = {**STRANGE, **ARRAYS, **consts(True)}
HUGE = 10**12


def without(kind: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {k: v for k, v in kind.items() if k not in names}


def count(*right: int, huge: int = HUGE) -> Kind:
    return Kind(
        consts(*(right or (1, 2, 3)), np.int64(2)),
        {**NO_NUMBER, **consts(0, -1, 2.5, "3", INF, huge, 10**30)},
    )


WHOLE = Kind(consts(0, 7, np.int64(3)), {**NO_NUMBER, **consts(0.5, INF, "3")}, consts(-1, 10**30))
POSITIVE = Kind(
    consts(0.5, 1, 2.0, np.float64(1.5), np.float32(0.5)),
    {**NO_NUMBER, **consts(0, -1.0, INF, -INF, "1.0", 10**400, "a")},
    {"tensor 2.0": lambda c: torch.tensor(2.0), **consts(1e-320, 1e30)},
)
FREE = Kind(consts(-0.5, 0, 1, np.float64(2)), {**NO_NUMBER, **consts(INF, "1.0", 10**400)},
            consts(1e30))  # fmt: skip
WEIGHT = Kind(
    {**consts(1.0, 2, np.float32(0.5), Metric(3.0)), "matrix": lambda c: 2 * torch.eye(2)},
    {**without(NO_NUMBER, "tensor (2,)"), **consts(0, -1.0, INF, "1", 10**400),
     "indefinite": lambda c: -torch.eye(2), "complex": lambda c: torch.eye(2) * 1j,
     "nan matrix": lambda c: torch.eye(2) * NAN, "tensor (2,)": lambda c: torch.ones(2),
     "meta": lambda c: torch.eye(2, device="meta"), "ints": lambda c: torch.eye(2).long(),
     "empty": lambda c: torch.zeros(0, 0), "sparse": lambda c: torch.eye(2).to_sparse()},
    {"other size": lambda c: torch.eye(5), "0-d": lambda c: torch.tensor(2.0)},
)  # fmt: skip


def two(*_: Any) -> Tensor:
    return torch.zeros(2)


def whole(v: Tensor) -> Tensor:
    return v / v.norm()


SIGMA = Kind(
    consts("relu", "tanh", "softplus", "identity", ACTIVATIONS["tanh"], torch.sin, torch.relu),
    {**without(WORDS, "''"), **consts(torch.sum, two, whole, nn.PReLU(), len, object, "Tanh")},
)
MAYBE_SIGMA = Kind({**SIGMA.right, **consts(None)}, without(SIGMA.wrong, "None"))


def choice(*right: str) -> Kind:
    return Kind(consts(*right), WORDS)


SEEDS = Kind(
    {**consts(None, [0], [0, 1], (3, 1), range(2)), "array": lambda c: np.arange(2)},
    {**consts(3, [0.5], [], (), "01", ["a"], [None], [NAN], NAN, [0, 0], [True], [[0]], {}, "",
              Thing(), 1j, True, ["0"], b"ab"), **without(ARRAYS, "tensor (2,)", "array (2,)"),
     "floats": lambda c: np.array([0.5, 1.5])},
    consts([-1], {0: 1}, {0, 1}, [10**30]),
)  # fmt: skip
LIFT = choice("learned", "fixed", "zero")
SOLVER = Kind(
    consts(None, Solver(), Solver(method="euler"), Solver(route="autograd"), Solver(step=1),
           Solver(route="adjoint"), Solver(step="auto", tolerance=0.1)),
    {**without(STRANGE, "None"), **NUMBERS, **consts("rk4", Solver)},
    consts(Solver(step=1e-320), Solver(step=1e-12), Solver(step=1e300), Solver(form="theta"),
           Solver(method="dopri5"), Solver(route="native"), Solver(rtol=1e-300, atol=0.0),
           Solver(method="dopri5", rtol=1e-300, atol=0.0), Solver(tolerance=1e-300, step="auto")),
)  # fmt: skip
FIELD = Kind(
    {"UpDown(2, 3)": lambda c: UpDown(2, 3), "Affine(2)": lambda c: Affine(2),
     "tanh": lambda c: UpDown(2, 1, sigma="tanh"), "SecondOrder(2)": lambda c: SecondOrder(2),
     "matrix": lambda c: Affine(2, weight=2 * torch.eye(2))},
    {**STRANGE, **NUMBERS, **ARRAYS, **consts(UpDown, "UpDown"),
     "space": lambda c: StateSpace({"x": 2, "v": 2}), "module": lambda c: nn.Linear(2, 2)},
    {"biases": lambda c: Field({"x": 2}, [Term("b", "x")]),
     "images": lambda c: ConvUpDown(1, 1, sites=(3, 3)),
     "function": lambda c: AutomaticField(lambda z, t: {"x": z["x"] @ t["A"].T}, {"x": 2},
                                          {"A": (2, 2)})},
)  # fmt: skip
TIMES = Kind(
    {**consts([0, 1], [0.0, 0.5, 1.0], (0, 1), range(2), [np.float32(0), 1.0]),
     "tensor": lambda c: torch.linspace(0, 1, 3), "array": lambda c: np.linspace(0, 1, 3)},
    {**STRANGE, **consts(1.0, "01", [0, NAN], [0, INF], [0, "a"], [[0, 1]], [0, None], [0, 1j],
                         ["0", "1"], Thing(), [0, [1]], [0, 10**400]),
     "2-d": lambda c: torch.zeros(2, 2), "words": lambda c: np.array(["0", "1"]),
     "empty": lambda c: torch.zeros(0), "0-d": lambda c: torch.tensor(1.0),
     "complex": lambda c: torch.tensor([0, 1j]), "meta": lambda c: torch.zeros(2, device="meta")},
    {**consts([0], [1, 0], [0, 0], [0, 2, 1], {0, 1}, {0: 0, 1: 1}, [0, 1e-320], [False, True],
              [0, 1e300], [0, 1e9], [-1, 0], [0, 1e-300, 1]),
     "integers": lambda c: torch.arange(2), "grad": lambda c: torch.tensor([0.0, 1.0])
     .requires_grad_()},
)  # fmt: skip


def known(c: Context) -> Any:
    """The field of a call, or another where that is no field."""
    found = c.get("field")
    if isinstance(found, shooting.VectorField):
        return found
    model = c.get("model")
    return getattr(model, "field", None) or UpDown(2, 3)


def width(c: Context) -> int:
    """Length of a sample: of a state where a field is given, of data where a model is."""
    f = known(c)
    return next(iter(f.slots.values())) if "model" in c else f.size


def tensors(rows: int) -> Kind:
    """States or data of some rows."""

    def normal_(*lead: int, dtype: torch.dtype = torch.float32) -> Callable[[Context], Tensor]:
        return lambda c: (torch.ones(*lead, width(c)) / 2).to(dtype)

    runs = normal_(rows).__call__
    return Kind(
        {"floats": normal_(rows), "grad": lambda c: runs(c).requires_grad_(),
         "strided": lambda c: torch.ones(width(c), rows).T},
        {**STRANGE, **NUMBERS, **without(ARRAYS, "tensor (2,)", "empty tensor"),
         "1-d": lambda c: torch.ones(width(c)), "0-d": lambda c: torch.tensor(1.0),
         "wider": lambda c: torch.ones(rows, width(c) + 1), "integers": normal_(rows,
                                                                               dtype=torch.int64),
         "booleans": normal_(rows, dtype=torch.bool), "complex": normal_(rows,
                                                                       dtype=torch.complex64),
         "list": lambda c: runs(c).tolist(), "numpy": lambda c: runs(c).numpy(),
         "sparse": lambda c: runs(c).to_sparse(), "type": consts(Tensor)["<class 'torch.Tensor'>"],
         "quantised": lambda c: torch.quantize_per_tensor(runs(c), 0.1, 0, torch.quint8)},
        {"no rows": normal_(0), "no runs": normal_(0, rows), "runs": normal_(2, rows),
         "more axes": normal_(2, 1, rows), "doubles": normal_(rows, dtype=torch.float64),
         "halves": normal_(rows, dtype=torch.float16), "NaNs": lambda c: NAN * runs(c),
         "infinite": lambda c: INF * runs(c), "large": lambda c: 1e30 * runs(c),
         "meta": lambda c: runs(c).to("meta")},
    )  # fmt: skip


def controls(c: Context, blocks: int = 2, *lead: int) -> dict[str, Tensor]:
    return {k: torch.ones(*lead, blocks, *s) / 9 for k, s in known(c).shapes.items()}


def changed(c: Context, value: Any) -> dict[str, Any]:
    """Controls of which the first is something else."""
    first = next(iter(known(c).shapes))
    return {**controls(c), first: value}


CONTROLS = Kind(
    {"two blocks": controls, "one block": lambda c: controls(c, 1)},
    {**STRANGE, **NUMBERS, **ARRAYS, "zero blocks": lambda c: controls(c, 0),
     "keys alone": lambda c: list(known(c).shapes), "missing": lambda c: dict(
         list(controls(c).items())[1:]), "extra": lambda c: {**controls(c), "z": torch.ones(1)},
     "a None": lambda c: changed(c, None), "a word": lambda c: changed(c, "a"),
     "a list": lambda c: changed(c, [1.0]), "an array": lambda c: changed(c, np.ones(2)),
     "0-d": lambda c: changed(c, torch.tensor(1.0)), "integers": lambda c: {
         k: v.long() for k, v in controls(c).items()}, "other keys": lambda c: dict(
             enumerate(controls(c).values()))},
    {"runs": lambda c: controls(c, 2, 2), "no runs": lambda c: controls(c, 2, 0),
     "nan": lambda c: {k: NAN * v for k, v in controls(c).items()},
     "doubles": lambda c: {k: v.double() for k, v in controls(c).items()},
     "large": lambda c: {k: 1e30 * v for k, v in controls(c).items()}},
)  # fmt: skip
SPAN = Kind(
    consts(None, (0, 1), (0.0, 2.0), [0, 1]),
    {**without(STRANGE, "None"), **NUMBERS, **consts((0,), "ab", (NAN, 1), (0, INF), (0, 0),
     (1, 0), (None, 1), ("a", "b"), (0, 1, 2), (0, 1j)),
     "array of words": ARRAYS["array of words"]},
    {"tensor (2,)": ARRAYS["tensor (2,)"], **consts((5, 6), (0, 1e-320), (0, 1e300))},
)  # fmt: skip
INIT = Kind(
    consts(None, ParticleInit(), ParticleInit(p=normal(1.0))),
    {**without(STRANGE, "None"), **NUMBERS, **consts(ParticleInit, "normal")},
    {},
)
SAMPLER = Kind(
    {"normal": lambda c: normal(0.1), "uniform": lambda c: uniform(1.0)},
    {**STRANGE, **NUMBERS, **ARRAYS,
     "wrong shape": lambda c: lambda g, shape: torch.zeros(1),
     "no tensor": lambda c: lambda g, shape: 3,
     "array": lambda c: lambda g, shape: np.zeros(shape)},
    {"NaNs": lambda c: lambda g, shape: torch.full(shape, NAN, dtype=torch.float64)},
)  # fmt: skip
MODELS: dict[str, Callable[[Context], Any]] = {
    "DynamicParticles": lambda c: DynamicParticles(UpDown(2, 3), 3, seed=0),
    "StaticParticles": lambda c: StaticParticles(Affine(2), 3, seed=0),
    "DynamicDirect": lambda c: DynamicDirect(UpDown(2, 1), blocks=3, depth=1.0, seed=0),
    "StaticDirect": lambda c: StaticDirect(UpDown(2, 1, sigma="tanh"), seed=0),
    "ensemble": lambda c: DynamicParticles(UpDown(2, 3), 3, seeds=[0, 1]),
}


def poisoned(c: Context) -> Any:
    model = MODELS["DynamicParticles"](c)
    with torch.no_grad():
        model.p.fill_(NAN)
    return model


MODEL = Kind(
    MODELS,
    {**STRANGE, **NUMBERS, **ARRAYS, **consts(DynamicParticles),
     "linear": lambda c: nn.Linear(2, 2),
     "identity": lambda c: nn.Identity(), "field": lambda c: UpDown(2, 3)},
    {"drift": lambda c: DynamicParticles(SecondOrder(2), 3, seed=0), "poisoned": poisoned,
     "biases": lambda c: StaticDirect(Field({"x": 2}, [Term("b", "x")]), seed=0),
     "double": lambda c: DynamicParticles(UpDown(2, 3), 3, seed=0).double()},
)  # fmt: skip
SLOTS = Kind(
    {**consts({"x": 2, "v": 2}, {"x": 2}, {"x": Slot(1, (3, 3)), "v": Slot(2, (3, 3))}),
     "numpy": lambda c: {"x": np.int64(2)}},
    {**STRANGE, **NUMBERS, **ARRAYS, **consts({"x": 0}, {"x": 2.5}, {"x": "2"}, {"x": None}, {1: 2},
     {"x": HUGE}, {"x": True}, {"x": NAN}, [("x", 2)], {"x": (2, 2)}, {"x": -1})},
    consts({"": 2}),
)  # fmt: skip
TERMS = Kind(
    {"A": lambda c: [Term("A", "x", "x")], "A, b": lambda c: (Term("A", "x", "x"), Term("b", "x"))},
    {**STRANGE, **NUMBERS, **ARRAYS, "names": lambda c: ["A", "b"], "no slot": lambda c: [
        Term("A", "y", "x")], "reads none": lambda c: [Term("A", "x", "y")], "twice": lambda c: [
            Term("A", "x"), Term("A", "x")], "drifts": lambda c: [Drift("x", "x")],
     "a Term": lambda c: Term("A", "x"), "Nones": lambda c: [None]},
    {"patches": lambda c: [Term("A", "x", Patches("x"))],
     "function": lambda c: [Term("A", "x", Function(two, reads=("x",)))],
     "metric": lambda c: [Term("A", "x", "x", torch.eye(2))]},
)  # fmt: skip
DRIFTS = Kind(
    {"none": lambda c: [], "x": lambda c: [Drift("x", "x")]},
    {**without(STRANGE, "[]", "()", "{}", "''"), **NUMBERS, "no slot": lambda c: [Drift("y", "x")],
     "names": lambda c: ["x"], "terms": lambda c: [Term("A", "x")],
     "one": lambda c: Drift("x", "x"),
     "None inside": lambda c: [None]},
    {"sigma": lambda c: [Drift("x", Activated("x"))]},
)  # fmt: skip
NAME = Kind(consts("A", "b1"), {**without(WORDS, "'nope'", "''")}, consts("", "nope", "a.b"))
SLOT = Kind(consts("x", "v"), {**without(WORDS, "'nope'", "''")}, consts("", "nope"))
FEATURE = Kind(
    consts("x", "v", None, Activated("v"), Identity("x"), Constant()),
    {**without(STRANGE, "None", "''", "'nope'"), **NUMBERS, **ARRAYS, **consts(Activated)},
    consts("", "nope", Patches("x"), Function(two, reads=("x",))),
)
NO_FEATURE = Kind(without(FEATURE.right, "None"), {**FEATURE.wrong, **consts(None)}, FEATURE.edge)
SITES = Kind(
    consts((3, 3), (4, 5), [3, 3]),
    {**without(WORDS, "''", "[]"), **consts((3,), (0, 3), (3, -1), (3, 2.5), ("a", "b"),
     3, (3, None),
     (3, 3, 3), (3, NAN), (HUGE, HUGE))},
    {**consts("", []), "array": lambda c: np.array([3, 3])},
)  # fmt: skip
PLAIN_SITES = Kind({**SITES.right, **consts(())}, without(
    SITES.wrong, "(3,)", "(3, 3, 3)", "{}", "empty tensor"),
                   {**SITES.edge, **consts((3,), (3, 3, 3))})  # fmt: skip
FUNCTION = Kind(
    {"linear": lambda c: lambda z, t: {"x": z["x"] @ t["A"].T}},
    {**STRANGE, **NUMBERS, **ARRAYS, "square": lambda c: lambda z, t: {"x": z["x"] @ t["A"].T**2},
     "list": lambda c: lambda z, t: [1], "None ": lambda c: lambda z, t: None,
     "one argument": lambda c: lambda z: {}, "other slot": lambda c: lambda z, t: {"q": z["x"]},
     "other shape": lambda c: lambda z, t: {"x": z["x"][..., :1] * t["A"][0, 0]},
     "number": lambda c: lambda z, t: {"x": 1.0}, "mixes": lambda c: lambda z, t: {
         "x": (z["x"] @ t["A"].T).sum(0, keepdim=True).expand_as(z["x"])},
     "a key": lambda c: lambda z, t: {"x": z["x"] @ t["B"].T}},
)  # fmt: skip
SHAPES = Kind(
    consts({"A": (2, 2)}, {"A": [2, 2]}),
    {**STRANGE, **NUMBERS, **ARRAYS, **consts({"A": 2}, {"A": (0, 2)}, {"A": (-1, 2)},
     {"A": (2.5, 2)},
     {"A": "ab"}, {"A": None}, [("A", (2, 2))], {"A": (HUGE, HUGE)}, {"A": (3, 2)}, {"B": (2, 2)})},
)  # fmt: skip
EPOCHS = Kind(consts(1, 2, np.int64(2)), {**NO_NUMBER, **consts(0, -1, 2.5, "3", INF)})
SCHEDULE = Kind(
    consts(None, Plateau(every=1), Cosine(3)),
    {**without(STRANGE, "None"), **NUMBERS, **consts(Plateau, "cosine", torch.optim.SGD)},
)
DECAY = Kind(consts(0.0, 0.1, 1, 0), {**NO_NUMBER, **consts(-1.0, INF, "0.1", 10**400)},
             consts(1e30))  # fmt: skip
FREEZE = Kind(
    consts({}, {"x": 1}, (("p", 0),), (), {"lift": 2}),
    {**consts("x", 3, None, {"x": -1}, {"x": 0.5}, {"x": None}, {"nope": 1}, ["x"], [("x",)], NAN,
              {"x": NAN}, {1: 1}, (("x", 1), ("x", 2)), Thing(), {"": 1}), **ARRAYS},
)  # fmt: skip
UNIT = Kind(consts(0.5, 0.1), {**NO_NUMBER, **consts(0, 1, 2.0, -1, INF, "0.5", 10**400)})
SMALL = Kind(consts(0, 0.1, 1e-4), {**NO_NUMBER, **consts(1.5, -1, INF, "0.1", 10**400)})
LEAST_0 = Kind(consts(0, 1, 3, np.int64(2)), {**NO_NUMBER, **consts(-1, 2.5, "3", INF)},
               consts(HUGE))  # fmt: skip
LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "float": lambda m, b: 1.0,
    "None": lambda m, b: None,
    "matrix": lambda m, b: torch.zeros(2, 2),
    "detached": lambda m, b: torch.zeros(() if m.seeds is None else (len(m.seeds),)),
    "integers": lambda m, b: torch.ones(() if m.seeds is None else (len(m.seeds),)).long(),
    "nan": lambda m, b: m.penalty() * NAN,
}


class Points:
    """Fit data of the model's own width."""

    def __init__(self, loss: Any = None, batches: Any = None) -> None:
        self.own, self.given = loss, batches

    def batches(self, epoch: int) -> Any:
        return [torch.ones(4, 2) / 2] * 2 if self.given is None else self.given

    def loss(self, model: Any, batch: Any) -> Any:
        if self.own is not None:
            return self.own(model, batch)
        return (model(batch, [0, 1])[..., -1, :, :] ** 2).mean((-1, -2))

    def monitor(self, model: Any) -> Any:
        return self.loss(model, torch.ones(4, 2))


TASK = Kind(
    {"points": lambda c: Points()},
    {**STRANGE, **NUMBERS, **ARRAYS, "no batches": lambda c: Points(batches=[]),
     "number of batches": lambda c: Points(batches=3), "type": lambda c: Square,
     **{f"loss {k}": lambda c, f=f: Points(loss=f) for k, f in LOSSES.items()}},
)  # fmt: skip
CONFIG = Kind(
    {"one": lambda c: FitConfig(1), "plateau": lambda c: FitConfig(2, schedule=Plateau(every=1)),
     "decay": lambda c: FitConfig(1, weight_decay=0.1)},
    {**STRANGE, **NUMBERS, **ARRAYS, **consts(FitConfig), "unknown part": lambda c: FitConfig(
        1, freeze={"nope": 1})},
    {"large steps": lambda c: FitConfig(2, learning_rate=1e30)},
)  # fmt: skip
FITTED = Kind(
    {k: v for k, v in MODELS.items() if k != "ensemble"} | {"ensemble": MODELS["ensemble"]},
    {**STRANGE, **NUMBERS, **ARRAYS, "identity": lambda c: nn.Identity(), "frozen": lambda c:
     MODELS["StaticDirect"](c).requires_grad_(False), "field": lambda c: UpDown(2, 3)},
    {"poisoned": poisoned},
)  # fmt: skip


def metric_of(c: Context) -> Tensor:
    return torch.eye(2)


def constructed(kind: Any, *positional: str) -> Callable[..., object]:
    """Call a class with some arguments by position."""

    def make(**values: Any) -> object:
        first = [values.pop(name) for name in positional]
        return kind(*first, **values)

    return make


def solver(**values: Any) -> object:
    """A solver, and what it does: a setting that fails later must fail in a sentence."""
    return shoot(UpDown(2, 3), *(torch.ones(3, 8) / 9,) * 3, [0, 1], solver=Solver(**values))


def dense(model: Any, x: Any, times: Any, at: Any) -> object:
    return model.dense(x, times)(at)


def method(name: str, *positional: str) -> Callable[..., object]:
    """Call a method of a model that is right."""

    def call(model: Any, **values: Any) -> object:
        first = [values.pop(p) for p in positional]
        return getattr(model, name)(*first, **values)

    return call


OWN = Kind(MODELS, {}, MODEL.edge)  # of its own methods
DYNAMIC = Kind({k: MODELS[k] for k in ("DynamicParticles", "ensemble")}, {}, {
    k: MODEL.edge[k] for k in ("drift", "poisoned")})  # fmt: skip
COMMON: dict[str, Kind] = {"seeds": SEEDS, "seed": WHOLE, "lift": LIFT, "solver": SOLVER}
DEPTH = Kind({**POSITIVE.right, **consts(None)}, without(POSITIVE.wrong, "None"), POSITIVE.edge)
SCALE = DEPTH


def used(kind: Any, *positional: str) -> Callable[..., object]:
    """Build a model and call it once."""
    make = constructed(kind, *positional)

    def call(**values: Any) -> object:
        model: Any = make(**values)
        return model(torch.ones(2, *model._data.shape) / 2, [0.0, 0.1])

    return call


def drawn(x: Any, v: Any, p: Any) -> object:
    return DynamicParticles(UpDown(2, 3), 3, init=ParticleInit(x, v, p), seed=0)


def sampled(kind: Any) -> Callable[..., object]:
    return lambda number: kind(number)(generator(0), (2, 3))


def trained(**values: Any) -> object:
    return fit(DynamicParticles(UpDown(2, 3), 3, seed=0), Points(), FitConfig(**values))


def scheduled(kind: Any) -> Callable[..., object]:
    def call(**values: Any) -> object:
        return fit(StaticDirect(Affine(2), seed=0), Points(), FitConfig(2, schedule=kind(**values)))

    return call


def adam(learning_rate: Any, **values: Any) -> object:
    return Adam(nn.Linear(2, 2).named_parameters(), learning_rate=learning_rate, **values)


def pair(kind: Kind) -> Kind:
    return Kind(
        consts((0.9, 0.999), [0.5, 0.5]),
        {
            **STRANGE,
            **NUMBERS,
            **consts(
                (0.9,),
                (1.0, 0.5),
                (-0.1, 0.5),
                (NAN, 0.5),
                ("a", "b"),
                (None, 0.5),
                (0.1, 0.2, 0.3),
            ),
        },
    )


def along(function: Callable[..., object]) -> Callable[..., object]:
    """States as a path of one time, where they are tensors."""

    def call(field: Any, **states: Any) -> object:
        paths = [s[None] if isinstance(s, Tensor) and s.dim() else s for s in states.values()]
        return function(field, *paths)

    return call


def function_of(function: Any, reads: Any, name: Any) -> object:
    return Field({"x": 2, "v": 2}, [Term("A", "x", Function(function, reads, name))])


TARGETS: dict[str, Target] = {
    "Activated": Target(constructed(Activated), {"slot": SLOT, "sigma": SIGMA}, ("sigma",)),
    "Activation": Target(constructed(Activation), {
        "name": NAME, "value": Kind(consts(torch.sin), WORDS),
        "slope": Kind(consts(torch.cos), WORDS),
        "curvature": Kind(consts(torch.zeros_like), WORDS)}),
    "Affine": Target(constructed(Affine, "dim"), {"dim": count(2), "sigma": SIGMA, "weight": WEIGHT,
                     "bias_weight": WEIGHT}, ("sigma", "weight", "bias_weight")),
    "AutomaticField": Target(constructed(AutomaticField), {
        "function": FUNCTION, "slots": Kind(consts({"x": 2}), SLOTS.wrong), "controls": SHAPES,
        "weights": Kind(consts(None, {}, {"A": 2.0}), {**without(STRANGE, "None", "{}", "[]", "()",
                        "''"), **NUMBERS, **consts({"B": 1.0}, {"A": 0},
                        {"A": "a"}, {"A": None})})},
        ("weights",)),
    "Constant": Target(constructed(Constant), {"like": SLOT}),
    "ConvUpDown": Target(constructed(ConvUpDown, "channels", "inflation"), {
        "channels": count(1, 2), "inflation": count(1, 2), "sites": SITES,
        "kernel": Kind(consts(1, 3), {**NO_NUMBER, **consts(0, -1, 2, "3", 2.5, HUGE + 1)}),
        "padding": choice("zero", "periodic"), "sigma": SIGMA, "weight": POSITIVE},
        ("kernel", "padding", "sigma", "weight")),
    "Dense": Target(dense, {"model": OWN, "x": tensors(3), "times": TIMES, "at": Kind(
        {**consts(0.5, 0, [0.1, 0.2]), "0-d": lambda c: torch.tensor(0.5)},
        {**STRANGE, **consts(-1.0, 2.0, [3], "0.5", INF, [NAN]),
         "2-d": lambda c: torch.zeros(1, 1)})}),
    "paste": Target(paste, {"model": OWN, "x0": tensors(3), "horizon": Kind(
        consts(0.5, 2, 2.5), {**NO_NUMBER, **consts(-1.0, 0, INF, NAN)}),
        "times": Kind(consts([0.0, 1.0], (0, 0.5, 1)),
                      {**STRANGE, **consts([0.5, 1.0], [1.0, 0.0])}),
        "bound": Kind(consts(1e6, 10), {**NO_NUMBER, **consts(-1.0, 0, NAN)}),
        "axes": Kind(consts(None, 1), without(count().wrong, "None"))},
        ("times", "bound", "axes")),
    "Drift": Target(constructed(Drift), {"out": SLOT, "feature": NO_FEATURE, "factor": FREE},
                    ("factor",)),
    "DynamicDirect": Target(used(DynamicDirect, "field"), {
        "field": FIELD, "blocks": count(1, 5, huge=10**7), "depth": DEPTH, **COMMON},
        ("blocks", "depth", *COMMON)),
    "DynamicParticles": Target(used(DynamicParticles, "field", "particles"), {
        "field": FIELD, "particles": count(), "init": INIT, "momentum_scale": SCALE, **COMMON},
        ("init", "momentum_scale", *COMMON)),
    "Field": Target(constructed(Field, "slots", "terms"), {"slots": SLOTS, "terms": TERMS,
                    "drift": DRIFTS}, ("drift",)),
    "FitConfig": Target(trained, {"epochs": EPOCHS, "learning_rate": POSITIVE, "schedule": SCHEDULE,
                        "weight_decay": DECAY, "freeze": FREEZE},
                        ("learning_rate", "schedule", "weight_decay", "freeze")),
    "Function": Target(function_of, {
        "function": Kind({"sum": lambda c: lambda x: x.sum(-1, keepdim=True), "sin": lambda c:
                          torch.sin}, {**STRANGE, **NUMBERS, "none": lambda c: lambda x: None,
                          "no rows": lambda c: lambda x: x.sum(), "number": lambda c: lambda x: 1.0,
                          "two": lambda c: lambda x, y: x}),
        "reads": Kind(consts(("x",), ["v"]), {**without(STRANGE, "''"), **NUMBERS, **consts("nope",
                      ("nope",), (1,))}, consts("x", "")), "name": NAME}),
    "Identity": Target(constructed(Identity), {"slot": SLOT}),
    "Metric": Target(lambda number: Metric(number), {"number": POSITIVE}),
    "MatrixMetric": Target(lambda matrix: MatrixMetric(matrix), {"matrix": Kind(
        {"eye": metric_of}, without(WEIGHT.wrong, "0", "-1.0"), {"5": lambda c: torch.eye(5)})}),
    "ParticleInit": Target(drawn, {"x": SAMPLER, "v": SAMPLER, "p": SAMPLER}),
    "Patches": Target(constructed(Patches), {"slot": SLOT, "kernel": Kind(
        consts(1, 3), {**NO_NUMBER, **consts(0, -1, 2, "3", 2.5)}), "sigma": MAYBE_SIGMA,
        "padding": choice("zero", "periodic")}, ("kernel", "sigma", "padding")),
    "SecondOrder": Target(constructed(SecondOrder, "dim"), {"dim": count(), "sigma": SIGMA,
                          "weight": POSITIVE}, ("sigma", "weight")),
    "Slot": Target(constructed(Slot), {"width": count(), "sites": PLAIN_SITES}, ("sites",)),
    "Solver": Target(solver, {
        "method": Kind(consts("rk4", "euler", "midpoint", "dopri5"), WORDS), "step": Kind(
            {**POSITIVE.right, **consts("auto")}, without(POSITIVE.wrong, "'a'"), consts(
                1e-320, 1e-12, 1e300)),
        "form": choice("auto", "theta", "kernel"), "route": choice("auto", "native", "adjoint",
                                                                 "autograd", "torchdiffeq"),
        "rtol": DECAY, "atol": DECAY, "tolerance": UNIT},
        ("method", "step", "form", "route", "rtol", "atol", "tolerance")),
    "StaticDirect": Target(used(StaticDirect, "field"), {"field": FIELD, **COMMON}, tuple(COMMON)),
    "StaticParticles": Target(used(StaticParticles, "field", "particles"), {
        "field": FIELD, "particles": count(), "init": INIT, "momentum_scale": SCALE, **COMMON},
        ("init", "momentum_scale", *COMMON)),
    "Term": Target(constructed(Term), {"name": NAME, "out": SLOT, "feature": FEATURE,
                   "weight": WEIGHT}, ("feature", "weight")),
    "UpDown": Target(constructed(UpDown, "dim", "inflation"), {
        "dim": count(1, 2), "inflation": count(), "sigma": SIGMA, "theta3_weight": POSITIVE,
        "weight": POSITIVE}, ("sigma", "theta3_weight", "weight")),
    "carry": Target(constructed(carry, "field", "theta", "z", "times"), {
        "field": FIELD, "theta": CONTROLS, "z": tensors(5), "times": TIMES, "span": SPAN,
        "solver": SOLVER}, ("span", "solver")),
    "complexity": Target(complexity, {"model": MODEL, "times": TIMES}),
    "fit": Target(constructed(fit, "model", "task", "config"), {
        "model": FITTED, "task": TASK, "config": CONFIG,
        "label": Kind(consts("a"), {}, consts(None, 3)),
        "checkpoint": Kind(consts(None), {**without(STRANGE, "None"), **NUMBERS})},
        ("label", "checkpoint")),
    "normal": Target(sampled(normal), {"number": Kind(
        {**POSITIVE.right, **consts(0)}, without(POSITIVE.wrong, "0", "-1.0"), {
            **consts(-1.0), **POSITIVE.edge})}),
    "uniform": Target(sampled(uniform), {"number": Kind(
        {**POSITIVE.right, **consts(0)}, without(POSITIVE.wrong, "0", "-1.0"), {
            **consts(-1.0), **POSITIVE.edge})}),
    "shoot": Target(constructed(shoot, "field", "q", "p", "z", "times"), {
        "field": FIELD, "q": tensors(3), "p": tensors(3), "z": tensors(5), "times": TIMES,
        "solver": SOLVER}, ("solver",)),
    # methods of the four models, and what else a user meets
    "model()": Target(lambda model, x, times: model(x, times), {
        "model": OWN, "x": tensors(5), "times": TIMES}),
    "flow": Target(lambda model, z, times: model.flow(z, times), {"model": OWN, "z": Kind(
        {"z": lambda c: torch.ones(2, c["model"].space.size) / 9}, tensors(2).wrong,
        tensors(2).edge), "times": TIMES}),
    "theta": Target(method("theta", "times"), {"model": OWN, "times": TIMES}),
    "penalty": Target(method("penalty", "times"), {"model": DYNAMIC, "times": Kind(
        TIMES.right, without(TIMES.wrong, "None"), TIMES.edge)}),
    "particle_path": Target(method("particle_path", "times"), {"model": DYNAMIC, "times": TIMES}),
    "energy_drift": Target(method("energy_drift", "times"), {"model": DYNAMIC, "times": TIMES}),
    "to_layers": Target(method("to_layers", "count"), {
        "model": OWN, "count": count(1, 3), "at": choice("left", "midpoint"), "depth": DEPTH},
        ("at", "depth")),
    "Adam": Target(adam, {"learning_rate": POSITIVE, "weight_decay": DECAY, "eps": POSITIVE,
                   "betas": pair(UNIT)}, ("weight_decay", "eps", "betas")),
    "Plateau": Target(scheduled(Plateau), {"factor": UNIT, "patience": LEAST_0, "every": EPOCHS,
                      "threshold": SMALL, "min_change": DECAY},
                      ("factor", "patience", "every", "threshold", "min_change")),
    "Cosine": Target(scheduled(Cosine), {"epochs": EPOCHS, "floor": DECAY, "every": LEAST_0},
                     ("floor", "every")),
    "StateSpace": Target(lambda slots: StateSpace(slots), {"slots": SLOTS}),
    "make_grid": Target(lambda times, **more: make_grid(times, **more), {
        "times": TIMES, "step": POSITIVE, "blocks": count(1, huge=10**7), "span": SPAN},
        ("blocks", "span")),
    "diagnose": Target(diagnose, {"model": MODEL, "x": tensors(3), "times": TIMES}),
    "drift": Target(along(drift), {"field": FIELD, "q": tensors(3), "p": tensors(3)}),
    "step_for": Target(step_for, {"step": POSITIVE, "wanted": POSITIVE,
        "error": Kind(consts(0.5, 2.0), {}, consts(NAN, INF, 0, -1)),
                       "order": EPOCHS}),
}  # fmt: skip
