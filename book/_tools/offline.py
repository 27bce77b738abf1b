"""Sphinx extension: pages without live-code buttons carry no trace of them.

Jupyter Book always loads `sphinx_thebe`, which writes a content-network address into every page
and, with the current theme, declares it twice: an error in the browser's console. The book runs
no code in the browser, so its listeners are removed before they act.
"""

from typing import Any


def _remove_thebe(app: Any) -> None:
    for listeners in app.events.listeners.values():
        listeners[:] = [one for one in listeners if one.handler.__module__ != "sphinx_thebe"]


def setup(app: Any) -> dict[str, bool]:
    """Register the extension."""
    app.connect("builder-inited", _remove_thebe)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
