"""The page on learning knows every chapter, and the list of questions every open question."""

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
