"""The plotting style and figure files: complete or absent, and the same bytes every time."""

from __future__ import annotations

import itertools
import re
from io import BytesIO

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogFormatter
from PIL import Image

from shooting.study.experiments.models import MODELS
from shooting.study.figures import MODEL_COLOURS, PALETTE, save, use_style
from shooting.study.figures.contrast import ENOUGH, contrast, luminance
from shooting.study.figures.style import INKS, PATHS, WIDTH, PlainLog, small_png


@pytest.fixture(autouse=True)
def _own_style():
    with mpl.rc_context():
        use_style()
        yield


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOOTING_FIGDIR", str(tmp_path / "figures"))
    return tmp_path / "figures"


def _figure():
    fig, ax = plt.subplots()
    ax.plot([0, 1], [1, 0], label="line")
    ax.set(xlabel="depth $t$", ylabel=r"$\theta(t)$")
    ax.legend()
    return fig


def test_figure_is_written_in_three_formats(folder):
    fig = _figure()
    assert save(fig, "line") is fig
    assert sorted(p.name for p in folder.iterdir()) == ["line.pdf", "line.png", "line.svg"]
    starts = {"line.pdf": b"%PDF", "line.png": b"\x89PNG", "line.svg": b"<?xml"}
    for name, start in starts.items():
        assert (folder / name).read_bytes().startswith(start)


def test_without_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.delenv("SHOOTING_FIGDIR", raising=False)
    monkeypatch.chdir(tmp_path)
    fig = _figure()
    assert save(fig, "line") is fig
    assert not list(tmp_path.iterdir())


def test_same_figure_same_bytes(folder):
    """No dates, no random identifiers: a figure changes only if what it shows changes."""
    save(_figure(), "one")
    save(_figure(), "two")
    for kind in ("svg", "pdf", "png"):
        assert (folder / f"one.{kind}").read_bytes() == (folder / f"two.{kind}").read_bytes()
    other = _figure()
    other.axes[0].set_title("another")
    save(other, "three")
    assert (folder / "one.svg").read_bytes() != (folder / "three.svg").read_bytes()


def test_interrupted_figure_leaves_the_old_one(folder, monkeypatch):
    save(_figure(), "line")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    fig = _figure()

    def broken(target, **more):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(fig, "savefig", broken)
    with pytest.raises(OSError, match="disk full"):
        save(fig, "line")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


@pytest.mark.parametrize("width", [3.0, 7.4])
def test_figures_have_one_width(folder, width):
    """Whatever was asked for, up to the width of the text: letters are then of one size."""
    fig, ax = plt.subplots(figsize=(width, 2))
    ax.set_xlabel("x")
    save(fig, "line")
    drawn = float(re.search(r'<svg [^>]*width="([\d.]+)pt"', (folder / "line.svg").read_text())[1])
    padding = 2 * mpl.rcParams["savefig.pad_inches"]
    assert drawn == pytest.approx(72 * (WIDTH + padding), abs=0.01)  # SVG's six digits


def test_control_a_wide_figure_is_wider(folder):
    save(plt.subplots(figsize=(9, 2))[0], "line")
    drawn = re.search(r'<svg [^>]*width="([\d.]+)pt"', (folder / "line.svg").read_text())[1]
    assert float(drawn) > 72 * 8.5


def test_layout_taken_once_gives_the_picture_of_matplotlib(folder):
    """Pixel for pixel what `savefig` alone makes of it, at the resolution of the layout."""
    mpl.rcParams["savefig.dpi"] = mpl.rcParams["figure.dpi"]
    own, figures = BytesIO(), [_figure(), _figure()]
    for fig in figures:
        fig.text(1.05, 0.5, "as wide as the text or wider: nothing is added at the sides")
    figures[0].savefig(own, format="png", bbox_inches="tight")
    save(figures[1], "line")
    ours = np.asarray(Image.open(folder / "line.png"))
    assert np.array_equal(ours, np.asarray(Image.open(own)))


def test_layout_is_taken_once_for_all_files(folder, monkeypatch):
    taken = []
    execute = ConstrainedLayoutEngine.execute
    monkeypatch.setattr(
        ConstrainedLayoutEngine, "execute", lambda *a: taken.append(1) or execute(*a)
    )
    fig = _figure()
    save(fig, "line")
    small_png(fig)
    assert len(taken) == 1
    assert fig.get_layout_engine() is None


def test_small_pictures_keep_the_colours_of_the_book():
    """Thin lines of all ten, over a shading of a thousand others that counts for more pixels."""
    fig, ax = plt.subplots()
    ax.imshow(np.linspace(0, 1, 1000)[None], aspect="auto", extent=(0, 1, 0, 9), cmap="cividis")
    for k, colour in enumerate(PALETTE):
        ax.axhline(k, color=colour, lw=3)
    found = {c for _, c in Image.open(BytesIO(small_png(fig))).convert("RGB").getcolors(256)}
    wanted = {tuple(round(255 * x) for x in colour) for colour in PALETTE}
    assert wanted | {(255, 255, 255)} <= found
    plain = Image.open(BytesIO(_png(fig))).convert("RGB").quantize(58, dither=Image.Dither.NONE)
    assert not wanted <= {c for _, c in plain.convert("RGB").getcolors(256)}  # control


