"""The compiled step of Adam: bit for bit that of `shooting.optim`, in two passes over memory."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from shooting.native import build


def applies(tensors: Sequence[Tensor]) -> bool:
    """Whether the compiled step can take these tensors."""
    if any(t.device.type != "cpu" or not t.is_contiguous() for t in tensors):
        return False
    dtypes = {t.dtype for t in tensors}
    return len(dtypes) == 1 and dtypes <= set(build.REALS) and _library(*dtypes) is not None


def step(
    arrays: tuple[Tensor, Tensor, Tensor, Tensor],
    *,
    rate: Tensor,
    alive: Tensor | None,
    gains: tuple[Tensor, Tensor],
    corrections: tuple[Tensor, Tensor],
    eps: float,
) -> None:
    """Update parameters and moments in place; R runs of n entries each.

    Args:
        arrays: Parameters, gradient, mean and square, R n entries each.
        rate: Learning rate of each run, R numbers.
        alive: Which runs take part, R booleans; None for all.
        gains: (1 - beta) active of one run, for mean and square, n numbers each.
        corrections: active / (1 - beta1^t) and sqrt(1 - beta2^t) of one run, n numbers each.
        eps: Added to the root.
    """
    w, grad, mean, square = arrays
    library = _library(w.dtype)
    assert library is not None
    runs = rate.numel()
    if any(w.numel() != runs * t.numel() for t in (*gains, *corrections)):
        raise ValueError(
            f"expected {runs} runs of {gains[0].numel()} entries, got {tuple(w.shape)}; lead with "
            "the run axes"
        )
    alive = torch.ones(runs, dtype=torch.bool) if alive is None else alive.contiguous().bool()
    size = [ctypes.c_int64(n) for n in (runs, w.numel() // runs)]
    library.moments(*size, *_pointers(alive, *gains, grad, mean, square))
    root = square.sqrt()
    library.move(
        *size,
        *_pointers(alive, rate, *corrections),
        ctypes.c_double(eps),
        *_pointers(mean, root, w),
    )


def _library(dtype: torch.dtype) -> ctypes.CDLL | None:
    return build.load(dtype, build.ADAM)[0]


def _pointers(*tensors: Tensor) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(t.data_ptr()) for t in tensors]
