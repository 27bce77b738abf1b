"""Sphinx extension: what libraries write into pages, made fit for keyboards, readers, phones."""

import re
from typing import Any

# Wide tables scroll sideways in a box of their own: by keyboard only if the box can be reached.
_TABLE = re.compile(r'<table (?=[^>]*class="(?:[^"]* )?dataframe[ "])(?![^>]*tabindex)')
# A list that has links back to the text among its children is none in the sense of ARIA.
_CITATIONS = re.compile(r'(<div )role="list" (class="citation-list")')
# A drawn formula is a box, and a line may break beside any box: even before a comma.
_FORMULA = r'<span class="math notranslate nohighlight">(?:(?!</span>).)*</span>'
_MARKS = r"[,.;:!?)\]’-]"
_WITH_MARKS = re.compile(rf"[(\[]+{_FORMULA}{_MARKS}*|{_FORMULA}{_MARKS}+")
_EMPHASISED = re.compile(rf"{_FORMULA}(?:</em>(?={_MARKS})|(?=<em>{_MARKS}))")
_WORD_JOINER = "&#8288;"
# The line that folds code says what is inside; a label for all of them would hide that.
_FOLDED = re.compile(r'(<summary) aria-label="Toggle hidden content"')
_POWER = re.compile(r'(?<=<span class="pasted-text">)(-?[\d.]+)e([+-]\d+)(?=</span>)')


def mend(body: str) -> str:
    """The HTML of a page with what libraries left undone.

    Wide tables come within reach of the Tab key, roles are true, no comma stands alone on a line,
    and glued numbers are written as people write them.

    Args:
        body: HTML.

    Returns:
        HTML.
    """
    body = _TABLE.sub('<table tabindex="0" ', body)
    body = _WITH_MARKS.sub(r'<span class="unbroken">\g<0></span>', body)
    body = _EMPHASISED.sub(rf"\g<0>{_WORD_JOINER}", body)
    body = _POWER.sub(_in_powers_of_ten, body)
    body = _FOLDED.sub(r"\1", body)
    return _CITATIONS.sub(r"\1\2", body)


def _in_powers_of_ten(number: re.Match[str]) -> str:
    mantissa, exponent = number[1].replace("-", "−"), str(int(number[2])).replace("-", "−")
    factor = "" if mantissa == "1" else f"{mantissa}&nbsp;·&nbsp;"
    return f"{factor}10<sup>{exponent}</sup>"


def _mend_page(_app: Any, _page: str, _template: str, context: dict[str, Any], _tree: Any) -> None:
    if "body" in context:
        context["body"] = mend(context["body"])


def setup(app: Any) -> dict[str, bool]:
    """Register the extension."""
    app.connect("html-page-context", _mend_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
