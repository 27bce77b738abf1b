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
STUDY = ("matplotlib", "seaborn", "PIL", "pandas", "yaml", "safetensors", "mlxtend")


class Classifier(torch.nn.Module):
    """A shooting block between two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.front = torch.nn.Linear(3, 2)
        self.block = shooting.DynamicParticles(shooting.UpDown(dim=2, inflation=4), particles=5)
        self.back = torch.nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores ``(n, 2)`` of points ``(n, 3)``."""
        return self.back(self.block(self.front(x), [0.0, 1.0])[-1])


def ten_steps() -> list[float]:
    """Losses of ten steps of Adam on two classes of random points."""
    torch.manual_seed(0)
    x, model = torch.randn(64, 3), Classifier()
    y = (x[:, 0] * x[:, 1] > 0).long()
    optimiser, losses = torch.optim.Adam(model.parameters(), lr=0.03), []
    for _ in range(10):
        loss = torch.nn.functional.cross_entropy(model(x), y) + 1e-3 * model.block.penalty()
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
