r"""Automatic shooting (Appendix C): any f(z, theta) that is linear in theta, given as a function.

Controls are one gradient of sum_j p_j . f(q_j, theta), costates one of the same with respect to q;
nothing has to be derived by hand, so that a layer someone else wrote can be shot.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from shooting.errors import (
    require_callable,
    require_count,
    require_few,
    require_mapping,
    require_part,
    require_text,
    shown,
)
from shooting.fields import Control, VectorField, Weight
from shooting.fixed import FixedDict
from shooting.metrics import Metric, metric
from shooting.randomness import generator
from shooting.spaces import Slot
from shooting.transforms import differentiator, observer, pull, symbolic

VelocityFn = Callable[[dict[str, Tensor], dict[str, Tensor]], Mapping[str, Tensor]]
# relative; a function that is linear misses by rounding only, one that is not by the order of 1
ROUNDING = {torch.float32: 1e-3, torch.float64: 1e-9}
FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


class AutomaticField(VectorField):
    r"""A vector field given by a function that is linear in its controls, up to a drift f(z, 0).

    Example:
        >>> def gated(z, theta):
        ...     return {"x": torch.sigmoid(z["x"]) * (z["x"] @ theta["W"].T)}
        >>> field = AutomaticField(gated, {"x": 2}, {"W": (2, 2)})

    Args:
        function: f(z, theta): from the slots of n samples, each ``(n, width)`` or channels first
            ``(n, channels, *sites)``, and the controls by name, to the velocities by slot, in the
            same shapes; a slot left out has velocity 0. Each sample by itself. Leave the memory
            format as it comes: `torch.nn.GroupNorm` on ``channels_last`` images can end the
            process.
        slots: Width of each slot in packing order, or a `Slot` for an image.
        controls: Shape of each control $\theta_b$, as the function wants it.
        weights: Metric of each control: a positive number, or a matrix that acts on the first
            axis; 1 where it is left out.

    Attributes:
        shapes: Each control as a matrix ``(first axis, all others)``, as the models keep it.

    Raises:
        ValueError: If the function is not linear in theta, mixes samples, or returns other shapes.
    """

    def __init__(
        self,
        function: VelocityFn,
        slots: Mapping[str, int | Slot],
        controls: Mapping[str, tuple[int, ...]],
        *,
        weights: Mapping[str, Weight] | None = None,
    ) -> None:
        super().__init__(slots)
        require_callable(function, "the velocities", "try lambda z, theta: {'x': z['x']}")
        self.function = function
        self.controls = FixedDict(_shapes(controls))
        shapes = {k: (s[0] if s else 1, math.prod(s[1:])) for k, s in self.controls.items()}
        self.shapes = FixedDict(shapes)
        require_few(sum(math.prod(s) for s in shapes.values()), "all controls")
        if weights is not None:
            require_mapping(weights, "weights", example="{'A': 1.0}")
        self.metrics = FixedDict(_metrics(shapes, weights or {}))
        self._normed = _check_call(self)
        _check_linear(self)
        self._drifts = self._moves_by_itself()
        self._frozen = True

    @property
    def drift(self) -> bool:  # type: ignore[override]
        """Whether f(z, 0) is not 0, by three random samples.

        Looked up anew each time: what the function reads may have changed since it was built. Under
        a transform or a compiler, where no value can be read, it is as when the field was built.

        Raises:
            ValueError: If the function takes no samples of any usual type and place.
        """
        if torch.compiler.is_compiling() or differentiator(()) or observer(()):
            return self._drifts
        return self._moves_by_itself()

    def _moves_by_itself(self) -> bool:
        for dtype, device in kinds():
            z = _draw("z", (3, self.size)).to(device, dtype)
            try:
                with torch.no_grad():
                    return bool((self.velocity(z, self._nothing(z)) != 0).any())
            except RuntimeError:  # what it reads has been moved to another type or device
                continue
        raise ValueError(
            "expected a function that takes samples of any floating type on some device, got one "
            "that takes none; move what it reads"
        )

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", "f")
        return f"AutomaticField({name}: {', '.join(self.controls)}; S = {self.size})"

    def shaped(self, theta: Control) -> Control:
        """Controls in the function's own shapes, from matrices ``(*runs, out, F)``."""
        return {k: t.reshape(*t.shape[:-2], *self.controls[k]) for k, t in theta.items()}

    def velocity(self, z: Tensor, theta: Control) -> Tensor:
        """f(z, theta), shape of z ``(*runs, n, S)``."""
        call = self._once
        for _ in z.shape[:-2]:
            call = torch.func.vmap(call, in_dims=(0, 0))
        lead = z.shape[:-2]
        spread = {k: t.expand(*lead, *t.shape[-2:]) for k, t in theta.items()}
        return call(z, spread)

    def _once(self, z: Tensor, theta: Control) -> Tensor:
        """One run: the function between the packed state and its own shapes."""
        found = self.function(self._given(z), self.shaped(theta))
        out = {
            k: self.spaces[k].last(found[k]) if k in found else torch.zeros_like(part)
            for k, part in self.split(z).items()
        }
        return self.pack(out)

    def _given(self, z: Tensor) -> dict[str, Tensor]:
        """The slots of a state ``(n, S)`` as the function gets them, channels first.

        In memory channels are last, which is the faster; but there PyTorch's `group_norm` fails in
        `vmap`, and its backward ends the process if the image needs no gradient.
        """
        parts = {k: self.spaces[k].first(part) for k, part in self.split(z).items()}
        return {k: part.contiguous() for k, part in parts.items()} if self._normed else parts

    def _nothing(self, z: Tensor) -> Control:
        return {k: z.new_zeros(*z.shape[:-2], *shape) for k, shape in self.shapes.items()}

    def theta(self, q: Tensor, p: Tensor) -> Control:
        r"""(3.3): $\theta_b = M_b^{-1}\,\partial_{\theta_b} \sum_j p_j\cdot f(q_j,\theta)$."""
        (found,) = pull(functools.partial(self.velocity, q), (self._nothing(q),), p)
        return {k: self.metrics[k].solve(g) for k, g in found.items()}

    def pull_back(self, z: Tensor, p: Tensor, theta: Control) -> Tensor:
        r"""$(\mathrm{d}_z f)^\top p$ for each row."""
        if symbolic():
            raise ValueError(
                "expected no torch.export of a dynamic model of an AutomaticField, whose costates "
                "no exported graph can hold, got one; try StaticParticles, a direct model, or a "
                "Field with a Function"
            )
        back: Tensor = pull(lambda y: self.velocity(y, theta), (z,), p)[0]
        return back

    def penalty(self, theta: Control) -> Tensor:
        r"""$R(\theta) = \tfrac12\sum_b \langle\theta_b, M_b\theta_b\rangle$, shape ``(*runs)``."""
        return 0.5 * torch.stack([m.square(theta[k]) for k, m in self.metrics.items()]).sum(0)

    def energy(self, q: Tensor, p: Tensor) -> Tensor:
        r"""$H = \sum_j p_j\cdot f(q_j,\theta) - R$ at the maximising theta, shape ``(*runs)``."""
        theta = self.theta(q, p)
        return (p * self.velocity(q, theta)).sum((-1, -2)) - self.penalty(theta)

    def fan_in(self, name: str) -> int:
        """Number of inputs of each output of a control.

        Of a vector it is that of the matrices with as many rows, as of a bias beside them; 1 where
        there is none.
        """
        if not self.is_bias(name):
            return self.shapes[name][1]
        rows = self.shapes[name][0]
        beside = (s[1] for k, s in self.shapes.items() if not self.is_bias(k) and s[0] == rows)
        return max(beside, default=1)

    def is_bias(self, name: str) -> bool:
        """Whether a control is a vector."""
        return len(self.controls[name]) < 2


