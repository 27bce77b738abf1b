"""Tables on a phone: each cell knows its column; what cannot be told apart stays a table."""

from __future__ import annotations

import pytest
import tables

HEAD = "<thead><tr><th>model</th><th>loss</th><th>runs that <b>fit</b></th></tr></thead>"
ROW = "<tr><th>dynamic</th><td>0.3</td><td>{}</td></tr>"


def table(head: str = HEAD, *rows: str) -> str:
    return f'<table class="dataframe">{head}<tbody>{"".join(rows)}</tbody></table>'


def test_cells_know_their_columns():
    found = tables.labelled(table(HEAD, ROW.format("$a < b$ &amp; 4")))
    assert '<th data-label="model">dynamic</th>' in found
    assert '<td data-label="runs that fit">$a &lt; b$ &amp; 4</td>' in found
    assert 'class="dataframe cards"' in found


def test_a_formula_in_the_head_stays_one_and_no_target_stands_twice():
    formula = '<i class="math" id="b">\\(H\\)</i>'
    head = f'<thead><tr><th id="a"><p>{formula}</p></th><th></th></tr></thead>'
    found = tables.labelled(table(head, "<tr><td>1</td><td>2</td></tr>"))
    name = '<span class="column" hidden=""><i class="math">\\(H\\)</i></span>'
    assert f"<td>{name}1</td><td>2</td>" in found
    assert found.count('id="b"') == 1


@pytest.mark.parametrize(
    "left",
    [
        table("", ROW),
        table("<thead><tr><th>a</th></tr></thead>", "<tr><td>1</td></tr>"),
        table(HEAD, "<tr><td colspan='3'>all</td></tr>"),
        table(f"<thead>{2 * '<tr><th>a</th><th>b</th><th>c</th></tr>'}</thead>", ROW),
    ],
    ids=["no head", "one column", "merged cells", "two heads"],
)
def test_other_tables_stay_as_they_are(left):
    assert tables.labelled(left) == left


def test_each_table_of_a_page_is_labelled_for_itself():
    body = f"<p>x</p>{table(HEAD, ROW)}<p>y</p>{table(HEAD, ROW)}"
    context = {"body": body}
    tables._label(None, "", "", context, None)
    assert context["body"].count("cards") == 2
    assert context["body"].startswith("<p>x</p><table")
