"""The page on learning knows every chapter, and the list of questions every open question."""

import re

import front
import yaml

from shooting.study.claims.items import load_items

AROUND = {"notebooks/41_map", "notebooks/42_report"}  # pages about the book, without objectives


def chapters(root) -> list[str]:
    toc = yaml.safe_load((root / "book" / "_toc.yml").read_text(encoding="utf-8"))
    files = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    return [f for f in files if f.startswith("notebooks/") and f not in AROUND]


def missing(text: str, names: list[str]) -> list[str]:
    rows = [line for line in text.splitlines() if line.startswith("| {doc}`/")]
    return [n for n in names if not any(row.startswith(f"| {{doc}}`/{n}` |") for row in rows)]


def test_every_chapter_has_its_objective(root):
    text = (root / "book" / "learning.md").read_text(encoding="utf-8")
    assert missing(text, chapters(root)) == []


def test_control_a_missing_chapter_is_found():
    assert missing("| {doc}`/notebooks/a` | x |", ["notebooks/a", "notebooks/b"]) == ["notebooks/b"]


DOC = re.compile(r"\{doc\}`/notebooks/\d+_(\w+)`")
MINUTES = re.compile(r"minutes\.(\w+)")


def lectures(text: str) -> dict[int, tuple[list[str], list[str]]]:
    """For each lecture the chapters it asks to read, and those whose minutes are added up."""
    parts = re.split(r"^## Lecture (\d)\. .*$|^## (?!Lecture).*$", text, flags=re.M)
    table = {int(n): MINUTES.findall(row) for n, row in re.findall(r"`(\d)\. (.*)\|$", text, re.M)}
    found = {}
    for number, body in zip(parts[1::2], parts[2::2], strict=True):
        if number:
            (read,) = [line for line in body.splitlines() if line.startswith("**Read**")]
            found[int(number)] = DOC.findall(read.partition("further:")[0]), table[int(number)]
    return found


def test_six_lectures_have_chapters_their_minutes_exercises_and_a_figure(root):
    text = (root / "book" / "learning.md").read_text(encoding="utf-8")
    found = lectures(text)
    assert sorted(found) == [1, 2, 3, 4, 5, 6]
    assert all(chapters == added for chapters, added in found.values())
    assert text.count("**Exercises.**") == text.count('class="thumb"') == len(found)
    theory = [name for chapters, _ in found.values() for name in chapters]
    assert len(theory) == len(set(theory))
    assert set(list(front.chapters(root / "book" / "_toc.yml"))[:9]) <= set(theory)


def test_control_minutes_of_another_chapter_are_found():
    text = (
        "| {ref}`1. A <l>` | 1 | {{ minutes.b }} |\n## Lecture 1. A\n"
        "**Read** {doc}`/notebooks/01_a`.\n## Else\n"
    )
    assert lectures(text) == {1: (["a"], ["b"])}


def test_minutes_are_those_of_the_pages_and_numbers_those_of_the_contents(root):
    minutes = front.minutes(root / "notebooks")
    assert set(minutes) == {p.stem.partition("_")[2] for p in root.glob("notebooks/*.ipynb")}
    assert min(minutes.values()) >= 5
    numbers = front.chapters(root / "book" / "_toc.yml")
    assert list(numbers.values()) == [*range(1, 24)]
    assert (numbers["discrete_convolutional"], numbers["convex_trap"], numbers["own_model"]) == (
        9,
        11,
        20,
    )
    assert "claims" not in numbers  # control: the audit is not numbered


def test_every_open_question_is_answered_on_its_page(root):
    text = (root / "book" / "open_questions.md").read_text(encoding="utf-8")
    places = [s for i in load_items() if i.kind == "question" for s in i.see]
    named = {s.partition("#")[2] for s in places if s.startswith("book/open_questions#")}
    assert len(named) == 9
    assert all(f"(open-{name})=" in text for name in named)


def test_the_glossary_is_in_order(root):
    lines = (root / "book" / "glossary.md").read_text(encoding="utf-8").splitlines()
    terms = [a for a, b in zip(lines, lines[1:], strict=False) if b.startswith(": ")]
    assert len(terms) > 40
    assert terms == sorted(terms, key=str.lower)
