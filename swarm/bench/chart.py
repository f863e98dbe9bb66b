"""A report as a picture: for each name its rate and its CPU, the median as a bar, each round as a dot.

SVG is written by hand, so that drawing needs no library; a PNG is that SVG, rendered by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from pathlib import Path

from swarm.errors import ConfigError

from .report import QUANTITIES, Report
from .table import describe

PANEL = 330
"""The width of the bars of one panel, in pixels, as all that follows."""
GAP = 44
MARGIN = 28
ROW = 46
BAR = 26
LETTER = 7.3
"""The width of a letter, more or less: 13 pixels of a sans-serif face."""
TOP = 126
FOOT = 64
DOT = 2.6
STYLE = """
svg { font: 13px "DejaVu Sans", "Segoe UI", Helvetica, Arial, sans-serif; }
.paper { fill: #ffffff; } text { fill: #24292f; } .quiet { fill: #656d76; font-size: 11.5px; }
.title { font-size: 17px; font-weight: bold; } .head { font-weight: bold; } .failed { fill: #b3452c; }
.grid { stroke: #d8dee4; stroke-width: 1; } .axis { stroke: #8c959f; stroke-width: 1; }
.ours { fill: #2f7ed8; } .theirs { fill: #98a6b5; } .ours2 { fill: #8fbbee; } .theirs2 { fill: #ccd4dc; }
.whisker { stroke: #24292f; stroke-width: 1.3; fill: none; }
.dot { fill: #ffffff; stroke: #24292f; stroke-width: 1; }
@media (prefers-color-scheme: dark) {
 .paper { fill: #0d1117; } text { fill: #e6edf3; } .quiet { fill: #9198a1; } .failed { fill: #ff8f73; }
 .grid { stroke: #2a313a; } .axis { stroke: #6e7681; } .theirs { fill: #667585; }
 .ours2 { fill: #24568f; } .theirs2 { fill: #3f4a55; }
 .whisker { stroke: #e6edf3; } .dot { fill: #0d1117; stroke: #e6edf3; }
}
"""
SUFFIXES = (".svg", ".png")


@dataclass(frozen=True)
class Panel:
    """Bars of one unit: for each name one for each of `keys`."""

    title: str
    keys: tuple[str, ...]

    @property
    def scale(self) -> float:
        return QUANTITIES[self.keys[0]].scale


def panels(report: Report) -> list[Panel]:
    """What there is to draw: rates, and the CPU if it was weighed."""
    kinds = {
        "MiB/s, longer is better": ("rate",),
        "Million blocks/s, longer is better": ("blocks",),
        "CPU-seconds per GiB, shorter is better": ("leecher_cpu", "seeder_cpu", "cpu"),
    }
    found = [
        Panel(title, tuple(key for key in keys if key in report.keys))
        for title, keys in kinds.items()
    ]
    return [panel for panel in found if panel.keys]


def save(report: Report, path: Path) -> None:
    """Draws into `path`, by its suffix. Raises `ConfigError` where that cannot be, or OSError."""
    drawable(path)
    picture = svg(report)
    path.write_bytes(png(picture) if path.suffix.lower() == ".png" else picture.encode())


def drawable(path: Path) -> None:
    """Raises `ConfigError` if this kind of picture cannot be drawn here."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(f"a chart is an .svg or a .png, and {path.name!r} is neither")
    if suffix == ".png":
        try:
            import resvg_py  # noqa: F401
        except ImportError:
            raise ConfigError(
                "a PNG needs resvg-py: pip install 'swarm-engine[plot]' (an SVG needs nothing)"
            ) from None


def png(picture: str) -> bytes:
    """An SVG as PNG, at twice its size for sharp letters."""
    import resvg_py

    return bytes(resvg_py.svg_to_bytes(svg_string=picture, zoom=2))


def svg(report: Report) -> str:
    """The picture. Failures have a row that says so; every name of the report is in it."""
    failed = {f.client: f.reason for f in report.failures if f.client not in report.names}
    names = [*report.names, *failed]
    shown = panels(report)
    left = MARGIN + max((len(name) for name in names), default=4) * LETTER + 14
    width = left + max(len(shown), 1) * (PANEL + GAP) + MARGIN
    height = TOP + ROW * max(len(names), 1) + FOOT
    box = f'width="{width:.0f}" height="{height}"'
    view = f'viewBox="0 0 {width:.0f} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} {view} role="img">',
        f"<title>swarm bench {_clean(report.bench)}</title><style>{STYLE}</style>",
        f'<rect class="paper" {box}/>',
        _text(MARGIN, 38, f"swarm bench {report.bench}", "title"),
    ]
    room = int((width - 2 * MARGIN) / 6.4)
    for line, text in enumerate(_wrapped(describe(report), room)[:2]):
        parts.append(_text(MARGIN, 58 + 16 * line, text, "quiet"))
    for row, name in enumerate(names):
        middle = TOP + ROW * row + ROW / 2
        parts.append(_text(left - 10, middle + 4.5, name, anchor="end"))
        if name in failed:
            reason = failed[name].splitlines()[0] if failed[name] else ""
            text = f"failed: {reason}"[: int(len(shown) * (PANEL + GAP) / LETTER)]
            parts.append(_text(left + 6, middle + 4.5, text, "failed"))
    for at, panel in enumerate(shown):
        parts += _panel(report, panel, left + at * (PANEL + GAP), len(names))
    parts += _foot(report, height)
    return "\n".join([*parts, "</svg>"]) + "\n"


def ticks(highest: float, most: int = 5) -> list[float]:
    """Round numbers from 0 up to `highest` or a little more, at most `most` steps."""
    if not highest > 0:
        return [0.0, 1.0]
    rough = highest / most
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    return [step * n for n in range(ceil(highest / step - 1e-9) + 1)]


def _panel(report: Report, panel: Panel, left: float, rows: int) -> Iterator[str]:
    scale = panel.scale
    figures = [report.figures(name, key) for name in report.names for key in panel.keys]
    marks = ticks(max((max(found) for found in figures if found), default=0) / scale)
    # The figures of the longest bars stand behind their whiskers, within the panel.
    per_unit = (PANEL - 46) / marks[-1]
    bottom = TOP + ROW * rows
    yield _text(left, TOP - 34, panel.title, "head")
    if len(panel.keys) > 1:
        yield from _legend(panel, left, TOP - 17)
    for mark in marks:
        x = left + mark * per_unit
        kind = "axis" if mark == 0 else "grid"
        yield _line(x, TOP - 8, x, bottom, kind)
        yield _text(x, bottom + 17, _short(mark), "quiet", "middle")
    thick = BAR / len(panel.keys)
    for row, name in enumerate(report.names):
        top = TOP + ROW * row + (ROW - BAR) / 2
        side = "theirs" if name in report.rivals else "ours"
        for at, key in enumerate(panel.keys):
            spread = report.spread(name, key)
            if spread is None:
                continue
            y = top + at * thick
            low, mid, high = (
                left + value / scale * per_unit
                for value in (spread.low, spread.median, spread.high)
            )
            kind = side if at == 0 else f"{side}2"
            label = f"{name}, {QUANTITIES[key].title}: {_figure(spread.median / scale)}"
            yield (
                f'<rect class="{kind}" x="{left:.1f}" y="{y:.1f}" width="{max(mid - left, 0):.1f}" '
                f'height="{thick - 1:.1f}"><title>{_clean(label)}</title></rect>'
            )
            yield from _whisker(low, high, y + (thick - 1) / 2, thick)
            for value in report.figures(name, key):
                x = left + value / scale * per_unit
                yield f'<circle class="dot" cx="{x:.1f}" cy="{y + (thick - 1) / 2:.1f}" r="{DOT}"/>'
            yield _text(high + 7, y + (thick - 1) / 2 + 4, _figure(spread.median / scale), "quiet")


def _legend(panel: Panel, x: float, y: float) -> Iterator[str]:
    """Which bar of a name is which: the first in full colour, the second in pale."""
    for at, key in enumerate(panel.keys[:2]):
        for side in ("ours", "theirs"):
            kind = f"{side}{'2' * at}"
            yield f'<rect class="{kind}" x="{x:.1f}" y="{y - 9:.1f}" width="10" height="10"/>'
            x += 12
        yield _text(x + 3, y, QUANTITIES[key].title, "quiet")
        x += 105


def _whisker(low: float, high: float, y: float, thick: float) -> Iterator[str]:
    if high - low >= 1:
        reach = thick * 0.28
        yield _line(low, y, high, y, "whisker")
        yield _line(low, y - reach, low, y + reach, "whisker")
        yield _line(high, y - reach, high, y + reach, "whisker")


def _foot(report: Report, height: float) -> Iterator[str]:
    rounds = f"bar: median of {report.rounds}; dots: rounds; whiskers: lowest to highest"
    machine = report.machine
    line = (
        f"{machine.cpu}, {machine.cores} core{'s' * (machine.cores != 1)}, {machine.where}, "
        f"swarm {machine.swarm}, {report.at[:10]}"
    )
    yield _text(MARGIN, height - 27, rounds, "quiet")
    yield _text(MARGIN, height - 11, line, "quiet")


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.3g}"


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{kind} text-anchor="{anchor}">{_clean(text)}</text>'


def _clean(text: str) -> str:
    """As XML has it, without what it cannot have."""
    return escape("".join(letter if letter.isprintable() else "?" for letter in text))


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _wrapped(text: str, room: int) -> Sequence[str]:
    from textwrap import wrap

    return wrap(text, room) or [""]
