"""A swarm of twenty engines in virtual time: what it does, read from what its nodes said."""

from __future__ import annotations

import os
import subprocess
import sys
from bisect import bisect
from collections import Counter
from itertools import pairwise

import pytest

from swarm._bits import CLASS_EDGES
from swarm.testing import Event, Node, Swarm, trace_digest

KIB, MIB = 1 << 10, 1 << 20
SLOTS = 8
LATE = 30.0


def populate(swarm: Swarm) -> Swarm:
    """One seed and 19 leechers: of three speeds, three of them late."""
    swarm.add("seed", complete=True, up=MIB)
    for i in range(19):
        up = (512 * KIB, 256 * KIB, 64 * KIB, 256 * KIB)[i % 4]
        speed = {512 * KIB: "fast", 256 * KIB: "mid", 64 * KIB: "slow"}[up]
        late = i >= 16
        name = f"{'late' if late else speed}{i}"
        swarm.add(name, up=up, start=LATE if late else i * 0.1)
    return swarm


@pytest.fixture(scope="module")
def swarm() -> Swarm:
    """It has run to its end; nobody may change it."""
    swarm = populate(Swarm(1, length=24 * MIB, piece_length=256 * KIB))
    swarm.run()
    swarm.run(until=swarm.clock.now + 1, stop=lambda: False)
    return swarm


def leechers(swarm: Swarm) -> list[Node]:
    return [node for node in swarm.nodes.values() if node.name != "seed"]


def finished(swarm: Swarm) -> dict[str, float]:
    return {event[1]: event[0] for event in swarm.events("complete")}


def unchoked(trace: list[Event], node: str) -> list[tuple[str, float, float]]:
    """(peer, from, to) of everybody whom this node unchoked."""
    since: dict[str, float] = {}
    spans = []
    for time, who, what, details in trace:
        if who != node:
            continue
        peer = str(details[0]) if details else ""
        if what == "unchoke":
            since[peer] = time
        elif what in ("choke", "leave") and peer in since:
            spans.append((peer, since.pop(peer), time))
    return spans + [(peer, start, trace[-1][0]) for peer, start in since.items()]


# ---------------------------------------------------------------- one seed, one story


def small(seed: int) -> Swarm:
    swarm = populate(Swarm(seed, length=MIB, piece_length=32 * KIB))
    swarm.run()
    return swarm


def test_a_seed_tells_one_story() -> None:
    one, two, other = small(5), small(5), small(6)
    assert one.trace == two.trace
    assert one.digest() == two.digest() == trace_digest(two.trace)
    assert one.digest() != other.digest()


def test_the_story_does_not_depend_on_the_process() -> None:
    program = (
        "from swarm.testing import Swarm\n"
        "swarm = Swarm(3, length=1 << 20, piece_length=1 << 15)\n"
        "swarm.add(complete=True)\n"
        "for i in range(5): swarm.add(start=float(i))\n"
        "swarm.run(); print(swarm.digest())\n"
    )
    told = set()
    for hash_seed in "1", "2":
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        run = [sys.executable, "-c", program]
        told.add(subprocess.run(run, env=environment, capture_output=True, check=True).stdout)
    assert len(told) == 1


def test_everybody_has_the_right_bytes(swarm: Swarm) -> None:
    assert len(finished(swarm)) == 19
    for node in leechers(swarm):
        assert node.store.data() == swarm.content.data
        assert len(swarm.events("verified", node.name)) == swarm.content.piece_count
    assert not swarm.events("corrupt")
    assert not swarm.events("ban")


def test_the_line_is_used(swarm: Swarm) -> None:
    """All uplinks together would need half of this if they were never idle."""
    wanted = 19 * swarm.content.length
    rates = sum(node.up.rate for node in swarm.nodes.values())
    assert swarm.clock.now < 2 * wanted / rates + LATE / 2


# ---------------------------------------------------------------- which piece


def requests(swarm: Swarm, node: str) -> list[tuple[str, int, int, int]]:
    """(peer, piece, availability, least availability among what was left) of new pieces."""
    return [event[3] for event in swarm.events("request", node)]  # type: ignore[misc]


