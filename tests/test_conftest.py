"""The strict mode of conftest.py: a check that nobody runs must not look like one that passed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SKIPPED = "import pytest\n\ndef test_it():\n    pytest.skip('no tool')\n"
GPU = "import pytest\n\n@pytest.mark.gpu\ndef test_it():\n    pytest.skip('no device')\n"
MODULE = "import pytest\n\npytest.importorskip('a_package_that_is_not_there')\n"
XFAIL = "import pytest\n\n@pytest.mark.xfail\ndef test_it():\n    assert False\n"


def run(folder: Path, source: str, strict: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = gpu\n")
    (folder / "test_sample.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    environment = os.environ | {"SHOOTING_STRICT": strict}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("source", "strict", "passes"),
    [
        (SKIPPED, "0", True),
        (SKIPPED, "1", False),
        (MODULE, "1", False),
        (GPU, "1", True),
        (XFAIL, "1", True),
    ],
    ids=["lenient", "strict", "strict module", "gpu is exempt", "xfail is no skip"],
)
def test_strict_mode_turns_skips_into_failures(tmp_path, source, strict, passes):
    done = run(tmp_path, source, strict)
    assert (done.returncode == 0) == passes, done.stdout
    assert ("SHOOTING_STRICT" in done.stdout) == (not passes)
