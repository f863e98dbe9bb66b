"""Runs one benchmark: shows where it is, then what was found, and holds that against a baseline."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import click

import swarm
from swarm.apps.exits import Exit, Quit
from swarm.apps.output import Display, Lines, Silent, Step, is_live, note, result
from swarm.apps.run import die, leaving_signals
from swarm.bench import baseline, chart, table
from swarm.bench.machine import Machine
from swarm.bench.report import MAX_JSON, QUANTITIES, Report, Sample
from swarm.bench.round import Failure
from swarm.units import format_rate

from .asked import FULL, STDOUT, Asked

Steps = Callable[[Step], None]
Job = Callable[[Steps], Generator[Sample | Failure]]
"""Measures; it may show in between where it is."""


def begin(
    asked: Asked,
    bench: str,
    work: dict[str, Any],
    *,
    folder: Path | None = None,
    versions: dict[str, str] | None = None,
    rivals: Sequence[str] = (),
) -> Report:
    """The report of what is going to be measured. Raises what can be said before it takes its time."""
    if asked.fail_below is not None and asked.baseline is None:
        raise click.UsageError(
            "--fail-below says by how much, and needs a --baseline to hold against"
        )
    if asked.plot:
        chart.drawable(asked.plot)
    report = Report(
        bench=bench,
        work=work,
        machine=Machine.here(folder),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        samples=[],
        failures=[],
        told={},
        versions=versions or {},
        rivals=list(rivals),
        rounds=asked.rounds,
    )
    if asked.baseline:
        _earlier(report, asked.baseline)
    return report


def repeated(rounds: int, measure: Callable[[], Iterable[Sample]]) -> Job:
    """The job of doing the same for each round."""

    def job(show: Steps) -> Generator[Sample]:
        for _ in range(rounds):
            yield from measure()

    return job


def conduct(asked: Asked, report: Report, job: Job, total: int) -> None:
    """Measures and shows. `total` is how many results there will be.

    A signal ends it: what was measured until then is shown, and nothing is left behind. Raises `Quit`
    with `Exit.WORSE` by the baseline, and with `Exit.ERROR` if one of those that are judged failed.
    """
    signum = _measure(report, job, total, _display(asked, report))
    _show(asked, report)
    if signum:
        note(f"stopped; {len(report.samples)} of {total} figures are there")
        die(signum)
    _judge(asked, report)


def _display(asked: Asked, report: Report) -> Display:
    """Progress is for people, on stderr; on a terminal with the medians so far."""
    if asked.quiet:
        return Silent()
    if not is_live():
        return Lines()
    from swarm.apps.bar import Bar

    return Bar(below=lambda: "\n".join(table.medians(report)))


def _measure(report: Report, job: Job, total: int, shown: Display) -> int:
    """Fills the report. Returns the signal that ended it, or 0."""
    with signals() as caught, shown:
        try:
            with contextlib.closing(job(shown.show)) as results:
                for found in results:
                    if isinstance(found, Failure):
                        report.failures.append(found)
                    else:
                        report.samples.append(found)
                    shown.show(_step(report, total))
        except KeyboardInterrupt:
            return caught[0] if caught else signal.SIGINT
    return 0


def _step(report: Report, total: int) -> Step:
    done = len(report.samples) + len(report.failures)
    state = "measuring"
    details: tuple[str, ...] = ()
    if report.samples:
        last = report.samples[-1]
        rate = last.values.get("rate")
        details = (last.name, *((format_rate(rate),) if rate else ()))
    return Step(
        name=f"bench {report.bench}", state=state, progress=min(done / total, 1.0), details=details
    )


def _show(asked: Asked, report: Report) -> None:
    if asked.as_json == STDOUT:
        result(report.to_json().decode().rstrip())
    elif asked.as_json:
        Path(asked.as_json).write_bytes(report.to_json())
    if asked.plot:
        chart.save(report, asked.plot)
    if asked.as_json != STDOUT and (report.samples or report.failures):
        full = bool(click.get_current_context().meta.get(FULL))
        for line in table.lines(report, full=full):
            result(line)


def _judge(asked: Asked, report: Report) -> None:
    worse = []
    if asked.baseline:
        earlier = _earlier(report, asked.baseline, warn=True)
        changes = baseline.changes(report, earlier, asked.fail_on)
        if not changes:
            raise swarm.ConfigError(f"{asked.baseline} has no figures to hold against")
        for change in changes:
            note(change.line())
        if asked.fail_below is not None:
            worse = [change for change in changes if change.worse * 100 > asked.fail_below]
    if worse:
        what = ", ".join(f"{change.name} ({QUANTITIES[change.key].title})" for change in worse)
        text = f"worse than the baseline by more than {asked.fail_below:g} %: {what}"
        raise Quit(Exit.WORSE, text)
    ours = [failure.client for failure in report.failures if failure.client not in report.rivals]
    if ours:
        raise Quit(Exit.ERROR, f"not all was measured: {', '.join(ours)} failed")


def _earlier(report: Report, path: Path, *, warn: bool = False) -> Report:
    """The baseline, if it is of the same work; says in what its machine differs."""
    with open(path, "rb") as source:
        earlier = Report.from_json(source.read(MAX_JSON + 1))
    baseline.same_work(report, earlier)
    if warn and (unlike := report.machine.unlike(earlier.machine)):
        note(f"the baseline is of another machine, so its figures say little: {'; '.join(unlike)}")
    return earlier


@contextlib.contextmanager
def signals() -> Iterator[list[int]]:
    """Meanwhile the first signal that asks us to leave is a KeyboardInterrupt, and a second one kills."""
    caught: list[int] = []
    before = {number: signal.getsignal(number) for number in leaving_signals()}

    def leave(signum: int, frame: FrameType | None) -> None:
        caught.append(signum)
        for number in before:
            signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    for number in before:
        signal.signal(number, leave)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