def test_first_pieces_are_random(swarm: Swarm) -> None:
    first = [requests(swarm, node.name)[0][1] for node in leechers(swarm)]
    assert len(set(first)) >= 12
    assert max(Counter(first).values()) <= 4


def test_then_the_rarest_comes_first(swarm: Swarm) -> None:
    picks = [pick for node in leechers(swarm) for pick in requests(swarm, node.name)[4:]]
    assert len(picks) > 900
    rarest = [bisect(CLASS_EDGES, pick[2]) <= bisect(CLASS_EDGES, pick[3]) for pick in picks]
    assert sum(rarest) / len(picks) > 0.99


def test_the_seed_gives_every_piece_before_it_gives_some_often(swarm: Swarm) -> None:
    """Leechers learn of each other's pieces only when they are complete, so once each cannot be.

    Picks at random would need 2.4 pieces for each one until 9 of 10 are out, and 4.7 for all.
    """
    asked = [
        event[3][1]
        for event in swarm.trace
        if event[2] in ("request", "share") and event[3][0] == "seed"
    ]
    pieces = swarm.content.piece_count
    assert len(set(asked[: 2 * pieces])) > 0.9 * pieces
    assert len(set(asked[: 3 * pieces])) == pieces


# ---------------------------------------------------------------- who is unchoked


def test_no_more_than_the_slots_are_unchoked(swarm: Swarm) -> None:
    for node in swarm.nodes:
        steps = [(start, 1) for _, start, _ in unchoked(swarm.trace, node)]
        steps += [(end, -1) for _, _, end in unchoked(swarm.trace, node)]
        count = 0
        for _, step in sorted(steps):
            count += step
            assert count <= SLOTS, node
        assert steps


def test_who_gives_more_is_unchoked_more(swarm: Swarm) -> None:
    end = min(finished(swarm).values())
    spent: Counter[str] = Counter()
    for node in leechers(swarm):
        for peer, start, stop in unchoked(swarm.trace, node.name):
            spent[peer] += max(0.0, min(stop, end) - max(start, 10.0))  # the first round is blind
    mean = {
        speed: sum(spent[name] for name in swarm.nodes if name.startswith(speed)) / 4
        for speed in ("fast", "slow")
    }
    assert mean["fast"] > 1.3 * mean["slow"]


def test_who_gives_more_is_done_earlier(swarm: Swarm) -> None:
    done = finished(swarm)
    fast = [done[name] for name in done if name.startswith("fast")]
    slow = [done[name] for name in done if name.startswith("slow")]
    assert sum(fast) / len(fast) < sum(slow) / len(slow)


def test_the_optimistic_slot_goes_round(swarm: Swarm) -> None:
    """Even who gives least is tried by many: more peers than there are slots."""
    for node in leechers(swarm):
        if not node.name.startswith("late"):
            tried = {peer for peer, _, _ in unchoked(swarm.trace, node.name)}
            assert len(tried) > SLOTS, node.name


def test_newcomers_are_started(swarm: Swarm) -> None:
    for node in leechers(swarm):
        if node.name.startswith("late"):
            first = swarm.events("verified", node.name)[0]
            assert first[0] < LATE + 15


# ---------------------------------------------------------------- the end


def test_pw34_the_end_game_wastes_little(swarm: Swarm) -> None:
    assert swarm.events("cancel")
    totals = [node.engine.totals() for node in leechers(swarm)]
    downloaded = sum(total[0] for total in totals)
    wasted = sum(total[2] for total in totals)
    assert downloaded == 19 * swarm.content.length
    assert wasted <= 0.02 * downloaded


def test_nobody_waits_for_its_last_pieces(swarm: Swarm) -> None:
    for node in leechers(swarm):
        times = [event[0] for event in swarm.events("verified", node.name)]
        assert max(b - a for a, b in pairwise(times[-8:])) < 8.0, node.name


def test_seeds_do_not_keep_seeds(swarm: Swarm) -> None:
    reasons = Counter(event[3][1] for event in swarm.events("leave"))
    assert reasons["nothing to trade"] >= 19
    ends = [end for node in swarm.nodes.values() for end in node.ends.values()]
    assert all(end.peer.joined > swarm.clock.now - 0.5 for end in ends), "they try, and part"