def _shapes(controls: object) -> dict[str, tuple[int, ...]]:
    """Shapes of controls by name, as whole numbers."""
    given = require_mapping(controls, "controls", example="{'A': (2, 2)}")
    for name, shape in given.items():
        require_part(require_text(name, "the name of a control"), "the name of a control")
        if not isinstance(shape, Iterable):
            raise ValueError(
                f"expected the shape of control {name!r}, got {shown(shape)}; try (2, 2)"
            )
    return {
        name: tuple(require_count(n, f"an axis of {name!r}") for n in cast("Iterable[object]", s))
        for name, s in given.items()
    }


def _metrics(
    shapes: Mapping[str, tuple[int, int]], weights: Mapping[str, Weight]
) -> dict[str, Metric]:
    if not shapes or not set(weights) <= set(shapes):
        raise ValueError(
            f"expected weights of controls among {sorted(shapes)}, at least one, got "
            f"{sorted(weights)}; name each control with its shape"
        )
    found = {k: metric(weights.get(k, 1.0)) for k in shapes}
    for name, m in found.items():
        if m.size not in (None, shapes[name][0]):
            raise ValueError(
                f"expected a matrix of size {shapes[name][0]} as weight of {name!r}, got one of "
                f"size {m.size}; it acts on the first axis of the control"
            )
    return found


