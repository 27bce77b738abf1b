"""The study where its files or its packages are missing, as in a wheel: one sentence a command."""

from __future__ import annotations

import subprocess
import sys

import pytest

from shooting.study import paths
from shooting.study.cli import main
from shooting.study.paths import NotInCheckoutError

TRAIN = ["run", "--experiment", "regression", "--profile", "quick"]
COMMANDS = [TRAIN, ["verify"], ["status"], ["figure", "fig2"], ["new", "double_well"]]
SENTENCE = r"^expected book/\S+ beside the package, found none in .*; the study needs a checkout"
BARE = """
import sys
sys.modules[{missing!r}] = None  # import then fails as if it were not installed
sys.argv = ["shooting", *{command!r}]
from shooting.__main__ import main
sys.exit(main())
"""


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """No book beside the package, and no folder of the user's own instead."""
    monkeypatch.setattr(paths, "CHECKOUT", tmp_path)
    monkeypatch.delenv("SHOOTING_RECORDS", raising=False)
    monkeypatch.setenv("SHOOTING_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("SHOOTING_FIGDIR", str(tmp_path / "figures"))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_command_without_its_files_is_one_sentence(wheel, command, capsys):
    with pytest.raises(SystemExit, match=SENTENCE) as ended:
        main(command)
    assert "\n" not in str(ended.value)
    assert capsys.readouterr().err == ""


def test_control_other_missing_files_are_no_such_sentence(wheel, monkeypatch):
    """Only this error is turned into advice about checkouts; any other keeps its traceback."""

    def broken():
        raise FileNotFoundError("something else")

    monkeypatch.setattr("shooting.study.records.store.records_folder", broken)
    with pytest.raises(FileNotFoundError, match="something else") as raised:
        main(["status"])
    assert not isinstance(raised.value, NotInCheckoutError)


def test_tables_need_no_files(wheel, capsys):
    assert main(["figure", "tab1"]) == 0
    assert "dynamic direct" in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["seaborn", "pandas"])
def test_a_command_without_its_packages_is_one_sentence(missing):
    code = BARE.format(missing=missing, command=["figure", "fig2"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith(f"expected the packages of the study, but '{missing}' is not")
    assert "pip install -e '.[study]'" in sentence


def test_control_a_missing_part_of_the_package_itself_keeps_its_traceback():
    code = BARE.format(missing="shooting.study.cli", command=["status"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
