"""How many slots there are: more on a fast line, fewer when it is idle, none for what fills buffers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from swarm._bits import Bits, Rarity
from swarm._wire import Wire
from swarm.engine.peer import Peer
from swarm.engine.slots import BUFFERED, LOOK, ROUND, Slots

RATE = 256 << 10
LEAST = 8


def test_a_fast_line_has_slots_for_all_that_it_serves_well() -> None:
    slots = Slots(LEAST, RATE)
    slots.begin(0.0)
    assert slots.look(LOOK, round(100 * RATE * LOOK))
    assert slots.count == 100
    assert not slots.look(2 * LOOK, round(50 * RATE * LOOK)), "a moment says nothing"
    assert slots.count == 100


def test_a_line_that_carries_less_for_a_round_has_fewer() -> None:
    slots = Slots(LEAST, RATE)
    for second in range(round(3 * ROUND)):
        slots.look(float(second), 100 * RATE)
    assert slots.count == 100
    for second in range(round(3 * ROUND), round(6 * ROUND)):
        slots.look(float(second), 40 * RATE)
    assert slots.count == 40
    for second in range(round(6 * ROUND), round(9 * ROUND)):
        slots.look(float(second), 0)
    assert slots.count == LEAST


def test_without_a_rate_their_number_is_fixed() -> None:
    slots = Slots(LEAST, None)
    for second in range(30):
        assert not slots.look(float(second), 1 << 30)
    assert slots.count == LEAST


@given(st.lists(st.tuples(st.floats(0.01, 5), st.integers(0, 1 << 30))))
def test_there_are_always_the_least(looks: list[tuple[float, int]]) -> None:
    slots, now = Slots(LEAST, RATE), 0.0
    for span, sent in looks:
        now += span
        before = slots.count
        assert slots.look(now, sent) == (slots.count > before)
        assert slots.count >= LEAST


def test_what_fills_buffers_after_an_unchoke_does_not_count() -> None:
    have = Bits(1)
    wire = Wire(1, have, Rarity(1), [], piece_length=1 << 14, length=1 << 14)
    peer = Peer(wire, addr=("10.0.0.1", 1), peer_id=bytes(20), outgoing=True, now=0.0)
    wire.sent(5 << 20, False)
    peer.choke(False, 0.0)
    wire.sent(BUFFERED, False)
    assert peer.take_served() == 0
    wire.sent(1000, False)
    assert peer.take_served() == 1000
    assert peer.take_served() == 0
    peer.choke(True, 1.0)
    peer.choke(False, 2.0)
    wire.sent(1000, False)
    assert peer.take_served() == 0, "its buffers may have run empty meanwhile"
