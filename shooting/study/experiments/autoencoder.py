"""The convolutional autoencoder of the image experiments (Yildiz et al. 2019, deterministic)."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from shooting.errors import require_choice, require_count
from shooting.randomness import generator, uniform

logger = logging.getLogger(__name__)

SIDE = 28
CORE = 4  # side of the smallest feature map
PRECISIONS = ("float32", "bfloat16")
CPU_INFO = Path("/proc/cpuinfo")


class Autoencoder(nn.Module):
    """Images of 28 x 28 pixels to `latent` numbers and back.

    Three strided convolutions halve 28 to 14, 7 and 4; four transposed ones lead from 4 over 6 and
    13 to 28. BatchNorm follows all but the last of each.

    Args:
        latent: Dimension d of the latent space.
        filters: Channels of the first layer; 8 for rotating digits, 16 for balls.
        channels: Channels of the input.
        seed: Seed of the initial parameters.
        precision: ``float32``: as every layer is; ``bfloat16``: in training mode the convolutions
            multiply numbers of that type, the pixels of an image side by side in memory (channels
            last). Parameters, statistics of BatchNorm, linear layers and images stay as they are,
            and so does the evaluation mode.

    Raises:
        ValueError: If the precision is unknown, or there is nothing to encode into.
    """

    def __init__(
        self,
        latent: int,
        *,
        filters: int = 8,
        channels: int = 1,
        seed: int = 0,
        precision: str = "float32",
    ) -> None:
        super().__init__()
        require_count(latent, "the latent dimension")
        n = require_count(filters, "the number of filters")
        require_choice(precision, PRECISIONS, "a precision")
        self.precision = precision
        self.encoder = nn.Sequential(
            *_down(channels, n), nn.BatchNorm2d(n), nn.ReLU(),
            *_down(n, 2 * n), nn.BatchNorm2d(2 * n), nn.ReLU(),
            *_down(2 * n, 4 * n), nn.ReLU(),
            nn.Flatten(), _bare(nn.Linear, 4 * n * CORE**2, latent),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            _bare(nn.Linear, latent, 4 * n * CORE**2), nn.Unflatten(1, (4 * n, CORE, CORE)),
            _bare(nn.ConvTranspose2d, 4 * n, 8 * n, 3), nn.BatchNorm2d(8 * n), nn.ReLU(),
            _bare(nn.ConvTranspose2d, 8 * n, 4 * n, 5, stride=2, padding=1),
            nn.BatchNorm2d(4 * n), nn.ReLU(),
            _bare(nn.ConvTranspose2d, 4 * n, 2 * n, 5, stride=2, padding=1, output_padding=1),
            nn.BatchNorm2d(2 * n), nn.ReLU(),
            _bare(nn.ConvTranspose2d, 2 * n, 1, 5, padding=2), nn.Sigmoid(),
        )  # fmt: skip
        initialise(self, seed)

    def encode(self, images: Tensor) -> Tensor:
        """Latents ``(n, d)`` of images ``(n, channels, 28, 28)``."""
        *convolutions, code = self.encoder
        latents: Tensor = code(self._convolve(convolutions, images))
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """Images ``(*batch, 28, 28)`` in (0, 1) of latents ``(*batch, d)``."""
        code, unflatten, *convolutions, squash = self.decoder
        features = unflatten(code(latents.flatten(0, -2)))
        images: Tensor = squash(self._convolve(convolutions, features))
        return images.reshape(*latents.shape[:-1], SIDE, SIDE)

    def _convolve(self, layers: Sequence[nn.Module], images: Tensor) -> Tensor:
        """Apply layers, in bfloat16 if that is asked for and this is training."""
        if self.precision == "float32" or not self.training:
            return functools.reduce(lambda features, layer: layer(features), layers, images)
        _say_if_slow()
        features = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, torch.bfloat16):
            for layer in layers:
                features = _apply(layer, features)
        return features.to(images.dtype)


def _apply(layer: nn.Module, features: Tensor) -> Tensor:
    """A layer's output; a transposed convolution adds its bias last: four times faster at 6 x 6."""
    if not isinstance(layer, nn.ConvTranspose2d):
        applied: Tensor = layer(features)
        return applied
    assert layer.bias is not None
    assert not isinstance(layer.padding, str)
    found = nn.functional.conv_transpose2d(
        features, layer.weight, None, layer.stride, layer.padding, layer.output_padding
    )
    return found.add_(layer.bias.to(found.dtype).view(-1, 1, 1))


@functools.cache
def _say_if_slow() -> None:
    """Warn, once in a process, of a processor that has to imitate bfloat16."""
    if not has_bfloat16():
        logger.warning(
            "this processor does not multiply bfloat16 itself: training takes the same route, "
            "slower; precision='float32' may be faster"
        )


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself; where nothing says so, it is taken to."""
    if not CPU_INFO.exists():
        return True
    words = set(CPU_INFO.read_text(encoding="utf-8").split())
    return bool(words & {"avx512_bf16", "amx_bf16", "bf16"})


def _down(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return (_bare(nn.Conv2d, inputs, outputs, 5, stride=2, padding=2),)


def _bare(kind: type[nn.Module], *sizes: int, **options: int) -> nn.Module:
    """A layer without initial values, so that no global generator is touched."""
    layer: nn.Module = nn.utils.skip_init(kind, *sizes, **options)
    return layer


@torch.no_grad()
def initialise(model: nn.Module, seed: int) -> None:
    """Draw weights and biases like PyTorch, U(±1/√fan_in), from the seed of the run alone.

    Args:
        model: Its linear and convolutional layers are drawn in place, in order.
        seed: Seed of the run.
    """
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            bound = uniform(1 / math.sqrt(layer.weight[0].numel()))  # as torch counts the fan-in
            g = generator(seed, "autoencoder", name)
            layer.weight.copy_(bound(g, tuple(layer.weight.shape)))
            if layer.bias is not None:
                layer.bias.copy_(bound(g, tuple(layer.bias.shape)))
