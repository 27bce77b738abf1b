"""The convolutional autoencoder of the image experiments (Yildiz et al. 2019, deterministic)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from shooting.parametrizations import uniform
from shooting.randomness import generator

SIDE = 28
CORE = 4  # side of the smallest feature map


class Autoencoder(nn.Module):
    """Images of 28 x 28 pixels to `latent` numbers and back.

    Three strided convolutions halve 28 to 14, 7 and 4; four transposed ones lead from 4 over 6 and
    13 to 28. BatchNorm follows all but the last of each.

    Args:
        latent: Dimension d of the latent space.
        filters: Channels of the first layer; 8 for rotating digits, 16 for balls.
        channels: Channels of the input.
        seed: Seed of the initial parameters.
    """

    def __init__(self, latent: int, *, filters: int = 8, channels: int = 1, seed: int = 0) -> None:
        super().__init__()
        n = filters
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
        latents: Tensor = self.encoder(images)
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """Images ``(*batch, 28, 28)`` in (0, 1) of latents ``(*batch, d)``."""
        images: Tensor = self.decoder(latents.flatten(0, -2))
        return images.reshape(*latents.shape[:-1], SIDE, SIDE)


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
