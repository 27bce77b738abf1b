"""What PyTorch does around a call: a transform, a trace, a compiler, autocast.

A solve that runs at once, outside PyTorch's operations, has to know who is looking; so has a check
that reads values. Nothing here asks for a value, and each question takes well under a microsecond.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._pytree import tree_flatten, tree_unflatten

# PyTorch 2.6 does not tell an export from a compilation
_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)


def differentiator(tensors: Sequence[Tensor]) -> str | None:
    """Who differentiates or batches the operations themselves, so that no node may hide them.

    A node could be given the rules that `torch.func` asks for, and nothing would be won:
    `torch.func` differentiates everything twice over, which a node leaves to its operations.
    """
    if torch._C._are_functorch_transforms_active():
        return "a transform of torch.func"
    if forward_ad._current_level >= 0 and any(_dual(t) for t in tensors):
        return "forward-mode differentiation"
    tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return "torch.jit.trace" if tracing else None


def observer(tensors: Sequence[Tensor]) -> str | None:
    """Who has to see the operations besides, so that none may happen outside PyTorch."""
    if torch.compiler.is_compiling():
        return "a compiler"
    if torch._C._len_torch_dispatch_stack():
        return "a mode that dispatches (a trace, a count, fake tensors)"
    strange = [type(t).__name__ for t in tensors if type(t) not in (Tensor, nn.Parameter)]
    return f"a tensor of type {strange[0]}" if strange else None


def symbolic(*sizes: int) -> bool:
    """Whether sizes may stand for any number, as in an export: none may then decide anything."""
    return _exporting() or any(isinstance(n, torch.SymInt) for n in sizes)


def readable(value: Tensor) -> bool:
    """Whether a value can be read at once: in this machine's memory, and nobody looks on.

    Reading from an accelerator would make the processor wait for all that was asked of it before.
    """
    return value.device.type == "cpu" and not differentiator(()) and not observer((value,))


def autocast(like: Tensor) -> bool:
    """Whether autocast is on for a tensor's device."""
    kind = like.device.type
    return kind != "meta" and torch.is_autocast_enabled(kind)


def unmixed(like: Tensor) -> AbstractContextManager[object]:
    """A block in which autocast is off: a solve runs in the type of what it is given."""
    return torch.autocast(like.device.type, enabled=False) if autocast(like) else nullcontext()


def pull(function: Callable[..., Any], inputs: Sequence[Any], bar: Any) -> Any:
    """The transposed derivative of a function, applied to bar; one part for each input.

    `torch.func.vjp` refuses hooks on saved tensors, of which `torch.utils.checkpoint` and
    `save_on_cpu` consist: they rest meanwhile. What autograd saves inside stays as it is, so that
    numbers are those without hooks, and that part is neither recomputed nor moved.
    """
    if _exporting() and not torch.compiler.is_dynamo_compiling():
        return _exported_pull(function, inputs, bar)
    with _unhooked():
        return torch.func.vjp(function, *inputs)[1](bar)


def _exported_pull(function: Callable[..., Any], inputs: Sequence[Any], bar: Any) -> Any:
    """The same by autograd: what `torch.func` does cannot be written into an exported graph."""
    if not torch.is_grad_enabled():  # changes of the mode inside a graph gave wrong numbers
        raise ValueError(
            "expected an export in which autograd records the derivative of a function, got one "
            "without; try Solver(route='autograd'), and torch.export outside torch.no_grad()"
        )
    flat, spec = tree_flatten(list(inputs))
    # clones, which pass gradients on to what they come from
    leaves = [t if t.requires_grad else t.clone().requires_grad_() for t in flat]
    value = function(*tree_unflatten(leaves, spec))
    found = torch.autograd.grad(
        value, leaves, bar, create_graph=True, allow_unused=True, materialize_grads=True
    )
    return tree_unflatten(list(found), spec)


def _unhooked() -> AbstractContextManager[object]:
    """A block without hooks on saved tensors; where there are none, which is the rule, nothing."""
    if torch.compiler.is_compiling() or _top_hooks() is None:
        return nullcontext()
    return _resting()


@contextmanager
def _resting() -> Iterator[None]:
    hooks = []
    while (top := _top_hooks()) is not None:
        torch._C._autograd._pop_saved_tensors_default_hooks()
        hooks.append(top)
    try:
        yield
    finally:
        for pack, unpack in reversed(hooks):
            torch._C._autograd._push_saved_tensors_default_hooks(pack, unpack)


def _top_hooks() -> tuple[Any, Any] | None:
    return torch._C._autograd._top_saved_tensors_default_hooks(True)


def _dual(t: Tensor) -> bool:
    return forward_ad.unpack_dual(t).tangent is not None
