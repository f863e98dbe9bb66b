"""The rate and the time left of a hashing, as they are shown."""

from __future__ import annotations

from swarm.apps.output import Silent, Step
from swarm.apps.pace import Pace

MIB = 1 << 20


class Kept(Silent):
    """Keeps what it is to show."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def show(self, step: Step) -> None:
        self.steps.append(step)


class Clock:
    """Seconds that only a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_rate_and_time_left() -> None:
    shown, clock = Kept(), Clock()
    pace = Pace(shown, "x", "hashing", clock=clock)
    pace(0, 100 * MIB)
    for second in range(1, 5):
        clock.now += 1
        pace(second * 10 * MIB, 100 * MIB)
    assert shown.steps[0].details == ("0 B of 100.0 MiB",)
    assert shown.steps[0].facts["eta"] is None
    last = shown.steps[-1]
    assert (last.name, last.state, last.progress) == ("x", "hashing", 0.4)
    assert last.details == ("40.0 MiB of 100.0 MiB", "10.0 MiB/s", "eta 6.0s")
    assert last.facts == {"length": 100 * MIB, "done": 40 * MIB, "rate": 10 * MIB, "eta": 6.0}


def test_the_rate_is_that_of_the_last_seconds() -> None:
    shown, clock = Kept(), Clock()
    pace = Pace(shown, "x", "hashing", clock=clock)
    done = 0
    for speed in [100] * 60 + [1] * 15:
        pace(done, 10_000)
        clock.now += 1
        done += speed
    assert 1 <= shown.steps[-1].facts["rate"] <= 2


def test_what_was_done_before_is_not_speed() -> None:
    """Pieces that are missing count as checked at once, and say nothing of the disk."""
    shown, clock = Kept(), Clock()
    pace = Pace(shown, "x", "checking", 100 * MIB, clock)
    pace(900, 1000)
    clock.now += 1
    pace(910, 1000)
    last = shown.steps[-1]
    assert last.details == ("91.0 MiB of 100.0 MiB", "1.0 MiB/s", "eta 9.0s")


def test_a_thousand_calls_a_second_are_ten_steps() -> None:
    shown, clock = Kept(), Clock()
    pace = Pace(shown, "x", "checking", clock=clock)
    for done in range(1001):
        pace(done, 1000)
        clock.now += 0.001
    assert 10 <= len(shown.steps) <= 12
    assert shown.steps[-1].progress == 1
    assert shown.steps[-1].details[0] == "1000 B of 1000 B"


def test_nothing_to_do_is_done() -> None:
    shown = Kept()
    Pace(shown, "x", "checking", 0, Clock())(0, 0)
    assert shown.steps[0].progress == 1
