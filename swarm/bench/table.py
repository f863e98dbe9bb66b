"""A report as text for people: what was done, on what, and a table of the medians."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from swarm.units import format_size

from .report import QUANTITIES, Report, Spread

SIZES = ("size", "piece", "message", "read", "skew", "rate limit")
"""Names of work whose values are bytes."""
IN_FULL = ("leecher_start", "seeder_start")
"""What is shown in full only, since it is part of the CPU."""
TOLD = 100
"""Letters of what each was told that fit into the foot of the table."""


def lines(report: Report, *, full: bool = False) -> Iterator[str]:
    """All of it, a line each; with `full` also every round, and all that each was told."""
    yield describe(report)
    yield from report.machine.lines()
    if full:
        yield ""
        yield from _rounds(report)
    yield ""
    yield from medians(report, full=full)
    for failure in report.failures:
        reason = failure.reason.strip() or "no reason given"
        said = reason if full else reason.splitlines()[0]
        yield f"{failure.client} FAILED: {said}"
    yield from _told(report, full)


def medians(report: Report, *, full: bool = False) -> Iterator[str]:
    """The table alone: a row for each name, and how the first compares with the best of the others."""
    keys = [key for key in report.keys if full or key not in IN_FULL]
    if keys:
        titles = [["", *(QUANTITIES[key].title for key in keys)]]
        units = [["", *(QUANTITIES[key].unit for key in keys)]]
        yield from _grid([*titles, *units, *_medians(report, keys), *_ratios(report, keys)])


def describe(report: Report) -> str:
    """The work, in one line."""
    words = ", ".join(f"{name} {_value(name, value)}" for name, value in report.work.items())
    return f"{words}; {report.rounds} round{'s' * (report.rounds != 1)}"


def figure(value: float) -> str:
    """A number with as many digits as it is good for."""
    for least, digits in ((100, 0), (10, 1)):
        if round(abs(value), digits) >= least:
            return f"{value:,.{digits}f}"
    return f"{value:.2f}"


def _value(name: str, value: float | str) -> str:
    if isinstance(value, str):
        return value
    if name in SIZES:
        return format_size(value).replace(".0 ", " ")
    if name == "delay":
        return f"{value * 1000:g} ms"
    if name == "loss":
        return f"{value * 100:g} %"
    return f"{value:,}"


def _medians(report: Report, keys: Sequence[str]) -> Iterator[list[str]]:
    for name in report.names:
        spreads = ((report.spread(name, key), QUANTITIES[key].scale) for key in keys)
        yield [name, *(_spread(spread, scale) for spread, scale in spreads)]


def _rounds(report: Report) -> Iterator[str]:
    rows = [["", *(QUANTITIES[key].title for key in report.keys)]]
    seen: dict[str, int] = {}
    for sample in report.samples:
        seen[sample.name] = number = seen.get(sample.name, 0) + 1
        cells = [
            figure(sample.values[key] / QUANTITIES[key].scale) if key in sample.values else "-"
            for key in report.keys
        ]
        rows.append([f"{number}: {sample.name}", *cells])
    yield from _grid(rows)


def _ratios(report: Report, keys: Sequence[str]) -> Iterator[list[str]]:
    """The first that is no rival beside the best rival of each quantity, unless each round says so itself."""
    ours = [name for name in report.names if name not in report.rivals]
    best = {key: report.best_rival(key) for key in keys}
    if not ours or not any(best.values()) or "ratio" in best:
        return
    ratios, whose = [], []
    for key, rival in best.items():
        ratios.append(_spread(report.ratio(ours[0], rival, key) if rival else None, 1.0))
        whose.append(rival or "")
    yield [f"{ours[0]} / best other", *ratios]
    yield ["", *whose]


def _spread(spread: Spread | None, scale: float) -> str:
    if spread is None:
        return "-"
    median = figure(spread.median / scale)
    low, high = figure(spread.low / scale), figure(spread.high / scale)
    return median if low == high else f"{median} ({low}-{high})"


def _grid(rows: Sequence[list[str]]) -> Iterator[str]:
    """Rows with their columns below each other: names to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        line = name.ljust(widths[0])
        line += "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        yield line.rstrip()


def _told(report: Report, full: bool) -> Iterator[str]:
    told = {name: sides for name, sides in report.told.items() if any(sides.values())}
    if told:
        yield ""
        yield "told:" if full else "told (in full with -v or --json):"
    for name, sides in told.items():
        if (
            not full and " to " in name
        ):  # a pair, of clients that are told the same as by themselves
            continue
        title = " ".join(filter(None, (name, report.versions.get(name, ""))))
        for side, words in sides.items():
            if full:
                yield f"  {title}, {side}:"
                yield from (f"    {line}" for line in words.splitlines())
            else:
                yield f"  {title}, {side}: {_cut(words)}"


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TOLD else line[: TOLD - 4] + " ..."
