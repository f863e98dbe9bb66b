"""When the announcer asks whom; the clock is a number."""

from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.engine.announce import (
    BACKOFF_BASE,
    BACKOFF_MAX,
    EARLY_INTERVAL,
    MAX_INTERVAL,
    MIN_INTERVAL,
    Announcer,
)
from swarm.proto.tracker import TrackerReply

A, B, C, D = (f"http://{name}.example/announce" for name in "abcd")
OK = TrackerReply(interval=1800, min_interval=600)


def started(tiers: list[list[str]], seed: int = 0) -> Announcer:
    announcer = Announcer(tiers, Random(seed))
    announcer.start(0.0)
    return announcer


def ask(announcer: Announcer, now: float) -> tuple[str, str] | None:
    """The one announce that is due, as (url, event)."""
    announces = announcer.poll(now)
    assert len(announces) <= 1
    return (announces[0].url, announces[0].event) if announces else None


def test_nothing_before_start_and_nothing_without_trackers() -> None:
    idle = Announcer([[A]], Random(0))
    assert idle.poll(0.0) == []
    assert idle.deadline() is None
    empty = started([[], ["wss://t.example", "file:///x"]])
    assert empty.poll(0.0) == []
    assert empty.deadline() is None
    assert empty.trackers == ()


def test_started_then_plain_after_the_interval() -> None:
    announcer = started([[A]])
    assert announcer.deadline() == 0.0
    assert ask(announcer, 0.0) == (A, "started")
    assert announcer.deadline() is None
    assert ask(announcer, 5.0) is None
    announcer.replied(A, OK, 5.0)
    assert announcer.deadline() == 1805.0
    assert ask(announcer, 1804.9) is None
    assert ask(announcer, 1805.0) == (A, "")


def test_bep12_next_tier_only_when_the_whole_tier_failed() -> None:
    announcer = started([[A, B], [C]])
    asked = []
    for now in (0.0, 1.0):
        due = ask(announcer, now)
        assert due is not None
        asked.append(due[0])
        announcer.failed(due[0], now)
    assert sorted(asked) == [A, B]
    assert ask(announcer, 2.0) == (C, "started")
    announcer.replied(C, OK, 2.0)
    # The next round begins at the first tier again.
    assert ask(announcer, 1802.0) == (asked[0], "started")


def test_bep12_slow_failures_do_not_keep_the_last_tier_waiting() -> None:
    announcer = started([[A], [B], [C]])
    for url, now in ((A, 0.0), (B, 100.0), (C, 200.0)):
        assert ask(announcer, now) == (url, "started")
        announcer.failed(url, now + 100.0)


def test_bep12_a_working_tracker_moves_to_the_front_of_its_tier() -> None:
    announcer = started([[A, B, C], [D]])
    first = ask(announcer, 0.0)
    assert first is not None
    announcer.failed(first[0], 0.0)
    second = ask(announcer, 0.0)
    assert second is not None
    announcer.replied(second[0], OK, 0.0)
    order = [status.url for status in announcer.trackers]
    assert order[:2] == [second[0], first[0]]
    assert order[3] == D
    assert ask(announcer, 1800.0) == (second[0], "")


def test_bep12_tiers_are_shuffled_once() -> None:
    orders = {tuple(s.url for s in started([[A, B, C]], seed).trackers) for seed in range(50)}
    assert len(orders) == 6
    tiers = [[A], [B], [C]]
    assert {tuple(s.url for s in started(tiers, n).trackers) for n in range(9)} == {(A, B, C)}


def test_a_tracker_listed_twice_is_one() -> None:
    assert [s.url for s in started([[A], [A, B]]).trackers] == [A, B]


@pytest.mark.parametrize(
    ("said", "waited"),
    [(0, MIN_INTERVAL), (-1, MIN_INTERVAL), (59, MIN_INTERVAL), (61, 61.0), (2**31, MAX_INTERVAL)],
)
def test_th10_intervals_are_clamped(said: int, waited: float) -> None:
    announcer = started([[A]])
    ask(announcer, 0.0)
    announcer.replied(A, TrackerReply(interval=said), 0.0)
    assert announcer.deadline() == waited


def test_th10_the_floor_is_adjustable() -> None:
    announcer = Announcer([[A]], Random(0), floor=1.0)
    announcer.start(0.0)
    ask(announcer, 0.0)
    announcer.replied(A, TrackerReply(interval=2), 0.0)
    assert announcer.deadline() == 2.0


def test_more_peers_respects_the_min_interval() -> None:
    announcer = started([[A]])
    ask(announcer, 0.0)
    announcer.replied(A, OK, 0.0)
    announcer.more_peers(10.0)
    assert announcer.deadline() == 600.0
    assert ask(announcer, 599.0) is None
    assert ask(announcer, 600.0) == (A, "")
    announcer.replied(A, TrackerReply(interval=1800), 600.0)
    announcer.more_peers(601.0)
    assert announcer.deadline() == 600.0 + EARLY_INTERVAL


