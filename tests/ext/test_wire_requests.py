"""Downloading: what a wire asks for, and what becomes of the answers."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from swarm import _wire
from swarm._fill import BLOCK_SIZE, Fill
from swarm._wire import Wire

_spec = importlib.util.spec_from_file_location(
    "reference_wire", Path(__file__).parents[1] / "reference" / "wire.py"
)
assert _spec is not None
assert _spec.loader is not None
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

Connect = Callable[..., Wire]
Fetch = Callable[..., Fill]
UNCHOKE, CHOKE = reference.message(1), reference.message(0)
BLOCKS = 8
LENGTH = BLOCKS * BLOCK_SIZE


def block(number: int, byte: int = 0, piece: int = 0) -> bytes:
    return reference.block(piece, number * BLOCK_SIZE, bytes([byte]) * BLOCK_SIZE)


def asked(wire: Wire) -> list[int]:
    """Block numbers of the requests that it writes now."""
    return [begin // BLOCK_SIZE for _, begin, _ in reference.requests(wire.take_output())]


def written(wire: Wire, kind: int) -> list[int]:
    """Block numbers of the messages of this kind that it writes now."""
    frames = reference.split(wire.take_output())
    return [reference.number(payload, 4) // BLOCK_SIZE for k, payload in frames if k == kind]


@pytest.fixture
def unchoked(connect: Connect) -> Callable[..., Wire]:
    def make(key: int = 1, *, depth: int = 2, **more: object) -> Wire:
        wire = connect(key, piece_length=LENGTH, **more)
        wire.depth = wire.ceiling = depth
        wire.interested(True)
        wire.receive(UNCHOKE)
        wire.take_output()
        wire.take_noise()
        return wire

    return make


# ---------------------------------------------------------------- the pipeline


def test_asks_only_when_unchoked_and_assigned(connect: Connect, fetch: Fetch) -> None:
    wire = connect(piece_length=LENGTH)
    wire.interested(True)
    fill = fetch(wire, length=LENGTH)
    wire.refill()
    assert not asked(wire)
    assert not wire.hungry
    assert wire.receive(UNCHOKE) == _wire.UNCHOKED | _wire.HUNGRY
    assert asked(wire) == list(range(BLOCKS))
    assert wire.outstanding == BLOCKS
    assert fill.wires == [wire]
    assert wire.fills == [fill]
    wire.assign(fill)  # twice is once
    assert fill.wires == [wire]


def test_hungry_only_with_interest(connect: Connect) -> None:
    wire = connect()
    assert wire.receive(UNCHOKE) == _wire.UNCHOKED
    wire.interested(True)
    assert wire.hungry
    wire.held = True
    assert not wire.hungry


def test_depth_grows_a_block_at_a_time_up_to_its_ceiling(
    unchoked: Callable[..., Wire], fetch: Fetch
) -> None:
    wire = unchoked(depth=2)
    wire.ceiling = 4
    fetch(wire, length=LENGTH)
    wire.refill()
    assert asked(wire) == [0, 1]
    wire.receive(block(0))
    assert (wire.depth, wire.outstanding) == (3, 3)
    wire.receive(block(1))
    wire.receive(block(2))
    assert (wire.depth, wire.outstanding) == (4, 4)
    assert asked(wire) == [2, 3, 4, 5, 6]


def test_no_more_is_asked_than_is_allowed(unchoked: Callable[..., Wire], fetch: Fetch) -> None:
    wire = unchoked(depth=4)
    fetch(wire, length=LENGTH)
    wire.allowance = 0
    wire.refill()
    assert (asked(wire), wire.hungry, wire.limited) == ([], False, True)
    wire.allowance = 3
    assert not wire.limited
    wire.refill()
    assert (asked(wire), wire.allowance, wire.limited) == ([0, 1, 2], 0, True)
    assert wire.receive(block(0)) == _wire.LIMITED
    assert not asked(wire)
    wire.allowance = 99
    wire.refill()
    assert (asked(wire), wire.allowance, wire.limited) == ([3, 4], 97, False), "the depth holds"
    assert wire.receive(block(1)) == 0


def test_who_would_not_answer_waits_for_no_limit(connect: Connect, fetch: Fetch) -> None:
    wire = connect(piece_length=LENGTH)
    wire.allowance = 0
    fetch(wire, length=LENGTH)
    assert wire.receive(UNCHOKE) == _wire.UNCHOKED
    assert not wire.limited, "not interested"
    wire.interested(True)
    assert wire.limited
    wire.held = True
    assert not wire.limited
    wire.held = False
    assert wire.receive(CHOKE) == _wire.CHOKED
    assert not wire.limited


def test_depth_shrinks_where_answers_wait_in_a_queue(
    unchoked: Callable[..., Wire], fetch: Fetch
) -> None:
    wire = unchoked(depth=BLOCKS)
    wire.head_room = 1.0
    wire.at(100.0)
    fetch(wire, piece=0, length=LENGTH)
    fetch(wire, piece=1, length=LENGTH)
    wire.refill()
    wire.at(100.1)
    wire.receive(block(0))
    assert wire.depth == BLOCKS, "the ceiling"
    wire.at(101.2)  # two trips of 0.1 s and the head-room
    wire.receive(block(1))
    wire.ceiling = 2 * BLOCKS
    wire.receive(block(2))
    assert wire.depth == BLOCKS + 1
    wire.at(101.21)
    for number in range(3, BLOCKS):
        wire.receive(block(number))
    assert wire.depth == BLOCKS + 1 - (BLOCKS - 3 + 1) // 2
    for number in range(BLOCKS):
        wire.at(110.0 + number)
        wire.receive(block(number, piece=1))
    assert wire.depth == 4, "not less"


def test_the_round_trip_is_the_shortest_wait_but_may_grow(
    unchoked: Callable[..., Wire], fetch: Fetch
) -> None:
    wire = unchoked(depth=2)
    wire.ceiling = 2
    wire.at(50.0)
    fetch(wire, length=LENGTH)
    assert wire.round_trip == 0.0
    wire.refill()
    wire.at(50.3)
    wire.receive(block(0))  # and two more are asked for
    assert wire.round_trip == pytest.approx(0.3)
    wire.at(50.4)
    wire.receive(block(1) + block(2))
    assert wire.round_trip == pytest.approx(0.1)
    wire.at(50.9)
    wire.receive(block(3))
    assert wire.round_trip == pytest.approx(0.15), "everything else was answered before"
    wire.at(51.8)
    wire.receive(block(4))
    assert wire.round_trip == pytest.approx(0.15), "it waited behind another one"


def test_no_peer_is_further_away_than_a_second(unchoked: Callable[..., Wire], fetch: Fetch) -> None:
    wire = unchoked()
    wire.at(50.0)
    fetch(wire, length=LENGTH)
    wire.refill()
    wire.at(57.0)
    wire.receive(block(0))
    assert wire.round_trip == 1.0


def test_busy_is_who_owes_something(unchoked: Callable[..., Wire], fetch: Fetch) -> None:
    wire = unchoked(depth=2)
    wire.at(10.0)
    wire.at(20.0)
    assert wire.busy == 0.0
    fetch(wire, length=2 * BLOCK_SIZE)
    wire.refill()
    wire.at(21.0)
    wire.receive(block(0))
    wire.at(21.5)
    wire.receive(block(1)[:100])
    wire.at(22.0)
    assert wire.busy == pytest.approx(2.0)
    wire.receive(block(1)[100:])
    wire.at(30.0)
    assert wire.busy == pytest.approx(2.0)


def test_what_is_owed_is_what_is_to_come(unchoked: Callable[..., Wire], fetch: Fetch) -> None:
    wire = unchoked(depth=4, fast=True)
    fill = fetch(wire, length=4 * BLOCK_SIZE)
    assert wire.owed == 0
    wire.refill()
    assert wire.owed == 4 * BLOCK_SIZE
    wire.receive(block(0)[: 13 + 1000])
    assert wire.owed == 4 * BLOCK_SIZE - 1000
    wire.spare(fill, 2)
    wire.held = True  # or it asked again
    assert written(wire, 8) == [2, 3]
    assert (wire.outstanding, wire.owed) == (2, 4 * BLOCK_SIZE - 1000)
    wire.receive(block(0)[13 + 1000 :] + reference.reject(0, 2 * BLOCK_SIZE, BLOCK_SIZE))
    assert (wire.outstanding, wire.owed) == (1, 2 * BLOCK_SIZE)
    wire.receive(block(1)[: 13 + 1000])
    wire.unassign(fill)
    assert wire.outstanding == 0
    assert wire.owed == 2 * BLOCK_SIZE - 1000, "the rest of the block, and one that may be sent"


def test_requests_leave_in_batches(unchoked: Callable[..., Wire], fetch: Fetch) -> None:
    wire = unchoked(depth=32)
    length = 100 * BLOCK_SIZE
    fetch(wire, length=length)
    wire.refill()
    assert len(asked(wire)) == 32
    counts = []
    for number in range(16):
        wire.receive(block(number))
        counts.append(len(asked(wire)))
    assert counts == [0, 0, 0, 0, 0, 0, 0, 8] * 2
    wire.receive(block(16))
    wire.refill()  # now means now
    assert len(asked(wire)) == 1


def test_several_fills_are_asked_in_turn(unchoked: Callable[..., Wire], fetch: Fetch) -> None:
    wire = unchoked(depth=BLOCKS + 1)
    fetch(wire, piece=2, length=LENGTH)
    fetch(wire, piece=1, length=LENGTH)
    wire.refill()
    pieces = [piece for piece, _, _ in reference.requests(wire.take_output())]
    assert pieces == [2] * BLOCKS + [1]


def test_a_fill_shared_by_two_is_asked_once(unchoked: Callable[..., Wire], fetch: Fetch) -> None:
    one, two = unchoked(1), unchoked(2)
    fill = fetch(one, two, length=LENGTH)
    one.refill()
    two.refill()
    assert asked(one) == [0, 1]
    assert asked(two) == [2, 3]
    two.receive(block(2) + block(3))
    assert asked(two) == [4, 5]
    assert fill.contributors == {2}
    one.receive(block(0)[:20])
    assert fill.contributors == {1, 2}
    assert fill.missing == BLOCKS - 2


def test_answers_in_any_order(unchoked: Callable[..., Wire], fetch: Fetch) -> None:
    wire = unchoked(depth=BLOCKS)
    fill = fetch(wire, length=LENGTH)
    wire.refill()
    for number in (5, 7, 0, 6, 1, 4, 3, 2):
        wire.receive(block(number, number))
    ((_, slot, size),) = fill.take_ready()
    assert size == LENGTH
    assert bytes(slot[::BLOCK_SIZE]) == bytes(range(BLOCKS))
    assert wire.wasted == 0


# ---------------------------------------------------------------- end game


def test_end_game_asks_twice_and_cancels(unchoked: Callable[..., Wire], fetch: Fetch) -> None:
    dirty: list[Wire] = []
    wires = [unchoked(key, depth=BLOCKS, dirty=dirty) for key in range(1, 5)]
    fill = fetch(*wires, length=LENGTH)
    fill.endgame = True
    for wire in wires:
        wire.refill()
    everything = list(range(BLOCKS))
    # Three holders of a block at most.
    assert [sorted(asked(wire)) for wire in wires] == [everything] * 3 + [[]]
    assert not fill.has_free
    dirty.clear()
    wires[1].receive(block(0, 1))
    assert dirty == [wires[0], wires[2]]
    for wire in (wires[0], wires[2]):
        assert written(wire, reference.CANCEL) == [0]
        assert wire.outstanding == BLOCKS - 1
    assert wires[1].take_output() == b""
    # The answer was on its way already: wasted, no offence, and not in the slot.
    wires[0].receive(block(0, 9))
    assert (wires[0].downloaded, wires[0].wasted) == (0, BLOCK_SIZE)
    for number in range(1, BLOCKS):
        wires[2].receive(block(number, 3))
    ((_, slot, _),) = fill.take_ready()
    assert bytes(slot[::BLOCK_SIZE]) == bytes([1] + [3] * (BLOCKS - 1))
    assert [wire.outstanding for wire in wires] == [0] * 4
    assert [wire.fills for wire in wires] == [[]] * 4
    assert fill.wires == []
    assert fill.contributors == {2, 3}
    assert sum(wire.downloaded for wire in wires) == LENGTH


def test_without_end_game_nothing_is_asked_twice(
    unchoked: Callable[..., Wire], fetch: Fetch
) -> None:
    one, two = unchoked(1, depth=BLOCKS), unchoked(2, depth=BLOCKS)
    fetch(one, two, length=LENGTH)
    one.refill()
    two.refill()
    assert len(asked(one)) == BLOCKS
    assert asked(two) == []
    assert two.hungry


@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("blocks", [1, 2], ids=["last block", "more to come"])
def test_half_a_block_when_another_peer_completes_it(
    unchoked: Callable[..., Wire], taken: bool, blocks: int
) -> None:
    one, two = unchoked(1, depth=1), unchoked(2, depth=1)
    fill = Fill(0, blocks * BLOCK_SIZE, BLOCK_SIZE)
    fill.attach(bytearray(BLOCK_SIZE))  # the second block has no slot yet
    fill.endgame = True
    one.assign(fill)
    two.assign(fill)
    one.refill()
    two.refill()
    half = BLOCK_SIZE // 2
    one.receive(block(0, 1)[: 13 + half])
    assert one.outstanding == 1
    one.take_output()
    assert two.receive(block(0, 2)) & _wire.PARTS
    assert one.outstanding == 0
    assert one.take_output() == b""  # too late to cancel what is coming in
    assert one.wasted == half
    if taken:
        ((_, slot, _),) = fill.take_ready()
        slot.append(0)
    one.receive(block(0, 1)[13 + half :] + reference.have(3))
    assert one.wasted == BLOCK_SIZE
    assert one.downloaded == 0
    assert one.bits[3]
    if not taken:
        ((_, slot, _),) = fill.take_ready()
    assert set(slot[:BLOCK_SIZE]) == {2}
    assert fill.contributors == {1, 2}  # the first had its bytes in it for a while


# ---------------------------------------------------------------- giving back


@pytest.mark.parametrize("how", ["unassign", "release", "leave"])
def test_giving_back_in_the_middle_of_a_block(
    unchoked: Callable[..., Wire], fetch: Fetch, how: str
) -> None:
    one, two = unchoked(1, depth=3), unchoked(2, depth=BLOCKS)
    fill = fetch(one, two, length=LENGTH)
    one.refill()
    assert asked(one) == [0, 1, 2]
    one.receive(block(0, 1)[:1000])
    one.take_output()
    if how == "unassign":
        one.unassign(fill)
    else:
        getattr(one, how)()
    assert one.outstanding == 0
    assert one.fills == []
    assert fill.wires == [two]
    if how == "leave":
        assert one.take_output() == b""
    else:
        assert written(one, reference.CANCEL) == [1, 2, 3]
        one.receive(block(0, 1)[1000:] + block(1, 1))
        assert one.wasted == 2 * BLOCK_SIZE
    two.refill()
    assert asked(two) == list(range(BLOCKS))
    for number in range(BLOCKS):
        two.receive(block(number, 2))
    ((_, slot, _),) = fill.take_ready()
    assert set(slot) == {2}


def test_unassign_leaves_other_fills_alone(unchoked: Callable[..., Wire], fetch: Fetch) -> None:
    wire = unchoked(depth=2 * BLOCKS)
    first = fetch(wire, piece=1, length=LENGTH)
    second = fetch(wire, piece=2, length=LENGTH)
    wire.refill()
    wire.unassign(first)
    wire.unassign(first)
    assert wire.fills == [second]
    assert wire.outstanding == BLOCKS
    wire.receive(block(3, 1, piece=2))
    assert second.missing == BLOCKS - 1
    assert first.missing == BLOCKS


@pytest.mark.parametrize("keep", [0, 1, 2, 3, 99])
@pytest.mark.parametrize("started", [False, True])
def test_sparing_a_peer_its_last_blocks(
    unchoked: Callable[..., Wire], fetch: Fetch, keep: int, started: bool
) -> None:
    one, two = unchoked(1, depth=4), unchoked(2, depth=2 * BLOCKS)
    other = fetch(one, piece=1, length=BLOCK_SIZE)
    fill = fetch(one, two, length=LENGTH)
    one.refill()
    assert asked(one) == [0, 0, 1, 2]
    one.receive(block(0, 1, piece=1) + block(0, 1)[: 900 * started])
    one.take_output()
    before = [0, 1, 2, 3, 4][: 4 + started]
    one.ceiling = one.depth = 1
    one.spare(fill, keep)
    assert written(one, reference.CANCEL) == before[keep:][started and not keep :]
    assert one.outstanding == min(keep, len(before))
    assert other.done
    assert one.fills == ([fill] if keep else [])
    two.refill()
    assert asked(two) == list(range(min(keep, len(before)), BLOCKS))
    one.receive(block(0, 1)[900 * started :])
    assert one.blocks == 1 + bool(keep)
    assert fill.missing == BLOCKS - bool(keep)


def test_late_answers_to_what_was_cancelled_are_no_offence(
    unchoked: Callable[..., Wire], fetch: Fetch
) -> None:
    wire = unchoked(depth=64)
    wire.interested(True)
    fill = fetch(wire, length=40 * BLOCK_SIZE)
    wire.refill()
    wire.unassign(fill)
    for number in range(40):
        wire.receive(block(number))
    assert wire.wasted == 40 * BLOCK_SIZE
    assert wire.noise == 0


# ---------------------------------------------------------------- choke, reject, allowed fast


def test_a_choke_drops_requests_without_the_fast_extension(
    unchoked: Callable[..., Wire], fetch: Fetch
) -> None:
    one, two = unchoked(1, depth=3), unchoked(2, depth=BLOCKS)
    fill = fetch(one, two, length=LENGTH)
    one.refill()
    one.receive(block(0, 1)[:5000])
    one.take_output()
    assert one.receive(CHOKE) == 0  # in the middle of the block: payload, not a message
    one.receive(block(0, 1)[5005:])
    assert one.receive(CHOKE) == _wire.CHOKED
    assert one.peer_choking
    assert one.outstanding == 0
    assert one.take_output() == b""
    assert one.fills == [fill]  # whether it is worth waiting is for others to say
    two.refill()
    assert asked(two) == list(range(1, BLOCKS))
    one.receive(block(1, 1))  # crossed with the choke
    assert one.wasted == BLOCK_SIZE
    two.receive(block(1, 2))
    one.receive(UNCHOKE)
    assert asked(one) == []
    two.release()
    one.refill()
    assert asked(one) == [2, 3, 4]


def test_a_choke_leaves_requests_with_the_fast_extension(
    unchoked: Callable[..., Wire], fetch: Fetch
) -> None:
    wire = unchoked(depth=3, fast=True)
    fill = fetch(wire, length=LENGTH)
    wire.refill()
    assert asked(wire) == [0, 1, 2]
    assert wire.receive(CHOKE) == _wire.CHOKED
    assert wire.outstanding == 3
    wire.receive(block(0))
    flags = wire.receive(reference.reject(0, BLOCK_SIZE, BLOCK_SIZE))
    assert flags == _wire.REJECTED
    assert wire.outstanding == 1
    assert not wire.held
    assert fill.has_free
    assert asked(wire) == []
    assert wire.receive(UNCHOKE) & _wire.UNCHOKED
    assert asked(wire) == [1, 3]


def test_a_reject_while_unchoked_holds_requests_back(
    unchoked: Callable[..., Wire], fetch: Fetch
) -> None:
    wire = unchoked(depth=3, fast=True)
    fetch(wire, length=LENGTH)
    wire.refill()
    asked(wire)
    assert wire.receive(reference.reject(0, BLOCK_SIZE, BLOCK_SIZE)) == _wire.REJECTED
    assert wire.held
    wire.receive(block(0))
    wire.refill()
    assert asked(wire) == []
    wire.held = False
    wire.refill()
    assert asked(wire) == [1, 3]
    wire.receive(reference.reject(0, 2 * BLOCK_SIZE, BLOCK_SIZE))
    wire.receive(CHOKE + UNCHOKE)
    assert not wire.held


def test_a_rejected_block_goes_to_the_others(unchoked: Callable[..., Wire], fetch: Fetch) -> None:
    one, two = unchoked(1, depth=BLOCKS, fast=True), unchoked(2, depth=BLOCKS)
    fetch(one, two, length=LENGTH)
    one.refill()
    one.receive(reference.reject(0, 3 * BLOCK_SIZE, BLOCK_SIZE))
    two.refill()
    assert asked(two) == [3]


def test_rejects_of_what_was_cancelled_are_no_noise(
    unchoked: Callable[..., Wire], fetch: Fetch
) -> None:
    wire = unchoked(depth=BLOCKS, fast=True)
    fill = fetch(wire, length=LENGTH)
    wire.refill()
    wire.unassign(fill)
    rejects = [reference.reject(0, i * BLOCK_SIZE, BLOCK_SIZE) for i in range(BLOCKS)]
    assert wire.receive(b"".join(rejects)) & _wire.REJECTED == 0
    assert wire.noise == 0
    wire.receive(rejects[0])
    assert wire.take_noise() == 1
    assert wire.noise == 0


def test_allowed_fast_is_asked_for_while_choked(connect: Connect, fetch: Fetch) -> None:
    wire = connect(piece_length=LENGTH, fast=True)
    wire.interested(True)
    fetch(wire, piece=0, length=LENGTH)
    fetch(wire, piece=2, length=LENGTH)
    wire.take_output()
    assert wire.receive(reference.allowed_fast(2)) & _wire.ALLOWED
    assert {piece for piece, _, _ in reference.requests(wire.take_output())} == {2}
    assert wire.outstanding == BLOCKS
    wire.receive(block(0, piece=2))
    assert wire.blocks == 1
    # A reject takes the promise back.
    wire.receive(reference.reject(2, BLOCK_SIZE, BLOCK_SIZE))
    assert wire.allowed_fast == []
    assert asked(wire) == []
    assert not wire.held


def test_allowed_fast_makes_hungry(connect: Connect) -> None:
    wire = connect(fast=True)
    wire.interested(True)
    assert not wire.hungry
    assert wire.receive(reference.allowed_fast(3)) == _wire.ALLOWED | _wire.HUNGRY
    assert wire.allowed_fast == [3]


# ---------------------------------------------------------------- availability


def test_availability_follows_the_peers(connect: Connect) -> None:
    from swarm._bits import Rarity

    rarity = Rarity(4)
    one, two, three = (connect(key, rarity=rarity, fast=True) for key in (1, 2, 3))
    one.receive(reference.message(reference.HAVE_ALL))
    two.receive(reference.bitfield({0, 1, 2}, 4))
    three.receive(reference.have(1))
    assert [rarity.availability(i) for i in range(4)] == [2, 3, 2, 1]
    assert rarity.seeds == 1
    two.receive(reference.have(3))  # the last one: a seed from now on
    assert rarity.seeds == 2
    assert two.bits.full
    one.leave()
    three.leave()
    assert [rarity.availability(i) for i in range(4)] == [1, 1, 1, 1]
    two.leave()
    two.leave()
    assert [rarity.availability(i) for i in range(4)] == [0, 0, 0, 0]


def test_flags_of_haves(connect: Connect) -> None:
    wire = connect(own={1})
    assert wire.receive(reference.have(1)) == 0  # nothing new to us
    assert wire.receive(reference.have(2)) == _wire.HAVE
    assert wire.receive(reference.have(2)) == 0
    assert wire.noise == 1
    assert connect().receive(reference.bitfield({1}, 4)) == _wire.BITFIELD
