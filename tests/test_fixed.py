"""Nothing stale: every attribute that a user can reach refuses a change, or has its right effect.

The walk below sets and deletes each attribute of each public class, and of all that can be reached
from there; what may change is listed in `MAY_CHANGE`, each with a test of its effect.
"""

from __future__ import annotations

import copy
import pathlib
import pickle
import re
from collections import defaultdict
from collections.abc import Iterator

import pytest
import torch
from problems import EXACT, draw, gap, refused, spd
from torch import nn

import shooting
from shooting import (
    Activated,
    Affine,
    AutomaticField,
    Constant,
    ConvUpDown,
    Drift,
    DynamicDirect,
    DynamicParticles,
    Field,
    Function,
    Identity,
    Metric,
    ParticleInit,
    Pasted,
    Patches,
    Path,
    SecondOrder,
    Slot,
    Solver,
    StaticDirect,
    StaticParticles,
    Term,
    UpDown,
    carry,
    shoot,
)
from shooting.activations import ACTIVATIONS, Activation
from shooting.fit import FitConfig, FitResult
from shooting.fixed import FixedDict
from shooting.kicks import Kicks
from shooting.lift import Lift
from shooting.metrics import MatrixMetric
from shooting.optim import Cosine, Plateau
from shooting.solvers import TABLEAUS, make_grid
from shooting.spaces import StateSpace

pytestmark = pytest.mark.usefixtures("float64")

TIMES = [0.0, 0.5, 1.0]


def affine(z, theta):
    return {"x": z["x"] @ theta["A"].T}


def square(x):
    return x**2


def field() -> Field:
    """Something of everything: a matrix, a function, a drift, an activation."""
    terms = [
        Term("A", "x", Activated("v", "tanh"), spd(0, 2)),
        Term("B", "v", Function(square, reads=("x",)), 3.0),
        Term("c", "v"),
    ]
    return Field({"x": 2, "v": 2}, terms, drift=[Drift("x", "v", 0.5)])


BUILT = {
    "Activated": lambda: Activated("v", "tanh"),
    "Affine": lambda: Affine(2, weight=spd(0, 2)),
    "AutomaticField": lambda: AutomaticField(affine, {"x": 2}, {"A": (2, 2)}),
    "Constant": Constant,
    "ConvUpDown": lambda: ConvUpDown(1, 1, sites=(3, 3)),
    "Dense": torch.no_grad()(
        lambda: StaticDirect(UpDown(2, 2), seed=0).dense(torch.zeros(3, 2), [0, 1])
    ),
    "Drift": lambda: Drift("x", "v", 2.0),
    "DynamicDirect": lambda: DynamicDirect(UpDown(2, 2), blocks=2, depth=1.0, seeds=[0, 1]),
    "DynamicParticles": lambda: DynamicParticles(UpDown(2, 2, sigma="tanh"), 3, seeds=[0, 1]),
    "Field": field,
    "Function": lambda: Function(square, reads=("x",)),
    "Identity": lambda: Identity("x"),
    "Metric": lambda: Metric(2.0),
    "ParticleInit": ParticleInit,
    "Pasted": lambda: Pasted(*torch.zeros(3, 2)),
    "Patches": lambda: Patches("x", 3, "relu"),
    "Path": lambda: Path(*torch.zeros(3, 1)),
    "SecondOrder": lambda: SecondOrder(2),
    "Slot": lambda: Slot(2, (3, 3)),
    "Solver": Solver,
    "StaticDirect": lambda: StaticDirect(UpDown(2, 2), seed=0),
    "StaticParticles": lambda: StaticParticles(UpDown(2, 2), 3, seed=0),
    "Term": lambda: Term("A", "x", "x", spd(0, 2)),
    "UpDown": lambda: UpDown(2, 2),
    # not among the public names, but reached from them or given to them
    "Activation": lambda: ACTIVATIONS["tanh"],
    "Cosine": lambda: Cosine(10),
    "FitResult": lambda: FitResult(*torch.zeros(3, 1)),
    "FitConfig": lambda: FitConfig(5, freeze={"x": 2}, schedule=Plateau()),
    "Kicks": lambda: Kicks((0.5,), torch.zeros(1, 3, 2)),
    "Lift": lambda: Lift(UpDown(2, 2)),
    "Grid": lambda: make_grid(TIMES, step=0.1),
    "MatrixMetric": lambda: MatrixMetric(spd(0, 2)),
    "Plateau": Plateau,
    "StateSpace": lambda: StateSpace({"x": 2}),
    "Tableau": lambda: TABLEAUS["rk4"],
}
# an error; bases of others
WITHOUT_STATE = {"NonFiniteError", "VectorField", "Feature", "Parametrization"}
MAY_CHANGE = {"solver", "training"}  # of a model, beside its parameters
FOREIGN = (nn.Module, dict, tuple, object)  # attributes that PyTorch or Python has made