def test_a_min_interval_above_the_interval_wins() -> None:
    announcer = started([[A]])
    ask(announcer, 0.0)
    announcer.replied(A, TrackerReply(interval=60, min_interval=900), 0.0)
    assert announcer.deadline() == 900.0


def test_completed_goes_out_at_once_and_only_once() -> None:
    announcer = started([[A]])
    ask(announcer, 0.0)
    announcer.replied(A, OK, 0.0)
    announcer.complete(3.0)
    assert announcer.deadline() == 0.0
    assert ask(announcer, 3.0) == (A, "completed")
    announcer.replied(A, OK, 3.0)
    assert ask(announcer, 1803.0) == (A, "")


def test_completed_while_started_is_under_way() -> None:
    announcer = started([[A]])
    ask(announcer, 0.0)
    announcer.complete(1.0)
    assert announcer.poll(1.0) == []
    announcer.replied(A, OK, 2.0)
    assert ask(announcer, 2.0) == (A, "completed")


def test_completed_is_not_told_to_who_never_knew_us_as_a_leecher() -> None:
    announcer = started([[A], [B]])
    announcer.complete(0.0)
    assert ask(announcer, 0.0) == (A, "started")
    announcer.complete(0.5)
    announcer.failed(A, 1.0)
    assert ask(announcer, 1.0) == (B, "started")
    announcer.replied(B, OK, 1.0)
    assert ask(announcer, 1801.0) == (A, "started")
    announcer.replied(A, OK, 1801.0)
    assert ask(announcer, 1801.0) is None


def test_completed_is_tried_again_after_a_failure() -> None:
    announcer = started([[A]])
    ask(announcer, 0.0)
    announcer.replied(A, OK, 0.0)
    announcer.complete(3.0)
    assert ask(announcer, 3.0) == (A, "completed")
    announcer.failed(A, 4.0)
    again = announcer.deadline()
    assert again is not None
    assert 4.0 < again <= 4.0 + BACKOFF_BASE
    assert ask(announcer, again) == (A, "completed")


def test_stopped_goes_only_to_those_that_answered_started() -> None:
    announcer = started([[A], [B]])
    ask(announcer, 0.0)
    announcer.failed(A, 0.0)
    ask(announcer, 0.0)
    announcer.replied(B, OK, 0.0)
    announcer.stop(5.0)
    (stopped,) = announcer.poll(5.0)
    assert (stopped.url, stopped.event, stopped.numwant) == (B, "stopped", 0)
    announcer.failed(B, 6.0)
    assert announcer.poll(1e6) == []
    assert announcer.deadline() is None


def test_stopped_goes_out_although_the_tracker_is_being_asked_or_failing() -> None:
    announcer = started([[A]])
    ask(announcer, 0.0)
    announcer.replied(A, OK, 0.0)
    ask(announcer, 1800.0)
    announcer.stop(1801.0)
    assert ask(announcer, 1801.0) == (A, "stopped")
    assert ask(announcer, 1801.0) is None
    failing = started([[A]])
    ask(failing, 0.0)
    failing.replied(A, OK, 0.0)
    ask(failing, 1800.0)
    failing.failed(A, 1800.0)
    failing.stop(1800.0)
    assert ask(failing, 1800.0) == (A, "stopped")


def test_stopped_after_a_late_answer_to_started() -> None:
    announcer = started([[A]])
    ask(announcer, 0.0)
    announcer.stop(1.0)
    assert announcer.poll(1.0) == []
    announcer.replied(A, OK, 2.0)
    assert ask(announcer, 2.0) == (A, "stopped")


def test_started_again_after_stop() -> None:
    announcer = started([[A]])
    ask(announcer, 0.0)
    announcer.replied(A, OK, 0.0)
    announcer.stop(1.0)
    ask(announcer, 1.0)
    announcer.replied(A, OK, 1.0)
    announcer.start(2.0)
    assert ask(announcer, 2.0) == (A, "started")


def test_tu07_back_off_doubles_to_an_hour_with_jitter() -> None:
    announcer = started([[A]])
    now, waits = 0.0, []
    for _ in range(14):
        assert ask(announcer, now) == (A, "started")
        announcer.failed(A, now, reason="no answer")
        again = announcer.deadline()
        assert again is not None
        waits.append(again - now)
        now = again
    for n, wait in enumerate(waits):
        most = min(BACKOFF_MAX, BACKOFF_BASE * 2**n)
        assert 0.75 * most <= wait + 1e-6
        assert wait <= most + 1e-6
    assert waits[-1] > 0.7 * BACKOFF_MAX
    assert announcer.trackers[0].error == "no answer"
    ask(announcer, now)
    announcer.replied(A, OK, now)
    assert announcer.trackers[0].error is None
    ask(announcer, now + 1800)
    announcer.failed(A, now + 1800)
    again = announcer.deadline()
    assert again is not None
    assert again - now - 1800 <= BACKOFF_BASE


