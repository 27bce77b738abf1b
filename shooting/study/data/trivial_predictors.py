"""What bouncing balls cost without a network, and what others have published.

Each predictor returns the frames 3 to 12 of sequences whose frames 0 to 2 are known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shooting.study.data import bouncing_balls as balls
from shooting.study.data.bouncing_balls import BOX, RADIUS, draw, shrink, simulate
from shooting.study.data.rotating_mnist import ndimage

SEEN, STEPS = 3, 10
SIMULATION = "… and collisions: the simulation"
ALL_THREE = "… and frame 0: from all three"
FREE = "true velocities and walls, no collisions"
SOFTENED = "… shrunk and blurred"
TUNED = 600  # training sequences on which shrinkage and blur are fitted
WIDTHS = np.arange(0, 2.01, 0.05)  # of the blur, in pixels
PENALTIES = (1.0, 10.0, 100.0, 1000.0)
PART = 500  # sequences turned into numbers at a time


def copy_last(seen: np.ndarray) -> np.ndarray:
    """The last known frame, ten times; known frames ``(n, 3, side, side)``."""
    return np.repeat(seen[:, -1:], STEPS, axis=1)


def straight(x: np.ndarray, *, walls: bool = False) -> np.ndarray:
    """Frames of balls that fly straight on, by the true positions of frames 1 and 2.

    The velocity is the difference of the two; it is wrong after a bounce between them. `fold` puts
    the turn at a wall where the ball touches it, the simulation at the end of half a time unit.

    Args:
        x: Positions of the known frames ``(n, 3, balls, 2)``.
        walls: Whether they bounce off walls (never off each other); else they leave the box.

    Returns:
        Frames ``(n, 10, 28, 28)``.
    """
    times = np.arange(1, STEPS + 1)[:, None, None]
    places = x[:, 2, None] + times * (x[:, 2] - x[:, 1])[:, None]
    return picture(fold(places) if walls else places)


def fold(z: np.ndarray) -> np.ndarray:
    """Coordinates mirrored at the walls until they lie between them."""
    width = BOX - 2 * RADIUS
    return RADIUS + width - np.abs((z - RADIUS) % (2 * width) - width)


def free_flight(x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The simulation without collisions: each ball flies alone between the walls.

    Args:
        x: True positions at frame 2, ``(n, balls, 2)``.
        v: True velocities at frame 2, likewise.

    Returns:
        Frames ``(n, 10, 28, 28)``, exact as long as no two balls meet.
    """
    return picture(alone(x, v))