def test_small_pictures_keep_the_colours_of_legends():
    """Seven light points, each told from the others, over a shading that counts for more pixels."""
    fig, ax = plt.subplots()
    ax.imshow(np.linspace(0, 1, 1000)[None], aspect="auto", extent=(0, 1, 0, 9), cmap="cividis")
    for k, colour in enumerate(PALETTE[:7]):
        ax.plot([0.5], [k], "o", mew=0, alpha=0.7, color=colour, label=str(k))
    ax.bar([0.2], [1], width=0.01, color="#123456", label="bar")
    ax.legend(bbox_to_anchor=(1.3, 1.0))  # on white
    found = {c for _, c in Image.open(BytesIO(small_png(fig))).convert("RGB").getcolors(256)}
    wanted = [255 * (1 - 0.7 * (1 - np.array(c))) for c in PALETTE[:7]] + [[0x12, 0x34, 0x56]]
    apart = np.abs(np.array(wanted)[:, None] - np.array(sorted(found))).max(-1)
    assert apart.min(1).max() <= 1  # Matplotlib rounds a blend to a neighbouring level


def test_words_in_a_colour_can_be_read_and_lines_keep_it(folder):
    """In the files and in the notebook's picture; white words on a dark cell stay white."""
    fig, ax = plt.subplots()
    ax.plot([0, 1], [1, 0], color=PALETTE[1], lw=4)
    named = ax.annotate("straight", (0.2, 0.2), color=PALETTE[1], size=40, weight="bold")
    cell = ax.text(0.5, 0.5, "cell", color="white", backgroundcolor="black")
    before = contrast(named.get_color(), "white")
    save(fig, "line")
    assert before < ENOUGH <= contrast(named.get_color(), "white")
    assert to_rgb(cell.get_color()) == (1, 1, 1)
    assert ax.lines[0].get_color() == PALETTE[1]
    drawn = (folder / "line.svg").read_text()
    assert f"fill: {to_hex(named.get_color())}" in drawn
    assert f"stroke: {to_hex(PALETTE[1])}" in drawn
    found = {c for _, c in Image.open(BytesIO(small_png(fig))).convert("RGB").getcolors(256)}
    assert {tuple(np.rint(255 * np.array(c))) for c in (named.get_color(), PALETTE[1])} <= found
    assert to_rgb(named.get_color()) in INKS


def test_paths_in_order_are_seen_on_white_and_on_dark_pages():
    ends = PATHS(np.linspace(0, 1, 20))
    for ground in ("white", "#121212"):  # of the theme's dark mode; 2 as for the models' lines
        assert min(contrast(c, ground) for c in ends) > 2
        whole = mpl.colormaps["viridis"](np.linspace(0, 1, 20))
        assert min(contrast(c, ground) for c in whole) < 2  # control


def _png(fig):
    raw = BytesIO()
    fig.savefig(raw, format="png", dpi=fig.dpi)
    return raw.getvalue()


def test_every_model_has_its_own_colour():
    assert set(MODEL_COLOURS) == set(MODELS)
    assert len(set(MODEL_COLOURS.values())) == len(MODELS)
    assert set(MODEL_COLOURS.values()) <= set(PALETTE)


def _dichromat(colour, kind: str) -> np.ndarray:
    """What a dichromat sees (Viénot, Brettel and Mollon, 1999), in linear RGB."""
    matrix = {
        "protan": [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
        "deutan": [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
    }[kind]
    c = np.array(to_rgb(colour))
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return np.array(matrix) @ linear


@pytest.mark.parametrize("kind", ["protan", "deutan"])
def test_model_colours_differ_for_dichromats(kind):
    for a, b in itertools.combinations(MODEL_COLOURS.values(), 2):
        assert np.abs(_dichromat(a, kind) - _dichromat(b, kind)).max() > 0.08


def test_control_a_red_and_a_green_collapse_for_a_deuteranope():
    red, olive = (_dichromat(c, "deutan") for c in ((0.8, 0.2, 0.0), (0.47, 0.47, 0.0)))
    assert np.abs(red - olive).max() < 0.08


def test_model_colours_are_visible_on_white():
    # contrast of graphics against their ground, WCAG 2.1 (1.4.11) asks for 3; lines here are thick
    # and labelled, and the lightest of the palette in use reaches 2
    for colour in MODEL_COLOURS.values():
        assert 1.05 / (luminance(colour) + 0.05) > 2


def test_style_is_complete():
    assert mpl.rcParams["figure.constrained_layout.use"]
    assert mpl.rcParams["svg.hashsalt"] == "shooting"
    assert not mpl.rcParams["axes.spines.top"]
    assert mpl.rcParams["image.cmap"] == "cividis"
    cycle = [to_rgb(c) for c in mpl.rcParams["axes.prop_cycle"].by_key()["color"]]
    np.testing.assert_allclose(cycle[:6], PALETTE[:6], atol=1 / 255)


def test_logarithmic_labels_are_plain_numbers():
    """At the ticks the usual formatter labels, and only there."""
    _, ax = plt.subplots()
    ax.set(yscale="log", ylim=(0.15, 4))
    labels = {}
    for name, formatter in (("plain", PlainLog), ("usual", LogFormatter)):
        ax.yaxis.set_minor_formatter(formatter(minor_thresholds=(2, 0.5)))
        ticks = ax.yaxis.get_minorticklocs()
        labels[name] = ax.yaxis.get_minor_formatter().format_ticks(ticks)
    shown = {text for text in labels["plain"] if text}
    assert {"0.2", "2"} <= shown <= {f"{t:g}" for t in ticks}
    assert list(map(bool, labels["plain"])) == list(map(bool, labels["usual"]))
    assert not set(labels["usual"]) >= shown  # control: the usual ones are written otherwise
