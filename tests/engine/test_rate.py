"""The rate meter on steady streams, bursts and silence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.engine.rate import Rate


@given(st.floats(1, 1e9), st.floats(0.01, 2), st.floats(1, 60), st.floats(0, 1e6))
def test_a_steady_stream_reads_right_from_the_first_second(
    speed: float, step: float, seconds: float, start: float
) -> None:
    rate, now = Rate(start), start
    while now < start + max(seconds, 20 * step):
        now += step
        rate.add(round(speed * step), now)
    assert rate.value == pytest.approx(speed, rel=0.25, abs=2 / step)


def test_a_rate_follows_a_change_and_dies_in_silence() -> None:
    rate = Rate(0.0)
    for now in range(1, 61):
        rate.add(1000, now)
    for now in range(61, 81):
        rate.add(5000, now)
    assert rate.value == pytest.approx(5000, rel=0.15)
    assert rate.at(81) < rate.at(80.5) or rate.at(81) == rate.value
    assert rate.at(180) < 1
    assert rate.total == 60 * 1000 + 20 * 5000


def test_a_first_burst_is_not_an_infinite_rate() -> None:
    rate = Rate(7.0)
    assert rate.value == 0
    rate.add(1000, 7.0)
    assert 500 < rate.value < 2000


def test_a_growing_counter_is_the_same_as_its_steps() -> None:
    steps, counter, total = Rate(0.0), Rate(0.0), 0
    for now in range(1, 9):
        total += now * 100
        steps.add(now * 100, now)
        counter.sample(total, now)
    assert (steps.value, steps.total) == (counter.value, counter.total)


def test_a_clock_that_stands_still_or_steps_back_does_no_harm() -> None:
    rate = Rate(10.0)
    rate.add(100, 12.0)
    before = rate.value
    rate.add(0, 11.0)
    assert rate.value == before
