"""Pages mended after the build: wide tables, glued numbers, punctuation beside formulas."""

from __future__ import annotations

import accessible
import pytest


@pytest.mark.parametrize(
    ("written", "mended"),
    [
        ('<table class="dataframe">', '<table tabindex="0" class="dataframe">'),
        (
            '<table border="1" class="a dataframe texts" id="t">',
            '<table tabindex="0" border="1" class="a dataframe texts" id="t">',
        ),
        ('<table class="dataframes">', '<table class="dataframes">'),  # another class
        ('<table class="docutils">', '<table class="docutils">'),
        ('<div role="list" class="citation-list">', '<div class="citation-list">'),
        ('<div role="list" class="other">', '<div role="list" class="other">'),
        ('<summary aria-label="Toggle hidden content">', "<summary>"),
    ],
)
def test_wide_tables_are_reached_by_keyboard_and_roles_are_true(written, mended):
    assert accessible.mend(written) == mended
    assert accessible.mend(mended) == mended


@pytest.mark.parametrize(
    ("glued", "shown"),
    [
        ("7.4e-05", "7.4&nbsp;·&nbsp;10<sup>−5</sup>"),
        ("-1.2e+10", "−1.2&nbsp;·&nbsp;10<sup>10</sup>"),
        ("1e-05", "10<sup>−5</sup>"),
        ("0.39", "0.39"),
        ("release-1e-05", "release-1e-05"),
    ],
)
def test_glued_numbers_are_written_as_people_write_them(glued, shown):
    before, after = '<span class="pasted-text">', "</span>"
    assert accessible.mend(f"{before}{glued}{after}") == f"{before}{shown}{after}"
    assert accessible.mend(f"<code>{glued}</code>") == f"<code>{glued}</code>"  # not in listings


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{}.", "«{}.»"),
        ("{}, so", "«{},» so"),
        ("of ({}) only", "of «({})» only"),
        ("[{} or", "«[{}» or"),
        ("{}-fold", "«{}-»fold"),
        ("for {0} and {0}.", "for {0} and «{0}.»"),
        ("<em>on {}</em>: then", "<em>on {}</em>&#8288;: then"),
        ("{}<em>: then</em>", "{}&#8288;<em>: then</em>"),
    ],
)
def test_no_line_breaks_between_a_formula_and_its_punctuation(before, after):
    formula = r'<span class="math notranslate nohighlight">\(t\)</span>'
    held = after.replace("«", '<span class="unbroken">').replace("»", "</span>")
    assert accessible.mend(before.format(formula)) == held.format(formula)
    assert accessible.mend(f"for {formula} small") == f"for {formula} small"  # words may part
