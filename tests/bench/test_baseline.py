"""What counts as worse than a baseline."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import swarm
from swarm.bench.baseline import changes, same_work
from swarm.bench.report import Report

Make = Callable[..., Report]


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_worse_has_the_direction_of_its_quantity(
    report_of: Make, before: float, now: float
) -> None:
    earlier = report_of({"swarm": [{"rate": before, "leecher_cpu": before}]})
    rate, cpu = changes(report_of({"swarm": [{"rate": now, "leecher_cpu": now}]}), earlier)
    assert (rate.key, cpu.key) == ("rate", "leecher_cpu")
    assert (rate.worse > 0) == (now < before)
    assert (cpu.worse > 0) == (now > before)
    assert rate.worse == -cpu.worse
    assert ("worse" in cpu.line()) == (cpu.worse > 0)


def test_only_what_was_asked_for_is_held(report_of: Make) -> None:
    values = {"rate": 1.0, "cpu": 1.0, "leecher_rss": 1.0}
    report = report_of({"swarm": [values]})
    assert [change.key for change in changes(report, report)] == ["rate", "cpu"]
    assert [change.key for change in changes(report, report, "rate")] == ["rate"]
    assert [change.key for change in changes(report, report, "cpu")] == ["cpu"]


def test_rivals_and_those_not_asked_for_are_not_held(report_of: Make) -> None:
    one = [{"rate": 1.0}]
    earlier = report_of({"swarm": one, "libtorrent": one, "other": one}, rivals=["libtorrent"])
    report = report_of({"swarm": one, "libtorrent": one}, rivals=["libtorrent"])
    assert [change.name for change in changes(report, earlier)] == ["swarm"]


def test_the_same_work_only(report_of: Make) -> None:
    report = report_of()
    same_work(report, report_of(machine=report.machine))
    with pytest.raises(swarm.ConfigError, match="size 5 there, 1073741824 here"):
        same_work(report, report_of(work={"size": 5, "files": 1}))
    with pytest.raises(swarm.ConfigError, match=r"delay 0\.1 there, - here"):
        same_work(report, report_of(work=report.work | {"delay": 0.1}))
    with pytest.raises(swarm.ConfigError, match="swarm bench net"):
        same_work(report, report_of(bench="net"))
