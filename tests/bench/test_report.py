"""The arithmetic of reports, and their way to JSON and back."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import swarm
from swarm.bench.report import QUANTITIES, Report, Sample, Spread

Make = Callable[..., Report]
FIGURES = st.floats(1e-6, 1e12)


@given(st.lists(FIGURES, min_size=1, max_size=9))
def test_a_spread_holds_its_median(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread.low <= spread.median <= spread.high
    assert spread.median == statistics.median(values)
    assert {spread.low, spread.high} <= set(values)


@given(st.lists(st.tuples(FIGURES, FIGURES), min_size=1, max_size=9))
def test_ratios_are_of_rounds_and_of_medians(
    report_of: Make, pairs: list[tuple[float, float]]
) -> None:
    report = report_of(
        {"swarm": [{"rate": a} for a, _ in pairs], "other": [{"rate": b} for _, b in pairs]}
    )
    ratio = report.ratio("swarm", "other", "rate")
    back = report.ratio("other", "swarm", "rate")
    assert ratio is not None
    assert back is not None
    assert math.isclose(ratio.median * back.median, 1)
    assert math.isclose(ratio.low * back.high, 1)
    assert ratio.low <= min(a / b for a, b in pairs)
    assert ratio.high >= max(a / b for a, b in pairs)


def test_who_has_no_figures_has_no_ratio(report_of: Make) -> None:
    report = report_of({"swarm": [{"rate": 2.0}], "other": [{"cpu": 1.0}]})
    assert report.ratio("swarm", "other", "rate") is None
    assert report.spread("nobody", "rate") is None
    assert report.names == ["swarm", "other"]
    assert report.keys == ["rate", "cpu"]


def test_the_best_rival_is_the_fastest_or_the_cheapest(report_of: Make) -> None:
    rounds = {
        "swarm": [{"rate": 9.0, "leecher_cpu": 0.1}],
        "fast": [{"rate": 5.0, "leecher_cpu": 3.0}],
        "frugal": [{"rate": 1.0, "leecher_cpu": 1.0}],
    }
    report = report_of(rounds, rivals=["fast", "frugal", "absent"])
    assert report.best_rival("rate") == "fast"
    assert report.best_rival("leecher_cpu") == "frugal"
    assert report_of(rounds).best_rival("rate") is None


@given(
    st.lists(
        st.builds(
            Sample, st.text(max_size=9), st.dictionaries(st.sampled_from([*QUANTITIES]), FIGURES)
        )
    ),
    st.dictionaries(st.text(max_size=9), st.dictionaries(st.text(max_size=5), st.text())),
)
def test_json_brings_back_what_was_put_in(
    report_of: Make, samples: list[Sample], told: dict[str, dict[str, str]]
) -> None:
    report = report_of(samples=samples, told=told)
    data = report.to_json()
    assert data.count(b"\n") == 1
    assert json.loads(data)["v"] == 1
    assert Report.from_json(data) == report


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b'{"v": 1, "type": "bench"}',
        b'{"v": 2, "type": "bench"}',
        b'{"v": 1, "type": "progress"}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(swarm.ConfigError):
        Report.from_json(data)


def test_another_type_within_is_refused(report_of: Make) -> None:
    value = json.loads(report_of({"swarm": [{"rate": 1.0}]}).to_json())
    value["samples"][0]["values"]["rate"] = "fast"
    with pytest.raises(swarm.ConfigError, match=r"float.*samples"):
        Report.from_json(json.dumps(value).encode())