def alone(x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Paths ``(n, 10, balls, 2)`` of `free_flight`, from positions and velocities at frame 2."""
    paths = simulate(x[:, :, None], v[:, :, None], STEPS + 1)[0]  # scene, ball, frame, 1, 2
    found: np.ndarray = paths[:, :, 1:, 0].swapaxes(1, 2)
    return found


def simulated(x: np.ndarray) -> np.ndarray:
    """The true dynamics, continued from the true positions of frames 1 and 2.

    What is missed are bounces between these two frames alone: their difference is then not the
    velocity.

    Args:
        x: Positions of the known frames ``(n, 3, balls, 2)``.

    Returns:
        Frames ``(n, 10, 28, 28)``.
    """
    return picture(simulate(x[:, 2], x[:, 2] - x[:, 1], STEPS + 1)[0][:, 1:])


def simulated_from_three(x: np.ndarray) -> np.ndarray:
    """The true dynamics, continued from the true positions of all known frames.

    Where the simulation started from frames 0 and 1 arrives at frame 2, their difference was the
    velocity and it goes on; elsewhere it starts from frames 1 and 2. Only scenes that bounce
    between either pair are missed.

    Args:
        x: Positions of the known frames ``(n, 3, balls, 2)``.

    Returns:
        Frames ``(n, 10, 28, 28)``.
    """
    early = simulate(x[:, 1], x[:, 1] - x[:, 0], STEPS + 2)[0]
    late = simulate(x[:, 2], x[:, 2] - x[:, 1], STEPS + 1)[0]
    # rounding, amplified by a collision or two; a missed bounce is off by far more
    arrived = np.abs(early[:, 1] - x[:, 2]).max((1, 2)) < 1e-9
    return picture(np.where(arrived[:, None, None, None], early[:, 2:], late[:, 1:]))


def picture(x: np.ndarray) -> np.ndarray:
    """Frames ``(n, times, 28, 28)`` of positions ``(n, times, balls, 2)``."""
    return np.stack([shrink(draw(one)) for one in x])


# --- softened ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Softening:
    """Frames blurred, and then shrunk toward a mean frame, by two numbers a step.

    A guess that may be wrong has less squared error if it is closer to the mean, whatever it knows.

    Attributes:
        mean: Mean frames ``(10, side, side)``.
        widths: Standard deviations of the Gaussian blur in pixels, ``(10,)``.
        shares: What is kept of the distance from the mean frame, ``(10,)``.
    """

    mean: np.ndarray
    widths: np.ndarray
    shares: np.ndarray

    @classmethod
    def fitted(cls, guess: np.ndarray, truth: np.ndarray, mean: np.ndarray) -> Softening:
        """The least squares over given frames.

        Args:
            guess: Frames of a predictor, ``(n, 10, side, side)``.
            truth: What they should have been, likewise.
            mean: Mean frames ``(10, side, side)``.

        Returns:
            Per step the width among `WIDTHS`, and its best share.
        """
        asked = truth - mean
        fits = []
        for width in WIDTHS:
            apart = blurred(guess, width) - mean
            shares = (apart * asked).sum((0, 2, 3)) / (apart**2).sum((0, 2, 3))
            fits.append((step_errors(shares[:, None, None] * apart, asked), shares))
        errors, shares = (np.stack(part) for part in zip(*fits, strict=True))
        best = errors.argmin(0)
        return cls(mean, WIDTHS[best], shares[best, np.arange(STEPS)])

    def __call__(self, guess: np.ndarray) -> np.ndarray:
        """Frames ``(n, 10, side, side)``, softened."""
        softer = [blurred(guess[:, k], width) for k, width in enumerate(self.widths)]
        apart = np.stack(softer, axis=1) - self.mean
        found: np.ndarray = self.mean + self.shares[:, None, None] * apart
        return found


def blurred(frames: np.ndarray, width: float) -> np.ndarray:
    """Gaussian blur ``(..., side, side)`` by `width` pixels; beyond the edge it is dark."""
    found: np.ndarray = ndimage().gaussian_filter(
        frames, width, mode="constant", axes=(-2, -1), radius=frames.shape[-1]
    )
    return found


def free_guesses(fitted: np.ndarray, test: int) -> dict[str, np.ndarray]:
    """Flight without collisions, and the same softened, on test sequences.

    Args:
        fitted: Training sequences ``(m, 20, 28, 28)``, uint8; the first `TUNED` tune the softening.
        test: Test sequences.

    Returns:
        Frames ``(test, 10, 28, 28)`` by name.
    """
    last = SEEN - 1
    mean, tuned = fitted[:, SEEN : SEEN + STEPS].mean(0) / 255, fitted[:TUNED]
    flights = [
        free_flight(*(part[:, last] for part in balls.trajectories(split, count)))
        for split, count in (("train", len(tuned)), ("test", test))
    ]
    soften = Softening.fitted(flights[0], tuned[:, SEEN : SEEN + STEPS] / 255, mean)
    return {FREE: flights[1], SOFTENED: soften(flights[1])}


# --- ridge ---------------------------------------------------------------------------------


def ridge(train: np.ndarray, validation: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Affine maps from the pixels of three frames to those of the next ten.

    Args:
        train: Sequences to fit, ``(m, 20, side, side)``, uint8.
        validation: Sequences that choose the penalty among `PENALTIES`, for each step, uint8.
        seen: Known frames ``(n, 3, side, side)`` in [0, 1].

    Returns:
        Frames ``(n, 10, side, side)``.
    """
    asked, truth = (validation[:, part] / 255 for part in (slice(SEEN), slice(SEEN, SEEN + STEPS)))
    guesses = np.stack(list(_ridges(train, np.concatenate([asked, seen]))))
    tried, found = guesses[:, : len(asked)], guesses[:, len(asked) :]
    best = step_errors(tried, truth).argmin(0)
    return np.stack([found[best[k], :, k] for k in range(STEPS)], axis=1)


def _ridges(train: np.ndarray, seen: np.ndarray) -> Iterator[np.ndarray]:
    """Predictions for each penalty, from normal equations that are summed over parts of the data.

    So the memory does not grow with the number of sequences, but for their bytes.
    """
    flat = train[:, : SEEN + STEPS].reshape(len(train), -1)
    known = train[0, :SEEN].size
    centre = flat.mean(0) / 255
    square, mixed = np.zeros((known, known)), np.zeros((known, len(centre) - known))
    for part in np.array_split(flat, math.ceil(len(flat) / PART)):
        rows, answers = np.split(part / 255 - centre, [known], axis=1)
        square += rows.T @ rows
        mixed += rows.T @ answers
    values, vectors = np.linalg.eigh(square)
    coordinates = (seen.reshape(len(seen), -1) - centre[:known]) @ vectors
    weights = vectors.T @ mixed
    for penalty in PENALTIES:
        guess = centre[known:] + (coordinates / (values + penalty)) @ weights
        yield guess.reshape(len(seen), STEPS, *train.shape[2:])


# --- errors --------------------------------------------------------------------------------


def step_errors(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean squared error per pixel of each step, ``(..., n, 10, side, side)`` to ``(..., 10)``."""
    found: np.ndarray = ((predicted - truth) ** 2).mean((-1, -2)).mean(-2)
    return found


def ridge_errors(train: int = 2000, test: int = 500) -> np.ndarray:
    """Test error per step of the ridge alone, ``(10,)``, from as many training sequences."""
    fitted, chosen = balls.sequences("train", train), balls.sequences("validation", 100)
    tested = balls.sequences("test", test) / 255
    guess = ridge(fitted, chosen, tested[:, :SEEN])
    return step_errors(guess, tested[:, SEEN : SEEN + STEPS])


def trivial_errors(train: int = 2000, test: int = 500) -> dict[str, np.ndarray]:
    """Test error per step of predictors without a network.

    Args:
        train: Training sequences.
        test: Test sequences.

    Returns:
        Errors ``(10,)`` by name. The last six know what no network is told: four the true positions
        of the known frames, two the true positions and velocities at the last of them.
    """
    fitted = balls.sequences("train", train)
    tested = balls.sequences("test", test) / 255
    seen, truth = tested[:, :SEEN], tested[:, SEEN : SEEN + STEPS]
    x = balls.trajectories("test", test)[0][:, :SEEN]
    untold = {
        "mean frame": fitted[:, SEEN : SEEN + STEPS].mean(0)[None] / 255,
        "copy of the last frame": copy_last(seen),
    }
    told = {
        "straight on from two true positions": straight(x),
        "… and walls": straight(x, walls=True),
        SIMULATION: simulated(x),
        ALL_THREE: simulated_from_three(x),
    } | free_guesses(fitted, test)
    errors = {name: step_errors(guess, truth) for name, guess in untold.items()}
    errors[f"ridge on the pixels of {train} sequences"] = ridge_errors(train, test)
    return errors | {name: step_errors(guess, truth) for name, guess in told.items()}


# --- published -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Published:
    """An error that others have printed, on the authors' balls.

    Attributes:
        mean: Over the ten steps.
        steps: Per step, where it was printed.
        source: Where.
        ours: Whether it is a run of the method of this book.
    """

    mean: float
    steps: Sequence[float] = ()
    source: str = ""
    ours: bool = False


_NOTEBOOK = "the authors' notebook, quoting ODE2VAE's"
PUBLISHED: Mapping[str, Published] = {
    "ODE2VAE": Published(
        0.0093,
        (0.0032, 0.0037, 0.0046, 0.0058, 0.0070, 0.0087, 0.0108, 0.0134, 0.0163, 0.0197),
        _NOTEBOOK,
    ),
    "dynamic with particles": Published(
        0.0146,
        (0.0043, 0.0052, 0.0066, 0.0086, 0.0111, 0.0142, 0.0176, 0.0216, 0.0260, 0.0306),
        "Fig. 5, as quoted in Corbett and Kangin's repository",
        ours=True,
    ),
    "static with particles": Published(0.0150, source="Section 4", ours=True),
    "static direct": Published(0.0154, source="Section 4", ours=True),
    "dynamic with particles, d = 40": Published(
        0.0166,
        (0.0058, 0.0066, 0.0078, 0.0098, 0.0126, 0.0160, 0.0197, 0.0242, 0.0291, 0.0344),
        "the authors' own re-run",
        ours=True,
    ),
    "DDPAE": Published(
        0.0242,
        (0.0105, 0.0132, 0.0162, 0.0192, 0.0221, 0.0252, 0.0285, 0.0318, 0.0355, 0.0400),
        _NOTEBOOK,
    ),
    "DTSBN-S": Published(
        0.0732,
        (0.0067, 0.0182, 0.0337, 0.0506, 0.0683, 0.0849, 0.0996, 0.1126, 0.1237, 0.1333),
        _NOTEBOOK,
    ),
}
