r"""Vector fields that are linear in their controls: a list of terms.

A field is f(z, theta) = sum_b E_out(b) theta_b phi_b(z) with penalty
R(theta) = 1/2 sum_b <theta_b, M_b theta_b>, and perhaps a drift without control. A `Term` names the
output slot, the feature phi_b and the metric M_b; everything else (controls, kernel, energy,
costates) follows from the list.

Shapes: a state z has shape ``(*runs, n, S)``, its slots packed in order (for UpDown ``[x | v]``).
A control theta_b has shape ``(*runs, out, F)`` with F the width of phi_b; a bias has width 1. At
an image slot a sample counts once per site, with the same weights: rows are samples times sites.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor

from shooting.errors import require_part, require_real, require_tensor, require_text, shown
from shooting.features import Constant, Feature, Identity, Parts
from shooting.fixed import FixedDict
from shooting.metrics import Metric, metric
from shooting.spaces import Slot, StateSpace

T = TypeVar("T")
Weight = float | Tensor | Metric
Control = dict[str, Tensor]


@dataclass(frozen=True)
class Term:
    r"""One summand $E_\mathrm{out}\,\theta_b\,\varphi_b(z)$ of a vector field.

    Example:
        >>> term = Term("theta1", out="x", feature=Activated("v", "relu"))

    Attributes:
        name: Name of the control $\theta_b$, e.g. ``"theta1"``.
        out: Slot whose velocity the term feeds.
        feature: The feature $\varphi_b$; a slot's name stands for the slot itself, None for the
            constant 1 (a bias).
        weight: Metric M_b: a positive number, or a symmetric positive definite matrix
            ``(out, out)`` (M_A and M_b of Eqs. 3.5-3.6). It is kept as a `Metric`.
    """

    name: str
    out: str
    feature: Feature | str | None = None
    weight: Weight = 1.0

    def __post_init__(self) -> None:
        require_text(self.name, "the name of a term", example="theta1")
        require_part(self.name, "the name of a term")
        require_text(self.out, "the slot that a term feeds")
        try:
            object.__setattr__(self, "weight", metric(self.weight))
        except ValueError as error:
            named = str(error).replace("a weight", f"a weight of {self.name!r}", 1)
            raise ValueError(named) from None
        object.__setattr__(self, "feature", _feature(self.feature, f"term {self.name!r}"))

    @property
    def metric(self) -> Metric:
        """The metric M_b of the control."""
        return cast(Metric, self.weight)

    @property
    def phi(self) -> Feature:
        """The feature."""
        return cast(Feature, self.feature)

    @property
    def is_bias(self) -> bool:
        """Whether the feature reads nothing."""
        return not self.phi.reads

    def __str__(self) -> str:
        return f"{self.out} ← {self.feature}/{self.weight}"


@dataclass(frozen=True)
class Drift:
    r"""A summand $c\,\varphi(z)$ without control, as in $\dot x = v$.

    Example:
        >>> drift = Drift("x", "v")

    Attributes:
        out: Slot whose velocity it feeds; the feature must have the slot's width.
        feature: The feature; a slot's name stands for the slot itself.
        factor: The number c; it is not learned.
    """

    out: str
    feature: Feature | str
    factor: float = 1.0

    def __post_init__(self) -> None:
        require_text(self.out, "the slot that a drift feeds")
        if self.feature is None:
            raise ValueError("expected a drift with a feature, got None; try Drift('x', 'v')")
        object.__setattr__(self, "feature", _feature(self.feature, "a drift"))
        # a float: a tensor could be changed later
        object.__setattr__(self, "factor", require_real(self.factor, "the factor of a drift"))

    @property
    def phi(self) -> Feature:
        """The feature."""
        return cast(Feature, self.feature)

    def __str__(self) -> str:
        return f"{self.out} ← {self.feature}·{self.factor:g} (drift)"


class VectorField(StateSpace):
    r"""What a solve asks of a vector field that is linear in its controls.

    Attributes:
        forms: The forms of the shooting system it knows: ``theta``, and perhaps ``kernel``.
        shapes: Shape ``(out, F)`` of each control $\theta_b$.
        drift: Whether it moves without control: R then varies over depth.
    """

    forms: tuple[str, ...] = ("theta",)
    shapes: dict[str, tuple[int, int]]
    drift: object

    @abstractmethod
    def theta(self, q: Tensor, p: Tensor) -> Control:
        """The maximising controls (3.3), each ``(*runs, out, F)``."""

    @abstractmethod
    def velocity(self, z: Tensor, theta: Control) -> Tensor:
        """f(z, theta), shape of z."""

    @abstractmethod
    def pull_back(self, z: Tensor, p: Tensor, theta: Control) -> Tensor:
        r"""$(\mathrm{d}_z f)^\top p$ for each row."""

    @abstractmethod
    def penalty(self, theta: Control) -> Tensor:
        r"""$R(\theta)$, shape ``(*runs)``."""

    @abstractmethod
    def energy(self, q: Tensor, p: Tensor) -> Tensor:
        """H(q, p), the controls maximised out, shape ``(*runs)``."""

    @abstractmethod
    def fan_in(self, name: str) -> int:
        """Number of inputs of each output of a control; of a bias, those of its output's term."""

    @abstractmethod
    def is_bias(self, name: str) -> bool:
        """Whether a control is a bias, left out of the published complexity."""

    def rates(self, form: str, q: Tensor, p: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The shooting system (3.4) with data riding along: q', p' and z'.

        Args:
            form: ``theta`` or ``kernel``.
            q: Particle states ``(*runs, K, S)``.
            p: Particle costates ``(*runs, K, S)``.
            z: Data states ``(*runs, n, S)``.
        """
        theta = self.theta(q, p)
        return self.velocity(q, theta), -self.pull_back(q, p, theta), self.velocity(z, theta)


class Field(VectorField):
    """A vector field given by its slots, its terms and its drift. It never changes.

    Example:
        >>> field = Field({"x": 2}, [Term("A", "x", Activated("x", "tanh")), Term("b", "x")])

    Args:
        slots: Width of each slot in packing order, e.g. ``{"x": d, "v": alpha * d}``, or a `Slot`
            for an image.
        terms: The terms; names must be distinct.
        drift: Summands without control.

    Attributes:
        terms: The terms.
        drift: The summands without control.
        columns: The distinct features and their widths, by key, in the order of the terms.

    Raises:
        ValueError: If a term names an unknown slot, a name repeats, a feature's sites are not those
            of its output, a pull-back has another shape than the slot, or a metric does not fit.
    """

    forms = ("theta", "kernel")
    drift: tuple[Drift, ...]

    def __init__(
        self,
        slots: Mapping[str, int | Slot],
        terms: Sequence[Term],
        *,
        drift: Sequence[Drift] = (),
    ) -> None:
        super().__init__(slots)
        self.terms = _listed(terms, Term, "[Term('A', 'x', 'x')]")
        self.drift = _listed(drift, Drift, "[Drift('x', 'v')]")
        _check_names(self, self.terms, self.drift)
        self._phi = tuple(self._resolved(t) for t in self.terms)
        probe = self.split(torch.zeros(1, self.size, device="cpu"))
        widths = (_probed(self, t, f, probe) for t, f in zip(self.terms, self._phi, strict=True))
        self.shapes = FixedDict(
            {t.name: (self.spaces[t.out].width, n) for t, n in zip(self.terms, widths, strict=True)}
        )
        for d in self.drift:
            if (width := _probed(self, d, d.phi, probe)) != self.spaces[d.out].width:
                raise ValueError(
                    f"expected a drift of width {self.spaces[d.out].width} for slot {d.out!r}, got "
                    f"{d.feature} of width {width}; a drift has no control that could change it"
                )
        self.columns = FixedDict(self._distinct())
        self._frozen = True

    def _resolved(self, term: Term) -> Feature:
        """The feature of a term; all constants with the same sites are one."""
        if type(term.phi) is not Constant:
            return term.phi
        sites = self.spaces[term.out].sites
        return Constant(next(name for name, s in self.spaces.items() if s.sites == sites))

    def __repr__(self) -> str:
        terms = ", ".join(map(str, (*self.terms, *self.drift)))
        return f"{type(self).__name__}({terms}; S = {self.size})"

    # --- features --------------------------------------------------------------------------

    def _distinct(self) -> dict[Hashable, tuple[Feature, int]]:
        found: dict[Hashable, tuple[Feature, int]] = {}
        for t, phi in zip(self.terms, self._phi, strict=True):
            found.setdefault(phi.key, (phi, self.shapes[t.name][1]))
        return found

    @property
    def plain(self) -> bool:
        """Whether all slots are vectors, without sites."""
        return not any(slot.sites for slot in self.spaces.values())

    def readers(self, out: str, key: Hashable) -> list[str]:
        """Names of the controls that feed a slot with the feature of a key."""
        pairs = zip(self.terms, self._phi, strict=True)
        return [t.name for t, phi in pairs if t.out == out and phi.key == key]

    def features(self, z: Tensor) -> list[Tensor]:
        r"""$\varphi_b(z)$ of each term, one row per sample and site: ``(..., rows, F)``."""
        return self._features(self.split(z))

    def _features(self, parts: Parts) -> list[Tensor]:
        known: dict[object, Tensor] = {}
        for t, phi in zip(self.terms, self._phi, strict=True):
            if phi.key not in known:
                known[phi.key] = self.spaces[t.out].rows(phi.value(parts))
        return [known[phi.key] for phi in self._phi]

    def _by_rows(self, parts: Parts) -> dict[str, Tensor]:
        return {name: self.spaces[name].rows(part) for name, part in parts.items()}

    def _joined(self, rows: Mapping[str, Tensor]) -> Tensor:
        return self.pack({name: self.spaces[name].unrows(r) for name, r in rows.items()})

    # --- theta-form ------------------------------------------------------------------------

    def theta(self, q: Tensor, p: Tensor) -> Control:
        r"""(3.3): $\theta_b = M_b^{-1} \sum_j p_{j,\mathrm{out}}\,\varphi_b(q_j)^\top$.

        Args:
            q: Particle states ``(*runs, K, S)``.
            p: Particle costates ``(*runs, K, S)``.

        Returns:
            The maximiser $\theta$ of $\sum_j p_j\cdot f(q_j, \theta) - R(\theta)$, by name.
        """
        costate = self._by_rows(self.split(p))
        return {
            t.name: t.metric.solve(costate[t.out].transpose(-1, -2) @ phi)
            for t, phi in zip(self.terms, self.features(q), strict=True)
        }

    def velocity(self, z: Tensor, theta: Control) -> Tensor:
        r"""The field $f(z,\theta) = \sum_b E_\mathrm{out}\theta_b\varphi_b(z)$, shape of z."""
        parts = self.split(z)
        out = {name: torch.zeros_like(r) for name, r in self._by_rows(parts).items()}
        for t, phi in zip(self.terms, self._features(parts), strict=True):
            out[t.out] = out[t.out] + phi @ theta[t.name].transpose(-1, -2)
        return self._joined(self._drifted(out, parts))

    def pull_back(self, z: Tensor, p: Tensor, theta: Control) -> Tensor:
        r"""$(\mathrm{d}_z f)^\top p$ for each row, from the features' pull-backs (3.3)."""
        parts, costate = self.split(z), self._by_rows(self.split(p))
        out = {name: torch.zeros_like(s) for name, s in parts.items()}
        for t, phi in zip(self.terms, self._phi, strict=True):
            if phi.reads:
                self._pull(out, phi, parts, t.out, costate[t.out] @ theta[t.name])
        return self.pack(self._drift_pulled(out, parts, costate))

    def penalty(self, theta: Control) -> Tensor:
        r"""$R(\theta) = \tfrac12\sum_b \langle\theta_b, M_b\theta_b\rangle$, shape ``(*runs)``."""
        return 0.5 * torch.stack([t.metric.square(theta[t.name]) for t in self.terms]).sum(0)

    # --- kernel (Gram) form ----------------------------------------------------------------

    def kernel_velocity(self, z: Tensor, q: Tensor, p: Tensor) -> Tensor:
        r"""$f(z) = \sum_j K(z, q_j)\,p_j$ without theta (Remark 4), shape of z.

        Args:
            z: States to move ``(*runs, n, S)``.
            q: Particle states ``(*runs, K, S)``.
            p: Particle costates ``(*runs, K, S)``.
        """
        parts = self.split(z)
        return self._joined(self._drifted(self._kernel_rows(parts, q, p), parts))

    def kernel_pull_back(self, q: Tensor, p: Tensor) -> Tensor:
        r"""$(\mathrm{d}_q f)^\top p$ at the particles, without theta (Remark 4)."""
        parts, costate = self.split(q), self._by_rows(self.split(p))
        out = {name: torch.zeros_like(s) for name, s in parts.items()}
        for t, phi, rows in zip(self.terms, self._phi, self._features(parts), strict=True):
            if phi.reads:
                push = costate[t.out]
                back = _gram(push, t.metric.solve_rows(push)) @ rows
                self._pull(out, phi, parts, t.out, back)
        return self.pack(self._drift_pulled(out, parts, costate))

    def energy(self, q: Tensor, p: Tensor) -> Tensor:
        r"""The Hamiltonian, shape ``(*runs)``.

        $$H = \tfrac12 \sum_{j,k} p_j\cdot K(q_j, q_k)\,p_k + \sum_j p_j\cdot \mathrm{drift}(q_j)$$

        Without a drift H = R.
        """
        parts = self.split(q)
        free = self._joined(self._kernel_rows(parts, q, p))
        value = 0.5 * (p * free).sum((-1, -2))
        if not self.drift:
            return value
        nothing = {n: torch.zeros_like(r) for n, r in self._by_rows(parts).items()}
        return value + (p * self._joined(self._drifted(nothing, parts))).sum((-1, -2))

    def _kernel_rows(self, parts: Parts, q: Tensor, p: Tensor) -> dict[str, Tensor]:
        costate = self._by_rows(self.split(p))
        out = {name: torch.zeros_like(r) for name, r in self._by_rows(parts).items()}
        at_q = self.features(q)
        for t, phi_z, phi_q in zip(self.terms, self._features(parts), at_q, strict=True):
            push = t.metric.solve_rows(costate[t.out])
            out[t.out] = out[t.out] + _gram(phi_z, phi_q) @ push
        return out

    def rates(self, form: str, q: Tensor, p: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `VectorField.rates`; in kernel form theta is never made."""
        if form == "theta":
            return super().rates(form, q, p, z)
        dz = self.kernel_velocity(z, q, p)
        return self.kernel_velocity(q, q, p), -self.kernel_pull_back(q, p), dz

    # --- pieces ----------------------------------------------------------------------------

    def _pull(
        self, out: dict[str, Tensor], phi: Feature, parts: Parts, slot: str, back: Tensor
    ) -> None:
        """Add (d phi)^T back, given one row per sample and site of `slot`."""
        for name, part in phi.pull_back(parts, self.spaces[slot].unrows(back)).items():
            out[name] = out[name] + part

    def _drifted(self, out: dict[str, Tensor], parts: Parts) -> dict[str, Tensor]:
        for d in self.drift:
            rows = self.spaces[d.out].rows(d.phi.value(parts))
            out[d.out] = out[d.out] + d.factor * rows
        return out

    def _drift_pulled(
        self, out: dict[str, Tensor], parts: Parts, costate: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        for d in self.drift:
            self._pull(out, d.phi, parts, d.out, d.factor * costate[d.out])
        return out

    # --- sizes -----------------------------------------------------------------------------

    def fan_in(self, name: str) -> int:
        """Width of the feature of a control; of a bias, that of another term of its output."""
        term = next(t for t in self.terms if t.name == name)
        mates = [t for t in (term, *self.terms) if t.out == term.out and not t.is_bias]
        return self.shapes[(mates or [term])[0].name][1]

    def is_bias(self, name: str) -> bool:
        """Whether a control multiplies the constant feature."""
        return next(t for t in self.terms if t.name == name).is_bias

    def flops(self, particles: int, rows: int) -> dict[str, float]:
        """Multiply-add count of one right-hand side, both forms, elementwise work ignored.

        Args:
            particles: Number K of particles.
            rows: Number n of data rows carried along.

        Returns:
            ``{"theta": ..., "kernel": ...}`` in floating-point operations.
        """
        theta = 0.0
        read: dict[object, int] = {}
        fed: dict[str, int] = {}
        for t, phi in zip(self.terms, self._phi, strict=True):
            (out, width), sites = self.shapes[t.name], self.spaces[t.out].count
            # build theta, move particles, pull p back
            theta += 2 * out * width * sites * ((2 if t.is_bias else 3) * particles + rows)
            fed[t.out] = out * sites**2
            if phi.reads:
                read[phi.key] = width * sites**2
        # each feature and each output slot enters one Gram matrix and one product with it
        each = 2 * particles * (2 * particles + rows)
        return {"theta": theta, "kernel": float(each * sum((*read.values(), *fed.values())))}


def _listed(parts: object, kind: type[T], example: str) -> tuple[T, ...]:
    """Terms or drifts, as a tuple."""
    listed = tuple(parts) if isinstance(parts, Iterable) else ()
    if not isinstance(parts, Iterable) or not all(isinstance(part, kind) for part in listed):
        raise ValueError(
            f"expected a list of objects {kind.__name__}, got {shown(parts)}; try {example}"
        )
    return listed


def _gram(a: Tensor, b: Tensor) -> Tensor:
    return a @ b.transpose(-1, -2)


def _feature(feature: Feature | str | None, owner: str) -> Feature:
    """A slot's name stands for the slot itself, None for the constant."""
    found = Constant() if feature is None else feature
    found = Identity(found) if isinstance(found, str) else found
    if not isinstance(found, Feature):
        raise ValueError(
            f"expected the feature of {owner} to be a Feature, with value and pull_back, got "
            f"{shown(feature)}; try Activated('v'), a slot's name, or Function(f, reads=('x',))"
        )
    return found


def _check_names(space: StateSpace, terms: Sequence[Term], drift: Sequence[Drift]) -> None:
    names = [t.name for t in terms]
    if not terms or len(set(names)) != len(names):
        raise ValueError(
            f"expected at least one term, all named differently, got {names}; rename or add terms"
        )
    used = [(f"term {t.name!r}", s) for t in terms for s in (t.out, *t.phi.reads)]
    used += [("a drift", s) for d in drift for s in (d.out, *d.phi.reads)]
    for owner, slot in used:
        if slot not in space.slots:
            raise ValueError(
                f"expected {owner} to use slots among {sorted(space.slots)}, got {slot!r}; "
                "declare the slot or correct the term"
            )
    for t in terms:
        out = space.spaces[t.out].width
        if t.metric.size not in (None, out):
            raise ValueError(
                f"expected the weight of {t.name!r} to be a positive number or a symmetric "
                f"positive definite {out}×{out} matrix, got one of size {t.metric.size}; try 1.0"
            )


def _tried(phi: Feature, probe: Parts) -> Tensor:
    """The value of a feature on one sample."""
    try:
        value: object = phi.value(probe)
    except (TypeError, RuntimeError, IndexError, AttributeError) as error:
        raise ValueError(
            f"expected {phi} to take the slots {phi.reads} of one sample, got "
            f"{type(error).__name__}: {shown(error)}; correct the function, or what it reads"
        ) from error
    return require_tensor(value, f"the value of {phi}")


def _probed(space: StateSpace, owner: Term | Drift, phi: Feature, probe: Parts) -> int:
    """Width of a feature, whose sites and pull-back are tried on one sample."""
    slot, value = space.spaces[owner.out], _tried(phi, probe)
    if value.dim() < 2 or tuple(value.shape[:-1]) != (1, *slot.sites):
        raise ValueError(
            f"expected {phi} to have the sites {slot.sites or 'of a plain vector'} of slot "
            f"{owner.out!r}, got a value of shape {tuple(value.shape)} for one sample; read a slot "
            "with the same sites"
        )
    for name, back in phi.pull_back(probe, torch.ones_like(value)).items():
        if name not in phi.reads or back.shape != probe[name].shape:
            want = tuple(probe[name].shape) if name in phi.reads else f"slots {phi.reads} only"
            raise ValueError(
                f"expected the pull-back of {phi} to have the shape of what it reads ({want}), got "
                f"{name!r} of shape {tuple(back.shape)}; return one covector for each slot read"
            )
    return int(value.shape[-1])