def _draw(purpose: str, shape: tuple[int, ...]) -> Tensor:
    g = generator(0, "automatic", purpose)
    drawn = torch.randn(shape, generator=g, dtype=torch.float64, device="cpu")
    return drawn.to(torch.get_default_dtype())


def kinds() -> Iterator[tuple[torch.dtype, str]]:
    """Types and devices of samples, the likely ones first."""
    for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
        for dtype in dict.fromkeys((torch.get_default_dtype(), *FLOATS)):
            yield dtype, device


class _Norms(TorchDispatchMode):
    """Sees whether groups of channels are normalised."""

    seen = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        self.seen |= func is torch.ops.aten.native_group_norm.default
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def _check_call(field: AutomaticField) -> bool:
    """Call the function as a solve will, look at what it returns, and whether it takes norms."""
    z = _draw("z", (3, field.size))
    parts = {k: field.spaces[k].first(part) for k, part in field.split(z).items()}
    want = {k: tuple(part.shape) for k, part in parts.items()}
    before = [(part, part.clone()) for part in parts.values()]
    try:
        with _Norms() as norms:  # type: ignore[no-untyped-call]
            found: object = field.function(parts, field.shaped(field._nothing(z)))
    except (TypeError, RuntimeError, LookupError, AttributeError) as error:
        raise ValueError(
            f"expected a function of slots {want} and controls {dict(field.controls)}, got "
            f"{type(error).__name__}: {shown(error)}; correct the function or the shapes"
        ) from error
    if not all(torch.equal(part, value) for part, value in before):
        raise ValueError(
            "expected a function that leaves its states as they are, got one that works in place; "
            "try inplace=False"
        )
    got = (
        {k: tuple(getattr(v, "shape", ())) for k, v in found.items()}
        if (isinstance(found, Mapping))
        else found
    )
    if not isinstance(got, dict) or not all(want.get(k) == shape for k, shape in got.items()):
        raise ValueError(
            f"expected velocities by slot, of the shapes {want}, got {shown(got)}; return them "
            "like the slots"
        )
    return norms.seen


@torch.no_grad()
def _check_linear(field: AutomaticField) -> None:
    """Try the function on random samples and controls."""
    z = _draw("z", (3, field.size))
    one, two = ({k: _draw(k + n, s) for k, s in field.shapes.items()} for n in "12")
    both = {k: 2 * one[k] - 3 * two[k] for k in one}
    none, a, b, c = (field.velocity(z, t) for t in (field._nothing(z), one, two, both))
    bar = ROUNDING.get(z.dtype, 1e-2)
    size = float(torch.stack([t.abs().amax() for t in (none, a, b, c)]).amax())
    gap = float((c - none - 2 * (a - none) + 3 * (b - none)).abs().amax())
    if not gap <= bar * size:
        raise ValueError(
            f"expected a function linear in its controls {sorted(field.controls)}, got one that "
            f"misses additivity by {gap:.1e} of {size:.1e}; move what is not linear into the state"
        )
    alone = torch.cat([field.velocity(row, one) for row in z.split(1)])
    if not float((alone - a).abs().amax()) <= bar * size:
        raise ValueError(
            "expected a function that moves each sample by itself, got one whose velocity depends "
            "on the other samples; leave out normalisation over the batch"
        )
