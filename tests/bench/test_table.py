"""The table for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from swarm.bench import table
from swarm.bench.report import Report

Make = Callable[..., Report]
MIB = 2**20


def test_medians_ratios_failures_and_what_was_told(
    report_of: Make, failure: Callable[[str, str], Any]
) -> None:
    rounds = {
        "swarm": [{"rate": n * MIB, "leecher_cpu": 0.5} for n in (900, 1200, 1000)],
        "libtorrent": [{"rate": n * MIB, "leecher_cpu": 2.0} for n in (300, 500, 400)],
    }
    report = report_of(
        rounds,
        rivals=["libtorrent", "aria2"],
        failures=[failure("aria2", "does not seed:\nits log")],
        told={"libtorrent": {"seeder": "lt --seed\nsettings", "leecher": ""}},
        versions={"libtorrent": "2.1.1"},
    )
    lines = list(table.lines(report))
    assert "size 1 GiB, files 1; 3 rounds" in lines[0]
    assert any(line.split() == ["swarm", "1,000", "(900-1,200)", "0.50"] for line in lines)
    assert any(
        line.split() == ["swarm", "/", "best", "other", "2.50", "(2.40-3.00)", "0.25"]
        for line in lines
    )
    assert "aria2 FAILED: does not seed:" in lines
    assert "  libtorrent 2.1.1, seeder: lt --seed settings" in lines
    full = list(table.lines(report, full=True))
    assert "aria2 FAILED: does not seed:\nits log" in full
    assert any(line.startswith("3: libtorrent") for line in full)
    assert "    settings" in full


@given(st.floats(-1e9, 1e9))
def test_figures_are_close_to_what_they_stand_for(value: float) -> None:
    shown = float(table.figure(value).replace(",", ""))
    assert abs(shown - value) <= max(abs(value) * 0.005, 0.0051)


def test_figures() -> None:
    shown = [table.figure(value) for value in (0.004, 0.999, 9.996, 99.96, 1234.5, 0)]
    assert shown == ["0.00", "1.00", "10.0", "100", "1,234", "0.00"]
