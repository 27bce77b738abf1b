"""The two test files of MNIST, fetched once and checked: nothing else here asks a network."""

from __future__ import annotations

import hashlib
import http.client
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from shooting.errors import MissingDataError
from shooting.study.storage import atomic_write

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
FILES = {  # sha256 of the files as they are published
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
PATIENCE = 60.0  # seconds without an answer


def fetch_mnist(folder: Path, *, mirrors: Sequence[str] = MIRRORS) -> list[Path]:
    """Bring the two files into a folder, unless they are there.

    Args:
        folder: Where `shooting.study.data.rotating_mnist` looks for them: ``$SHOOTING_DATA``.
        mirrors: Addresses of folders that have the files, tried one after the other.

    Returns:
        The files that were missing or other than published, and are right now.

    Raises:
        MissingDataError: If no mirror has a file as it was published.
    """
    return [folder / name for name in FILES if _bring(folder / name, mirrors)]


def _bring(path: Path, mirrors: Sequence[str]) -> bool:
    if path.exists() and _is_published(path.name, path.read_bytes()):
        return False
    heard = []
    for mirror in mirrors:
        try:
            with urllib.request.urlopen(f"{mirror}{path.name}", timeout=PATIENCE) as answer:
                data = answer.read()
        # no network, no such file, no answer or half of one: the next may do better
        except (OSError, http.client.HTTPException) as error:
            heard.append(f"{mirror}: {error}")
            continue
        if _is_published(path.name, data):
            atomic_write(path, data)
            return True
        heard.append(f"{mirror}: other content")
    raise MissingDataError(
        f"expected {path.name} from one of {len(mirrors)} mirrors, got nothing that will do "
        f"({'; '.join(heard)}); put the file into {path.parent} by hand"
    )


def _is_published(name: str, data: bytes) -> bool:
    return hashlib.sha256(data).hexdigest() == FILES[name]