def attributes(owner: object) -> list[str]:
    """Public names of an instance's values, properties and class values; all that are its own."""
    foreign = {name for kind in FOREIGN if isinstance(owner, kind) for name in dir(kind)}
    foreign |= set(vars(nn.Module())) if isinstance(owner, nn.Module) else set()
    own = set(getattr(owner, "__dict__", {})) | {
        name
        for kind in type(owner).__mro__
        for name, value in dict(vars(kind)).items()
        if name in vars(kind).get("__annotations__", {}) or not callable(value)
    }
    if isinstance(owner, tuple):
        own, foreign = set(owner._fields), set()
    public = {name for name in own if not name.startswith("_")}
    hidden = set() if isinstance(owner, nn.Module) else set(getattr(owner, "__dict__", {}))
    return sorted((public | hidden) - foreign)


def reached(owner: object, seen: dict[int, object]) -> Iterator[object]:
    """An object of the library, and all of them that its values hold."""
    if id(owner) in seen:
        return
    seen[id(owner)] = owner
    if isinstance(owner, dict | tuple | list | set):
        assert not isinstance(owner, list | set), f"{owner!r} can be changed"
        assert isinstance(owner, FixedDict) or not isinstance(owner, dict), f"{owner!r}"
        for value in owner.values() if isinstance(owner, dict) else owner:
            yield from reached(value, seen)
    if type(owner).__module__.startswith("shooting"):
        yield owner
        for name in attributes(owner):
            yield from reached(getattr(owner, name, None), seen)


def outcome(owner: object, name: str) -> str:
    """What becomes of a change: ``refused``, or ``changed``."""
    before = getattr(owner, name, None)
    for change in (lambda: setattr(owner, name, object()), lambda: delattr(owner, name)):
        try:
            change()
        except (AttributeError, TypeError) as error:
            told = str(error)
        else:
            return "changed"
        # one of ours, or Python's own of a frozen dataclass, a property or a named tuple
        assert re.match(r"expected |cannot assign|cannot delete|property|can't ", told), told
    assert getattr(owner, name, None) is before or not isinstance(before, FixedDict)
    return "refused"


