"""The state of a training in one checked file, from which it continues bit for bit."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from shooting.study.storage import CorruptFileError, atomic_write, set_aside

logger = logging.getLogger(__name__)

StateDict = dict[str, Tensor]
Environment = dict[str, str]
WRONG = (ValueError, KeyError, TypeError, RuntimeError, AttributeError, RecursionError, OSError)
ABOUT = ("owner", "begun", "elapsed", "resumed")
# What every safetensors stores as such; all else goes in as bytes, with type and shape beside it
PLAIN = frozenset(
    (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool)
    + (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
)


class FileCheckpoint:
    """Keeps the state of one training in a safetensors file with a checksum of its content.

    Args:
        path: The file.
        owner: Says whose state it is (record id and source hash); another owner's state is not
            loaded, because changed code would not continue the same run.
        seconds: Time between saves; 0 saves after every epoch.
        since: A training begun before this moment is not continued.
        environment: What the bits of a training depend on in this process, by name; asked when a
            state is saved or loaded.

    Attributes:
        environments: One entry for each environment that took part, in order.
        begun: When the training began, in whichever process.
        resumed: How often it was continued.
    """

    def __init__(
        self,
        path: Path,
        *,
        owner: str = "",
        seconds: float = 20.0,
        since: datetime | None = None,
        environment: Callable[[], Environment] = dict,
    ) -> None:
        self.path, self.owner, self.seconds, self.since = path, owner, seconds, since
        self.earlier, self.resumed = 0.0, 0  # of the processes before this one
        self.environment = environment
        self.environments: list[Environment] = []
        self.begun = datetime.now(UTC)
        self._started = self._saved = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds of training so far, over all processes that took part."""
        return self.earlier + time.monotonic() - self._started

    def due(self) -> bool:
        """Whether the last save is `seconds` ago."""
        return time.monotonic() - self._saved >= self.seconds

    def save(self, state: StateDict) -> None:
        """Keep a state, atomically, bit for bit whatever its types.

        Raises:
            ValueError: If a tensor has no bytes of its own (quantised, sparse, on meta).
        """
        tensors = {k: _dense(k, v.detach()) for k, v in state.items()}
        about = {
            "owner": self.owner,
            "begun": self.begun.isoformat(),
            "elapsed": f"{self.elapsed:.3f}",
            "resumed": str(self.resumed),
        }
        packed, others = _packed(tensors)
        self.environments = self.environments or [self.environment()]
        about["environments"] = json.dumps(self.environments)
        about |= {"others": json.dumps(others)} if others else {}
        about["sha256"] = content_hash(tensors, about)
        atomic_write(self.path, safetensors.torch.save(packed, about))
        self._saved = time.monotonic()

    def load(self) -> StateDict | None:
        """The last state saved; None without one. A corrupt file is set aside, by name."""
        try:
            tensors, about = read_checkpoint(self.path)
        except FileNotFoundError:
            return None
        except CorruptFileError as error:
            set_aside(self.path, str(error))
            return None
        if against := self._against(about):
            logger.warning("%s %s: training starts afresh", self.path, against)
            return None
        self._enter(json.loads(about.get("environments", "[]")))
        self.begun = datetime.fromisoformat(about["begun"])
        self.earlier, self.resumed = float(about["elapsed"]), int(about["resumed"]) + 1
        return tensors

    def _enter(self, earlier: list[Environment]) -> None:
        """Go on in this process, and say so if it computes otherwise than those before."""
        own = self.environment()
        self.environments = earlier or [own]
        if self.environments[-1] != own:
            last = self.environments[-1]
            apart = [f"{k} {last.get(k)} then, {v} now" for k, v in own.items() if last.get(k) != v]
            logger.warning(
                "%s goes on in another environment (%s): its record says so, and has the bits of "
                "neither",
                self.path.stem,
                "; ".join(apart),
            )
            self.environments = [*self.environments, own]

    def reject(self, why: str) -> None:
        """Set a state aside that does not fit what is trained; the training begins anew."""
        set_aside(self.path, f"{why}: training starts afresh")
        self.earlier, self.resumed, self.begun = 0.0, 0, datetime.now(UTC)
        self.environments = []

    def usable(self) -> bool:
        """Whether there is a state from which `load` would go on."""
        try:
            return not self._against(read_checkpoint(self.path)[1])
        except (FileNotFoundError, CorruptFileError):
            return False

    def _against(self, about: dict[str, str]) -> str:
        """Why a state must not be gone on from; empty if it may."""
        if about["owner"] != self.owner:
            return f"belongs to other code or settings ({about['owner']})"
        if self.since is not None and datetime.fromisoformat(about["begun"]) < self.since:
            return "is older than FRESH"
        return ""

    def discard(self) -> None:
        """Forget the state."""
        self.path.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> tuple[StateDict, dict[str, str]]:
    """Tensors and header of a checkpoint.

    Raises:
        FileNotFoundError: If there is none.
        CorruptFileError: If it is not what `FileCheckpoint.save` wrote.
    """
    data = path.read_bytes()
    try:
        length = int.from_bytes(data[:8], "little")
        about = dict(json.loads(data[8 : 8 + length])["__metadata__"])
        tensors = _unpacked(safetensors.torch.load(data), json.loads(about.get("others", "{}")))
        claimed = about.pop("sha256")
        if lacking := [name for name in ABOUT if not isinstance(about.get(name), str)]:
            raise KeyError(lacking[0])
        json.loads(about.get("environments", "[]"))
        datetime.fromisoformat(about["begun"]), float(about["elapsed"]), int(about["resumed"])
    except (SafetensorError, *WRONG) as error:
        raise CorruptFileError(f"expected a whole checkpoint in {path.name}: {error}") from error
    if content_hash(tensors, about) != claimed:
        raise CorruptFileError(f"expected the content that {path.name} was saved with, got another")
    return tensors, about


def content_hash(tensors: StateDict, about: dict[str, str]) -> str:
    """Sha256 of names, types, shapes and bytes of tensors, and of what is said about them."""
    found = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        found.update(_bytes(value).numpy().tobytes())
    return found.hexdigest()


def _packed(tensors: StateDict) -> tuple[StateDict, dict[str, tuple[str, list[int]]]]:
    """Tensors as they are stored, and type and shape of those that are stored as bytes."""
    others = {
        name: (str(value.dtype).removeprefix("torch."), list(value.shape))
        for name, value in tensors.items()
        if value.dtype not in PLAIN
    }
    return {k: _bytes(v) if k in others else v for k, v in tensors.items()}, others


def _unpacked(tensors: StateDict, others: dict[str, tuple[str, list[int]]]) -> StateDict:
    """Inverse of `_packed`."""
    for name, (kind, shape) in others.items():
        tensors[name] = tensors[name].view(getattr(torch, kind)).reshape(shape)
    return tensors


def _dense(name: str, value: Tensor) -> Tensor:
    """A tensor in plain memory, without the marks of a conjugate or negative view."""
    unkept = ValueError(
        f"expected state whose bytes can be kept, got {name!r} of type {value.dtype} and layout "
        f"{value.layout} on {value.device}; keep its to_dense() or dequantize()"
    )
    if value.layout is not torch.strided or value.is_meta or value.is_quantized:
        raise unkept
    try:
        plain = value.cpu().resolve_conj().resolve_neg()
        return plain.clone(memory_format=torch.contiguous_format)  # no two in one memory
    except RuntimeError as error:  # types of less than a byte have no copy
        raise unkept from error


def _bytes(value: Tensor) -> Tensor:
    """The bytes of a tensor, one after the other."""
    return value.reshape(-1).view(torch.uint8)
