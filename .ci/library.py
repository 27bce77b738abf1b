"""What must hold where the library is installed with its base dependencies and nothing else.

Usage: python library.py ENVIRONMENT   (the folder of the virtual environment)
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import torch

import shooting

# But for filelock, scipy and sympy, which torch and torchdiffeq bring.
STUDY = ("matplotlib", "seaborn", "PIL", "pandas", "yaml", "safetensors", "mlxtend", "sklearn")


class Classifier(torch.nn.Module):
    """A block of convolutions between two layers of anyone's own."""

    def __init__(self) -> None:
        super().__init__()
        field = shooting.ConvUpDown(channels=2, inflation=2, sites=(6, 6))
        self.front = torch.nn.Conv2d(1, 2, 3, padding=1)
        self.block = shooting.DynamicParticles(field, particles=3)
        self.back = torch.nn.Linear(2 * 6 * 6, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Scores ``(n, 2)`` of images ``(n, 1, 6, 6)``."""
        end = self.block(self.front(images), [0.0, 1.0])[-1]
        return self.back(end.flatten(1))


def ten_steps() -> list[float]:
    """Losses of ten steps of Adam on images that are brighter on the left or on the right."""
    torch.manual_seed(0)
    images, model = torch.randn(64, 1, 6, 6), Classifier()
    bright = (images[..., :3].sum((1, 2, 3)) > images[..., 3:].sum((1, 2, 3))).long()
    optimiser, losses = torch.optim.Adam(model.parameters(), lr=0.03), []
    for _ in range(10):
        error = torch.nn.functional.cross_entropy(model(images), bright)
        loss = error + 1e-3 * model.block.penalty()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def require(holds: bool, expected: str, got: object) -> None:
    """Stop with a sentence, whatever Python does with assertions."""
    if not holds:
        sys.exit(f"expected {expected}, got {got}")


def main() -> None:
    """Check, and say what was checked in a line each."""
    where = Path(shooting.__file__).resolve()
    require(Path(sys.argv[1]).resolve() in where.parents, "the installed wheel", where)
    present = [name for name in STUDY if importlib.util.find_spec(name)]
    require(not present, "base dependencies only", present)
    print(f"shooting {shooting.__version__} is installed without the packages of the study")

    losses = ten_steps()
    require(losses[-1] < losses[0], "a loss that falls", losses)
    loaded = [name for name in (*STUDY, "shooting.study") if name in sys.modules]
    require(not loaded, "nothing of the study in memory", loaded)
    print(f"a block in a module trains: loss {losses[0]:.3f}, after ten steps {losses[-1]:.3f}")

    command = [sys.executable, "-m", "shooting", "status"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stderr.splitlines()
    require((done.returncode, len(said)) == (1, 1), "one sentence and status 1", done)
    print(f"a command of the study says: {said[0]}")


if __name__ == "__main__":
    main()
