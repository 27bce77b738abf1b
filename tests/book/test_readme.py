"""What README.md, CONTRIBUTING.md and the pages tell readers to type exists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import shooting

COMMAND = re.compile(r"(?:^|`)make (?!VENV)([a-z][\w./-]*)", re.MULTILINE)
TARGET = re.compile(r"^([a-z][\w -]*?):(?!=)", re.MULTILINE)


def commands(text: str) -> set[str]:
    """Targets of `make` in code spans and at the beginning of lines of code."""
    return set(COMMAND.findall(text))


def targets(makefile: str) -> set[str]:
    named = {name for line in TARGET.findall(makefile) for name in line.split()}
    listed = re.search(r"^FIGURES := (.*)$", makefile, re.MULTILINE)
    return named | set(listed.group(1).split() if listed else [])


@pytest.fixture(scope="module")
def texts(root) -> dict[str, str]:
    paths = [root / "README.md", root / "CONTRIBUTING.md", *sorted(root.glob("book/*.md"))]
    return {path.name: path.read_text(encoding="utf-8") for path in paths}


def test_every_command_has_a_target(root, texts):
    rules = (root / "Makefile", root / "book" / "book.mk")
    known = targets("\n".join(path.read_text(encoding="utf-8") for path in rules))
    unknown = {
        name: missing
        for name, text in texts.items()
        if (missing := {c for c in commands(text) if c not in known and "/" not in c})
    }
    assert unknown == {}


def test_the_readme_names_the_commands_a_reader_needs(texts):
    assert {"book", "check", "test", "page", "lab", "serve", "pdf", "fig2"} <= commands(
        texts["README.md"]
    )


def test_control_a_command_without_target_is_found():
    known = targets("A := b\nbook: x ## y\nfig2 other:\n\ttouch")
    assert known == {"book", "fig2", "other"}
    assert commands("```bash\nmake book  # x\nmake gone\n```\nand `make lost`, to make sure") == {
        "book",
        "gone",
        "lost",
    }


def ten_lines(text: str) -> str:
    """The block of Python below the heading of that name."""
    return re.search(r"^## In ten lines\n\n```python\n(.*?)^```$", text, re.M | re.S)[1]


def test_the_ten_lines_are_ten_and_run_as_they_stand(texts):
    lines = ten_lines(texts["README.md"])
    assert len([line for line in lines.splitlines() if line.strip()]) <= 10
    scope: dict[str, object] = {}
    exec(compile(lines, "README.md", "exec"), scope)
    assert scope["path"].shape == (10, 3, 20, 1)
    assert scope["loss"].shape == (10,)
    assert all(p.grad.abs().sum() > 0 for p in scope["model"].parameters())
    assert set(scope["theta"]) == set(scope["field"].shapes)
    assert torch.isfinite(scope["loss"]).all()


def test_the_ten_lines_run_in_a_fresh_interpreter(texts, tmp_path):
    """From another folder, with nothing imported or set before them."""
    lines = ten_lines(texts["README.md"]) + "\nprint(tuple(path.shape), tuple(loss.shape))\n"
    paths = [str(Path(shooting.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", lines],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.stdout, result.stderr) == ("(10, 3, 20, 1) (10,)\n", "")


def test_control_lines_that_need_more_do_not_run(texts):
    """As they once stood, without their data."""
    lines = re.sub(r"^x, times = .*\n", "", ten_lines(texts["README.md"]), flags=re.MULTILINE)
    with pytest.raises(NameError):
        exec(compile(lines, "README.md", "exec"), {})


def test_every_file_that_the_readme_names_exists(root, texts):
    named = re.findall(r"`((?:book|notebooks|shooting|tests)/[\w./]*)`", texts["README.md"])
    assert len(named) > 5
    assert [name for name in named if not (root / name).exists()] == []
