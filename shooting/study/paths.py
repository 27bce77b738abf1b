"""Where the study keeps its files; and the table of all environment variables.

======================  =================================================  ========================
variable                what it sets                                       without it
======================  =================================================  ========================
``SHOOTING_STATE``      folder of checkpoints, local records, made data    ``CACHE/state``
``SHOOTING_RECORDS``    folder of the committed records                    ``book/records``
``SHOOTING_DATA``       folder of files that no package ships (MNIST)      none; make: ``data``
``SHOOTING_FIGDIR``     folder that figures are written to                 figures are only shown;
                                                                           command: ``figures``
``FRESH``               a day or moment (UTC): what was begun before it    everything recorded
                        does not count as trained                          counts
``SHOOTING_ROUTE``      route of a solve wherever it applies, for          the fastest that applies
                        ``route="auto"``
``SHOOTING_THREADS``    threads of a compiled solve                        as many as PyTorch's
``SHOOTING_CACHE``      folder of the compiled library                     ``CACHE``
``CC``                  C compiler, with options if need be                ``cc``
``XDG_CACHE_HOME``      the user's cache folder; ``CACHE`` is              ``~/.cache``, macOS:
                        ``shooting`` in it                                 ``~/Library/Caches``
``OMP_NUM_THREADS``     threads of NumPy, for ``python -m shooting``       1, as last bits need it
======================  =================================================  ========================

Tests know three more: ``SHOOTING_STRICT`` (a skipped test fails), ``SHOOTING_SITE`` (the built
book) and ``SHOOTING_KILLS`` (how often a sweep is killed).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from shooting.environment import NoHomeError, cache_folder, variable

PACKAGE = Path(__file__).resolve().parents[1]
CHECKOUT = PACKAGE.parent


class NotInCheckoutError(FileNotFoundError):
    """The study's own files are not beside the package, as after installing a wheel."""


def state_folder() -> Path:
    """Checkpoints and local records: ``$SHOOTING_STATE``, or the user's cache folder.

    Raises:
        NoHomeError: If there is neither.
    """
    chosen = variable("SHOOTING_STATE")
    return Path(chosen) if chosen else cache_folder("SHOOTING_STATE") / "state"


def book_file(name: str) -> Path:
    """A file of the folder ``book`` of the checkout.

    Raises:
        NotInCheckoutError: If there is none, because the package was installed without the book.
    """
    path = CHECKOUT / "book" / name
    if not path.exists():
        raise NotInCheckoutError(
            f"expected book/{name} beside the package, found none in {CHECKOUT}; the study needs a "
            "checkout of the repository: install from there with pip install -e '.[study]'"
        )
    return path


def records_folder() -> Path:
    """Committed records: ``$SHOOTING_RECORDS``, or ``book/records`` of the checkout.

    Raises:
        NotInCheckoutError: If there is neither.
    """
    chosen = variable("SHOOTING_RECORDS")
    return Path(chosen) if chosen else book_file("records")


def data_folder() -> Path | None:
    """Files that no package ships: ``$SHOOTING_DATA``; None if it is not set."""
    chosen = variable("SHOOTING_DATA")
    return Path(chosen) if chosen else None


def figures_folder() -> Path | None:
    """Where figures are written: ``$SHOOTING_FIGDIR``; None if they are only shown."""
    chosen = variable("SHOOTING_FIGDIR")
    return Path(chosen) if chosen else None


def setting_of(path: Path, given: Path | None = None) -> str:
    """What to set so that a file comes to lie elsewhere, for an error.

    Args:
        path: The file.
        given: The folder that the option ``--out`` names.

    Returns:
        Name of a variable or of the option; the state folder's where no folder fits.
    """
    file = path.absolute()
    known = [(folder.absolute(), name) for name, folder in _places(given)]
    inside = [pair for pair in known if file.is_relative_to(pair[0])]
    above = [pair for pair in known if pair[0].is_relative_to(file)]  # it could not be made
    found = max(inside, key=lambda pair: len(pair[0].parts), default=None)
    return (found or next(iter(above), (None, "SHOOTING_STATE")))[1]


def _places(given: Path | None) -> Iterator[tuple[str, Path]]:
    if given is not None:
        yield "--out (make: OUT)", given
    try:
        yield "SHOOTING_STATE", state_folder()
        yield "SHOOTING_CACHE", cache_folder("SHOOTING_CACHE")
    except NoHomeError:
        pass
    yield "SHOOTING_RECORDS", Path(variable("SHOOTING_RECORDS") or CHECKOUT / "book" / "records")
    yield "SHOOTING_FIGDIR", figures_folder() or Path("figures")
    yield "TMPDIR", Path(tempfile.gettempdir())
    if (folder := data_folder()) is not None:
        yield "SHOOTING_DATA", folder