def test_bep31_retry_in_is_honoured() -> None:
    announcer = started([[A]])
    ask(announcer, 0.0)
    announcer.failed(A, 0.0, retry_in=300.0)
    assert announcer.deadline() == 300.0
    ask(announcer, 300.0)
    announcer.failed(A, 300.0, retry_in=1e9)
    assert announcer.deadline() == 300.0 + 24 * 3600


def test_bep31_never_is_never_until_started_again() -> None:
    announcer = started([[A], [B]])
    ask(announcer, 0.0)
    announcer.failed(A, 0.0, retry_in=inf)
    assert ask(announcer, 0.0) == (B, "started")
    announcer.failed(B, 0.0, retry_in=inf)
    assert announcer.poll(1e9) == []
    assert announcer.deadline() is None
    announcer.more_peers(1e9)
    assert announcer.poll(1e9) == []
    announcer.start(2e9)
    assert ask(announcer, 2e9) == (A, "started")


def test_tracker_id_goes_back_to_its_tracker() -> None:
    announcer = started([[A]])
    ask(announcer, 0.0)
    announcer.replied(A, TrackerReply(tracker_id=b"xyz"), 0.0)
    (announce,) = announcer.poll(1800.0)
    assert announce.tracker_id == b"xyz"
    announcer.replied(A, TrackerReply(), 1800.0)
    (announce,) = announcer.poll(3600.0)
    assert announce.tracker_id == b"xyz"


def test_answers_nobody_asked_for_are_ignored() -> None:
    announcer = started([[A]])
    announcer.replied(A, OK, 0.0)
    announcer.failed(A, 0.0)
    announcer.replied(B, OK, 0.0)
    announcer.failed(B, 0.0)
    assert ask(announcer, 0.0) == (A, "started")


def test_status_is_fit_for_display() -> None:
    secret = "http://t.example/0123456789abcdef/announce"
    announcer = started([[secret]])
    assert announcer.trackers[0].name == "http://t.example/…"
    announcer.poll(0.0)
    assert announcer.trackers[0].next is None
    announcer.replied(secret, TrackerReply(interval=1800, seeds=3, leechers=4), 0.0)
    status = announcer.trackers[0]
    assert (status.next, status.seeds, status.leechers, status.tier) == (1800.0, 3, 4, 0)


def test_who_was_passed_over_waits_for_the_next_round() -> None:
    """It may be ready again before the one that is asked in its place has answered."""
    announcer = Announcer([[A], [C]], Random(0))
    announcer.start(0.0)
    assert [announce.url for announce in announcer.poll(0.0)] == [A]
    announcer.failed(A, 0.0)
    announcer.start(0.0)
    assert [announce.url for announce in announcer.poll(0.0)] == [C]
    assert announcer.poll(60.0) == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reply", "fail", "never", "more", "complete", "stop", "start", "wait"]),
        st.integers(0, 5000),
    ),
    max_size=60,
)


@given(STEPS, st.integers(0, 99))
def test_rules_that_hold_whatever_happens(steps: list[tuple[str, int]], seed: int) -> None:
    announcer = Announcer([[A, B], [C], [D]], Random(seed))
    now, running = 0.0, False
    flight: list[tuple[str, str]] = []
    knows: set[str] = set()  # answered `started`, and not told `stopped`
    last: dict[str, float] = {}
    for step, number in steps:
        now += number
        if step == "start":
            announcer.start(now)
            running, flight = True, []
            knows.clear()
        elif step == "stop":
            announcer.stop(now)
            running = False
        elif step == "more":
            announcer.more_peers(now)
        elif step == "complete" and running:
            announcer.complete(now)
        elif flight and step in ("reply", "fail", "never"):
            url, event = flight.pop(number % len(flight))
            if step == "reply":
                announcer.replied(url, OK, now)
                last[url] = now
                if event == "started":
                    knows.add(url)
            else:
                announcer.failed(url, now, inf if step == "never" else None)
        for announce in announcer.poll(now):
            if announce.event == "stopped":
                assert announce.url in knows
                knows.discard(announce.url)
                flight = [f for f in flight if f[0] != announce.url]
            else:
                assert running
                assert announce.url not in [url for url, _ in flight]
                assert (announce.event == "started") is (announce.url not in knows)
                if announce.event == "":
                    assert now - last[announce.url] >= 600
            flight.append((announce.url, announce.event))
        assert sum(event in ("", "started") for _, event in flight) <= 1 or not running
        deadline = announcer.deadline()
        assert announcer.poll(now) == []
        if deadline is not None:
            assert deadline > now
        elif running and not flight:
            assert all(status.next == inf for status in announcer.trackers)