def tried() -> dict[str, dict[str, list[str]]]:
    """Public attributes of each class by what becomes of a change of theirs."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for build in BUILT.values():
        for owner in list(reached(build(), {})):
            for name in attributes(owner):
                may = isinstance(owner, nn.Module) and name in MAY_CHANGE
                what = "right" if may else outcome(owner, name)
                found[type(owner).__name__][what].add(name)
    return {
        kind: {what: sorted(n for n in names if n[0] != "_") for what, names in by.items()}
        for kind, by in sorted(found.items())
    }


def test_the_walk_has_every_public_class():
    classes = {n for n in shooting.__all__ if isinstance(getattr(shooting, n), type)}
    assert classes <= set(BUILT) | WITHOUT_STATE


def test_no_attribute_can_be_changed_without_its_right_effect():
    found = tried()
    assert {kind: by["changed"] for kind, by in found.items() if "changed" in by} == {}
    assert {"terms", "slots", "spaces", "shapes", "columns", "size"} <= set(
        found["Field"]["refused"]
    )
    assert {"field", "momentum_scale", "particles", "seeds", "space"} <= set(
        found["DynamicParticles"]["refused"]
    )
    assert found["DynamicParticles"]["right"] == ["solver"]
    assert "count" in found["Slot"]["refused"]


def test_control_the_walk_finds_what_can_be_changed():
    class Loose(Metric):
        def __init__(self):
            self.note = 1

    Loose.__module__ = "shooting.loose"
    assert outcome(Loose(), "note") == "changed"
    with pytest.raises(AssertionError, match="can be changed"):
        list(reached(([1],), {}))


BEGIN, END = "<!-- attributes -->", "<!-- end of attributes -->"


def page_rows() -> list[str]:
    """The table of the page of checklists, as it should be."""
    return [
        "",  # a comment ends a table
        "| class | a change is refused | a change has its effect |",
        "|---|---|---|",
        *_rows(),
        "",
    ]


def _rows() -> list[str]:
    return [
        f"| {kind} | {', '.join(f'`{n}`' for n in by.get('refused', []))} | "
        f"{', '.join(f'`{n}`' for n in by.get('right', []))} |"
        for kind, by in tried().items()
    ]


def test_the_page_lists_what_was_tried(root):
    page = root / "book" / "checklists.md"
    if not page.exists():
        pytest.skip("the book is not beside the package")
    text = page.read_text(encoding="utf-8")
    found = text.partition(f"{BEGIN}\n")[2].partition(END)[0]
    assert found.splitlines() == page_rows(), "python tests/test_fixed.py writes the table anew"


def write_page() -> None:
    """Put the table on the page."""
    page = pathlib.Path(__file__).parents[1] / "book" / "checklists.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(f"{BEGIN}\n")
    rows = "\n".join([BEGIN, *page_rows(), END])
    page.write_text(before + rows + rest.partition(END)[2], encoding="utf-8")


# --- what may change has its right effect ------------------------------------------------------


MODELS = ("DynamicDirect", "DynamicParticles", "StaticDirect", "StaticParticles")


@pytest.mark.parametrize("name", MODELS)
def test_another_solver_is_used_at_once(name):
    model, x = BUILT[name](), draw(0, 3, 2)
    before = model(x, TIMES)
    model.solver = Solver("euler", 0.25)
    other = BUILT[name]()
    other.load_state_dict(model.state_dict())
    other.solver = Solver("euler", 0.25)
    assert torch.equal(model(x, TIMES), other(x, TIMES))
    assert gap(model(x, TIMES), before) > 1e-6  # control: another solver is another path


@pytest.mark.parametrize("route", ["auto", "autograd"])
@pytest.mark.parametrize("name", MODELS)
def test_a_parameter_is_used_at_once_however_it_was_changed(name, route):
    model, x = BUILT[name](), draw(0, 3, 2)
    model.solver = Solver(route=route)
    for key, w in list(model.named_parameters()):
        before = model(x, TIMES), model.penalty()
        with torch.no_grad():
            w.mul_(1.5)
        owner, _, last = key.rpartition(".")
        replaced = nn.Parameter(w.detach() + 0.1)
        setattr(model.get_submodule(owner), last, replaced)
        other = BUILT[name]()
        other.load_state_dict(copy.deepcopy(model.state_dict()))
        other.solver = model.solver
        assert torch.equal(model(x, TIMES), other(x, TIMES))
        assert torch.equal(model.penalty(), other.penalty())
        moved = gap(model(x, TIMES), before[0]), gap(model.penalty(), before[1])
        assert max(moved) > 1e-6  # control: it matters


def test_a_matrix_changed_after_building_leaves_penalty_and_energy_equal():
    """The values of the finding, a doubled W: the penalty was .0104, the energy .0060."""
    weight = 2 * torch.eye(2)
    torch.manual_seed(0)
    field = Affine(2, sigma="tanh", weight=weight)
    model = DynamicParticles(field, particles=4, seed=0)
    before = model.penalty().item()
    weight.mul_(2)
    start = model.start()
    assert gap(field.penalty(field.theta(*start)), field.energy(*start)) <= EXACT
    assert model.penalty().item() == before
    with torch.no_grad():  # the same particles under the doubled matrix: the control
        other = Affine(2, sigma="tanh", weight=weight)
        assert abs(other.energy(*start).item() - before) > 1e-6


@pytest.mark.parametrize("route", ["autograd", "adjoint", "auto"])
def test_what_a_feature_reads_may_change(route):
    """A function with a closure, and an activation with one: computed anew at each solve."""
    scale = torch.tensor(1.0)

    def bent(x):
        return torch.tanh(scale * x)

    curved = Activation(
        "bent",
        bent,
        lambda v: scale * (1 - bent(v) ** 2),
        lambda v: -2 * scale**2 * bent(v) * (1 - bent(v) ** 2),
    )
    for feature in (Function(bent, reads=("x",)), Activated("x", curved)):
        one = Field({"x": 2}, [Term("A", "x", feature), Term("b", "x")])
        q, p = draw(1, 3, 2), draw(2, 3, 2)
        solver = Solver(route=route)
        scale.fill_(1.0)
        before = shoot(one, q, p, q, TIMES, solver=solver).z
        scale.fill_(2.0)
        after = shoot(one, q, p, q, TIMES, solver=solver).z
        fresh = Field({"x": 2}, [Term("A", "x", feature), Term("b", "x")])
        assert torch.equal(after, shoot(fresh, q, p, q, TIMES, solver=solver).z)
        assert gap(after, before) > 1e-3  # control: it matters
        theta = {k: v.unsqueeze(0) for k, v in one.theta(q, p).items()}
        by_hand = carry(one, theta, q, TIMES, solver=Solver(route="autograd"))
        # two routes of one solve differ by the rounding of a few hundred products
        assert gap(carry(one, theta, q, TIMES, solver=solver), by_hand) <= EXACT


def test_an_automatic_field_knows_its_drift_of_now():
    """A drift that appears after building: H is not the mean of R any more, and penalty asks."""
    push = torch.zeros(2)
    field = AutomaticField(lambda z, t: {"x": z["x"] @ t["A"].T + push}, {"x": 2}, {"A": (2, 2)})
    model = DynamicParticles(field, particles=3, seed=0)
    model.penalty()
    assert not field.drift
    push += 1
    assert field.drift
    with refused("drift", "penalty(times)"):
        model.penalty()


def test_an_automatic_field_that_was_moved_to_another_type_is_looked_at_there():
    layer = nn.Linear(2, 2)
    field = AutomaticField(lambda z, t: {"x": layer(z["x"]) * t["a"]}, {"x": 2}, {"a": (2,)})
    assert not field.drift
    for dtype in (torch.float32, torch.bfloat16):
        layer.to(dtype)
        assert not field.drift
    layer.to("meta")
    with refused("any floating type on"):
        field.drift  # noqa: B018


# --- copies --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*sorted(BUILT)])
def test_copies_are_equal_and_as_fixed(name):
    original = BUILT[name]()
    copies = [copy.deepcopy(original)]
    if name != "ParticleInit":  # its samplers are closures, which Python does not pickle
        copies.append(pickle.loads(pickle.dumps(original)))
    for one in copies:
        assert type(one) is type(original)
        assert str(one).split(" at 0x")[0] == str(original).split(" at 0x")[0]
        for attribute in set(attributes(original)) - MAY_CHANGE:
            if isinstance(one, nn.Module) and attribute in dict(one.named_parameters()):
                continue
            assert outcome(one, attribute) == "refused"


def test_a_copied_model_computes_the_same_in_any_type():
    model, x = BUILT["DynamicParticles"](), draw(0, 3, 2)
    again = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    assert torch.equal(again(x, TIMES), model(x, TIMES))
    assert again.float()(x.float(), TIMES).dtype == torch.float32
    back = again.double()(x, TIMES)
    assert gap(back, model(x, TIMES)) <= 1e-5  # parameters were rounded to float32


def test_a_fixed_dictionary_reads_as_any_and_refuses_every_change():
    d = FixedDict({"x": 1, "v": 2})
    assert d == {"x": 1, "v": 2}
    assert copy.deepcopy(d) == pickle.loads(pickle.dumps(d)) == d
    changes = [
        lambda: d.__setitem__("x", 2),
        lambda: d.__delitem__("x"),
        lambda: d.__ior__({"x": 2}),
        d.clear,
        lambda: d.pop("x"),
        d.popitem,
        lambda: d.setdefault("y", 1),
        lambda: d.update(x=2),
    ]
    for change in changes:
        with refused("['x', 'v']", error=TypeError):
            change()
    assert {**d, "x": 3}["x"] == 3  # control: a copy may change
    assert d["x"] == 1


def test_the_names_of_a_dictionary_that_change_it_are_all_refused():
    """Whatever a later Python adds: no method of dict leaves a fixed one changed."""
    for name in set(dir(dict)) - {"__init__", "__class__", "__init_subclass__"}:
        d = FixedDict({"x": 1})
        method = getattr(d, name)
        for given in ((), ("x",), ("x", 2), ({"x": 2},)):
            try:
                method(*given) if callable(method) else None
            except (TypeError, AttributeError, ValueError, KeyError):
                continue
        assert d == {"x": 1}, name


def test_a_refusal_is_one_sentence():
    with refused("'terms'", "Field", error=AttributeError):
        del field().terms
    with refused("'number'", error=AttributeError):
        Metric(1.0).number = 2  # type: ignore[misc]
    model = BUILT["DynamicParticles"]()
    with refused("'momentum_scale'", "DynamicParticles", error=AttributeError):
        model.momentum_scale = 2.0
    assert re.search(r"DynamicParticles\(", str(model))


if __name__ == "__main__":
    write_page()
