"""The reference of the package: every public name is on it and described, from its docstring."""

from __future__ import annotations

import re

import docstrings
import html_checks as checks
import pytest
from bs4 import BeautifulSoup

import shooting


@pytest.fixture(scope="module")
def page(site) -> BeautifulSoup:
    return checks.parse(site / "book" / "api.html")


@pytest.fixture(scope="module")
def source(root) -> str:
    return (root / "book" / "api.md").read_text(encoding="utf-8")


def described(page: BeautifulSoup) -> dict[str, str]:
    """What the page says of each name that has an entry: the text under its first line."""
    entries = page.select("dl.py > dt[id]")
    said = {dt["id"]: dt.find_next_sibling("dd") for dt in entries}
    return {name: dd.get_text(" ", strip=True) if dd else "" for name, dd in said.items()}


def undescribed(page: BeautifulSoup, names: list[str]) -> list[str]:
    known = described(page)
    return [name for name in names if not known.get(f"shooting.{name}")]


def test_every_public_name_is_described(page):
    assert undescribed(page, shooting.__all__) == []


def test_control_a_name_without_words_is_found():
    built = broken_page('<dt id="shooting.a"></dt><dd><p>words</p></dd>')
    assert undescribed(built, ["a"]) == []
    assert undescribed(built, ["a", "b"]) == ["b"]
    assert undescribed(broken_page('<dt id="shooting.a"></dt><dd> </dd>'), ["a"]) == ["a"]


def broken_page(entry: str) -> BeautifulSoup:
    return BeautifulSoup(f'<article><dl class="py">{entry}</dl></article>', "html.parser")


def test_every_entry_is_described_in_words(page):
    """A class and each of its members: an empty entry tells a reader nothing."""
    empty = [name for name, words in described(page).items() if len(words) < 10]
    assert empty == []


def test_the_descriptions_are_the_docstrings(page):
    first = (shooting.shoot.__doc__ or "").partition("\n")[0]
    plain = re.sub(r"\W+", " ", first).strip()
    assert plain in re.sub(r"\W+", " ", described(page)["shooting.shoot"])


def test_the_summaries_list_what_follows_them(source):
    listed = re.findall(r"^   ~(\S+)$", source, re.MULTILINE)
    directive = r"^\.\. auto(?:class|function|exception):: (\S+)$"
    documented = re.findall(directive, source, re.MULTILINE)
    assert len(documented) > len(shooting.__all__)
    assert listed == documented


def test_no_markup_is_left_of_the_docstrings(page):
    article = page.find("article")
    assert not re.search(r"``|:py:\w+:|:param |\\\*|\\_|<shooting", article.get_text())


def test_nothing_of_the_machinery_shows(page):
    text = page.find("article").get_text()
    assert "Alias for field number" not in text  # a named tuple's, one per field
    assert "<lambda>" not in text
    assert "x=uniform(…)" in text  # what stands there instead
    # `squared` names a result, it is no type
    assert "squared" not in {
        dd.get_text(strip=True) for dd in page.select("dl.field-list > dd > p")
    }


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("DynamicParticles", "ParticleInit"),  # a type beside an argument
        ("DynamicParticles", "Parametrization"),  # a name in a docstring
        ("Parametrization", "Solver"),
    ],
)
def test_names_of_the_package_are_links(page, name, target):
    entry = page.find("dt", id=f"shooting.{name}").find_next_sibling("dd")
    links = {a["href"] for a in entry.select("li a.reference.internal")}
    assert f"#shooting.{target}" in links


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("the norm |lift|^2 / 2", r"the norm \|lift\|^2 / 2"),
        ("a * b and x_ of `shape`", r"a \* b and x\_ of ``shape``"),
        ("see `Solver` or ``a * |b|``", "see :py:obj:`Solver <shooting.Solver>` or ``a * |b|``"),
        ("Args:\n    **common: all\n", "Args:\n    **common: all\n"),  # napoleon reads these
        ("* one\n* two", "* one\n* two"),
        ("theta_b, momentum_scale", "theta_b, momentum_scale"),
        (r"the feature $\varphi_b(z)$ of a term", r"the feature :math:`\varphi_b(z)` of a term"),
        ("    $$a = b,\n    c$$\n", "    .. math::\n\n       a = b, c\n\n"),
        ("in ``$SHOOTING_DATA`` or $HOME", "in ``$SHOOTING_DATA`` or $HOME"),
    ],
)
def test_plain_text_becomes_sound_markup(text, wanted):
    assert docstrings.sound(text, ["shooting.Solver"]) == wanted
