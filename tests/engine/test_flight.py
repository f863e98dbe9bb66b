"""The pieces under way: who gets which, who helps whom, and what happens to what is left over."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable

from swarm._bits import Bits
from swarm._fill import BLOCK_SIZE
from swarm._native import Pool
from swarm._wire import Wire
from swarm.engine.flight import PART_SIZE, Flight
from swarm.engine.peer import Peer
from swarm.engine.picker import Picker

FAST, SLOW = 1e9, 100.0


class Desk:
    """A flight, its memory, and wires that were just unchoked by peers who have everything."""

    def __init__(self, pieces: int, piece_length: int, *, memory: int = 64 << 20) -> None:
        self.length = pieces * piece_length
        self.piece_length = piece_length
        self.have = Bits(pieces)
        self.picker = Picker(self.have)
        self.pool = Pool(memory)
        self.parts: list[tuple[int, int, int, bool]] = []
        self.patient: list[bool] = []
        self.aligned: list[tuple[int, int]] = []
        self.slots: list[object] = []
        self.forgotten: list[int] = []
        self.peers: list[Peer] = []
        self.flight = Flight(
            self.picker,
            self,
            random.Random(1),
            length=self.length,
            piece_length=piece_length,
            memory=memory,
        )

    def checkout(self, size: int) -> object | None:
        return self.pool.checkout(size)

    def align(self, slot: object, piece: int, offset: int) -> None:
        self.aligned.append((piece, offset))

    def commit(
        self, piece: int, offset: int, slot: object, length: int, *, last: bool, patient: bool
    ) -> None:
        self.parts.append((piece, offset, length, last))
        self.patient.append(patient)
        self.slots.append(slot)

    def forget_piece(self, piece: int) -> None:
        self.forgotten.append(piece)

    def peer(self, pace: float = FAST, has: Iterable[int] | None = None) -> Peer:
        key = len(self.peers) + 1
        wire = Wire(
            key,
            self.have,
            self.picker.rarity,
            [],
            piece_length=self.piece_length,
            length=self.length,
        )
        peer = Peer(wire, addr=("10.0.0.1", key), peer_id=bytes(20), outgoing=True, now=0.0)
        wire.owner = peer
        bits = Bits(self.have.n)
        for piece in range(self.have.n) if has is None else has:
            bits.set(piece)
        raw = bytes(bits)[: (self.have.n + 7) // 8]
        wire.receive((1 + len(raw)).to_bytes(4, "big") + b"\x05" + raw + b"\0\0\0\1\1")
        wire.interested(True)
        peer.pace = pace
        peer.blocks = 1 if pace else 0
        self.peers.append(peer)
        return peer

    def feed(self, peer: Peer, depth: int = 1000) -> set[int]:
        """Gives it work; the pieces it fetches then."""
        peer.wire.depth = peer.wire.ceiling = depth
        self.flight.feed(peer)
        return {fill.piece for fill in peer.wire.fills}

    def asked(self, peer: Peer) -> list[tuple[int, int]]:
        """(piece, begin) it was asked since the last time."""
        return self._said(peer, 6)

    def cancelled(self, peer: Peer) -> list[tuple[int, int]]:
        return self._said(peer, 8)

    def _said(self, peer: Peer, kind: int) -> list[tuple[int, int]]:
        data = peer.wire.take_output()
        found = []
        at = 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 4], "big")
            if data[at + 4] == kind:
                numbers = data[at + 5 : at + 9], data[at + 9 : at + 13]
                found.append((int.from_bytes(numbers[0], "big"), int.from_bytes(numbers[1], "big")))
            at += 4 + length
        return found

    def send(self, peer: Peer, blocks: list[tuple[int, int]]) -> None:
        for piece, begin in blocks:
            head = (9 + BLOCK_SIZE).to_bytes(4, "big") + b"\x07"
            where = piece.to_bytes(4, "big") + begin.to_bytes(4, "big")
            peer.wire.receive(head + where + bytes(BLOCK_SIZE))
        self.flight.collect(peer)

    def written(self) -> None:
        """The store is through with all parts, and feeds go on."""
        self.slots.clear()
        self.flight.feed_starving()


# ---------------------------------------------------------------- who gets what


def test_a_fast_peer_sends_small_pieces_one_behind_the_other() -> None:
    """A MiB of them: they are read and written at once."""
    desk = Desk(160, PART_SIZE // 4)
    desk.picker.rarity.join(desk.peer().wire.bits)
    peer = desk.peer()
    peer.proven = True
    peer.burst = 4 * PART_SIZE
    desk.feed(peer, 12 * 16)
    order = [piece for piece, begin in desk.asked(peer) if not begin]
    ends = [at for at, piece in enumerate(order) if piece % 4 == 3]
    runs = [order[a + 1 : b + 1] for a, b in zip([-1, *ends], ends, strict=False)]
    assert len(runs) >= 3
    assert all(run == list(range(run[0], run[0] + len(run))) for run in runs)
    assert len({run[0] // 4 for run in runs}) == len(runs), "and then elsewhere"
    slow = desk.peer()
    slow.proven = True
    slow.burst = 4 * PART_SIZE - 1
    desk.feed(slow, 12 * 16)
    order = [piece for piece, begin in desk.asked(slow) if not begin]
    assert any(b != a + 1 and a % 4 != 3 for a, b in itertools.pairwise(order))


def test_a_fast_peer_sends_pieces_of_several_parts_side_by_side() -> None:
    desk = Desk(32, 4 * PART_SIZE)
    peer = desk.peer()
    assert len(desk.feed(peer, 4 * 64)) == 1  # so fast is nobody known to be
    peer.proven = True
    peer.burst = 100 << 20  # a quarter of a second of it is six pieces
    under_way = desk.feed(peer, 9 * 64)
    assert len(under_way) == 6
    assert sorted(desk.aligned)[-1][1] < 4 * PART_SIZE
    blocks = desk.asked(peer)
    firsts = [piece for piece, begin in blocks if not begin]
    parts = [begin // PART_SIZE for piece, begin in blocks if piece in firsts[1:]]
    assert parts == sorted(parts), "one part of each before the next"
    desk.picker.sequential = True
    desk.send(peer, blocks)
    desk.written()
    assert desk.feed(peer, 9 * 64) <= under_way, (
        "in order, nothing is begun beside what is under way"
    )


def test_no_more_pieces_are_under_way_side_by_side_than_there_are_slots_for() -> None:
    """What a kill costs is what is there of pieces that are not whole."""
    desk = Desk(32, 4 * PART_SIZE, memory=3 * PART_SIZE)
    peer = desk.peer()
    peer.proven = True
    peer.burst = 100 << 20
    desk.feed(peer, 9 * 64)
    for _ in range(40):
        desk.send(peer, desk.asked(peer)[:64])
        desk.written()
        desk.feed(peer, 9 * 64)
        assert 0 < len(desk.flight.fills) <= 3


def test_fast_peers_own_their_pieces() -> None:
    desk = Desk(8, 4 * BLOCK_SIZE)
    first, second = desk.peer(), desk.peer()
    one, two = desk.feed(first, 4), desk.feed(second, 4)
    assert len(one) == len(two) == 1
    assert one != two


def test_slow_peers_share_a_piece() -> None:
    desk = Desk(8, 16 * BLOCK_SIZE)
    first, second, fast = desk.peer(SLOW), desk.peer(SLOW), desk.peer()
    assert desk.feed(first, 4) == desk.feed(second, 4)
    assert not desk.feed(fast, 4) & desk.feed(first, 4)
    assert not set(desk.asked(first)) & set(desk.asked(second))


def test_the_pipeline_is_filled_over_pieces() -> None:
    desk = Desk(8, 4 * BLOCK_SIZE)
    peer = desk.peer()
    peer.proven = True
    assert len(desk.feed(peer, 10)) == 3
    assert len(desk.asked(peer)) == 10


def test_pw23_who_has_not_shown_a_right_piece_gets_no_third() -> None:
    desk = Desk(8, 4 * BLOCK_SIZE)
    peer = desk.peer()
    assert len(desk.feed(peer, 10)) == 2
    assert not desk.flight.starving, "it waits for a verdict, and not for a slot"
    struck = desk.peer()
    struck.strikes = 1
    assert len(desk.feed(struck, 10)) == 1


def test_only_what_the_peer_has() -> None:
    desk = Desk(8, 4 * BLOCK_SIZE)
    assert desk.feed(desk.peer(has=[2, 5])) == {2, 5}
    assert desk.pool.in_use == 2 * 4 * BLOCK_SIZE


def test_only_what_nobody_waits_for_is_patient() -> None:
    desk = Desk(4, 2 * BLOCK_SIZE)
    peer, helper = desk.peer(SLOW), desk.peer(SLOW)
    desk.feed(peer, 4)
    desk.send(peer, desk.asked(peer))  # two whole pieces of a stranger
    peer.proven = helper.proven = True
    desk.feed(peer, 4)
    asked = desk.asked(peer)
    desk.send(peer, asked[:2])  # a piece of its own, with another one to come
    desk.send(peer, asked[2:])  # the last one that is under way
    assert desk.patient == [False, False, True, False]

    desk = Desk(4, 2 * BLOCK_SIZE)
    peer, helper = desk.peer(SLOW), desk.peer(SLOW)
    peer.proven = helper.proven = True
    desk.feed(peer, 1)
    desk.feed(helper, 2)
    desk.send(peer, desk.asked(peer))
    desk.send(helper, desk.asked(helper)[:1])  # a piece of two senders, with another one to come
    assert [last for *_, last in desk.parts] == [True]
    assert desk.patient == [False]


# ---------------------------------------------------------------- what is left over


def test_orphans_are_finished_first() -> None:
    desk = Desk(8, 4 * BLOCK_SIZE)
    first, second = desk.peer(), desk.peer()
    desk.feed(first, 4)
    blocks = desk.asked(first)
    desk.send(first, blocks[:3])
    desk.flight.abandon(first)
    desk.feed(second, 1)
    assert desk.asked(second) == blocks[3:]
    desk.send(second, blocks[3:])
    assert desk.flight.verdict(blocks[0][0], True) == {1, 2}


def test_a_piece_that_was_not_begun_goes_back() -> None:
    desk = Desk(1, 4 * BLOCK_SIZE)
    first = desk.peer()
    desk.feed(first)
    assert desk.picker.exhausted
    desk.flight.abandon(first)
    assert not desk.picker.exhausted
    assert desk.pool.in_use == 0
    assert len(desk.cancelled(first)) == 4


def test_parole_starts_an_orphan_over() -> None:
    """So that every byte of the piece is its own."""
    desk = Desk(1, 4 * BLOCK_SIZE)
    first, suspect = desk.peer(), desk.peer()
    suspect.parole = True
    desk.feed(first)
    blocks = desk.asked(first)
    desk.send(first, blocks[:3])
    desk.flight.abandon(first)
    desk.feed(suspect)
    assert desk.asked(suspect) == blocks
    desk.send(suspect, blocks)
    assert desk.flight.verdict(0, False) == {2}
    assert not desk.picker.exhausted


def test_nobody_joins_a_piece_of_a_peer_on_parole() -> None:
    desk = Desk(1, 8 * BLOCK_SIZE)
    suspect, other = desk.peer(), desk.peer()
    suspect.parole = True
    desk.feed(suspect, 4)
    assert desk.feed(other) == set()


def test_a_slow_peer_on_parole_loses_the_last_piece() -> None:
    desk = Desk(1, 8 * BLOCK_SIZE)
    suspect, other = desk.peer(SLOW), desk.peer()
    suspect.parole = True
    desk.feed(suspect)
    blocks = desk.asked(suspect)
    assert desk.feed(other) == {0}
    assert desk.asked(other) == blocks
    assert suspect.wire.fills == []


# ---------------------------------------------------------------- end game


def test_an_idle_peer_helps_where_blocks_are_free() -> None:
    desk = Desk(1, 8 * BLOCK_SIZE)
    first, second = desk.peer(), desk.peer()
    desk.feed(first, 3)
    desk.feed(second)
    assert len(desk.asked(first)) == 3
    assert len(desk.asked(second)) == 5


def test_end_game_takes_from_the_slow_what_it_was_asked_last() -> None:
    desk = Desk(1, 8 * BLOCK_SIZE)
    slow, fast = desk.peer(6 * BLOCK_SIZE), desk.peer()
    desk.feed(slow)
    blocks = desk.asked(slow)
    desk.feed(fast)
    taken = desk.asked(fast)
    assert taken == blocks[1:], "but for what it may have sent"
    assert desk.cancelled(slow) == taken
    assert slow.wire.outstanding == 1


def test_end_game_sees_the_whole_queue_of_the_slow() -> None:
    """What it will send soon is not a block of each piece, but the head of one row."""
    desk = Desk(2, 4 * BLOCK_SIZE)
    slow, fast = desk.peer(6 * BLOCK_SIZE), desk.peer()
    desk.feed(slow)
    blocks = desk.asked(slow)
    desk.feed(fast)
    assert sorted(desk.asked(fast)) == sorted(blocks[1:])
    assert slow.wire.outstanding == 1


def test_end_game_leaves_the_fast_alone() -> None:
    desk = Desk(1, 8 * BLOCK_SIZE)
    first, second = desk.peer(64 * BLOCK_SIZE), desk.peer()
    desk.feed(first)
    assert desk.feed(second) == set()


def test_end_game_leaves_what_comes_before_the_end() -> None:
    """The last of two pieces is in slower hands, and early enough there."""
    desk = Desk(2, 16 * BLOCK_SIZE)
    slow, slower, fast = desk.peer(4 * BLOCK_SIZE), desk.peer(3 * BLOCK_SIZE), desk.peer(BLOCK_SIZE)
    desk.feed(slow, 16)
    desk.feed(slower, 8)
    assert desk.feed(fast, 1) == {slower.wire.fills[0].piece}, "it helps with what is free"
    desk.asked(fast)
    assert slow.wire.outstanding == 16


def test_end_game_begins_when_a_peer_is_nearly_through() -> None:
    desk = Desk(2, 8 * BLOCK_SIZE)
    slow, fast = desk.peer(BLOCK_SIZE), desk.peer(8 * BLOCK_SIZE)
    desk.feed(slow, 8)
    desk.feed(fast, 8)
    mine = desk.asked(fast)
    assert desk.feed(fast, 9) == {mine[0][0]}, "a second's work is enough"
    desk.send(fast, mine[:-1])
    desk.feed(fast, 9)
    taken = desk.asked(fast)
    assert taken
    assert desk.cancelled(slow)[-len(taken) :] == taken


def test_no_end_game_while_there_are_pieces() -> None:
    desk = Desk(2, 4 * BLOCK_SIZE)
    slow, fast = desk.peer(SLOW, has=[0]), desk.peer(has=[0])
    desk.feed(slow)
    assert desk.feed(fast) == set()


def test_who_has_given_nothing_yet_is_asked_beside_the_slow() -> None:
    desk = Desk(1, 4 * BLOCK_SIZE)
    slow, fresh = desk.peer(SLOW), desk.peer(0.0)
    desk.feed(slow)
    blocks = desk.asked(slow)
    desk.feed(fresh)
    assert sorted(desk.asked(fresh)) == blocks
    assert slow.wire.outstanding == 4
    desk.send(fresh, blocks)
    assert desk.cancelled(slow) == blocks
    assert desk.parts == [(0, 0, 4 * BLOCK_SIZE, True)]


def test_of_a_snubbed_peer_everything_is_taken() -> None:
    desk = Desk(1, 4 * BLOCK_SIZE)
    snubbed, other = desk.peer(), desk.peer()
    desk.feed(snubbed)
    snubbed.snubbed = True
    desk.feed(other)
    assert other.wire.outstanding == 4
    assert snubbed.wire.outstanding == 0


# ---------------------------------------------------------------- what is wanted, and how much


def test_what_is_not_wanted_is_given_up_in_mid_piece() -> None:
    desk = Desk(2, 2 * PART_SIZE)
    peer = desk.peer(has=[0])
    desk.feed(peer, 70)
    blocks = desk.asked(peer)
    desk.send(peer, blocks[:64])
    desk.slots.clear()
    desk.picker.arrange(b"\0\1", sequential=False)
    desk.flight.give_up_unwanted()
    assert set(desk.cancelled(peer)) >= set(blocks[64:])
    assert peer.wire.outstanding == 0
    assert desk.forgotten == [0], "the part that was committed"
    assert (peer.wire.fills, desk.flight.fills, desk.pool.in_use) == ([], {}, 0)
    desk.picker.arrange(b"\1\1", sequential=False)
    assert desk.feed(peer) == {0}


def test_an_orphan_waits_for_what_is_more_urgent() -> None:
    desk = Desk(2, 4 * BLOCK_SIZE)
    first, second = desk.peer(has=[0]), desk.peer()
    desk.feed(first, 4)
    desk.send(first, desk.asked(first)[:2])
    desk.flight.abandon(first)
    desk.picker.arrange(b"\1\2", sequential=False)
    assert desk.feed(second, 4) == {1}
    assert desk.feed(second, 6) == {0, 1}
    assert len(desk.asked(second)) == 6
    assert desk.pool.in_use == 2 * 4 * BLOCK_SIZE


def test_memory_of_an_orphan_goes_to_what_is_more_urgent() -> None:
    piece = 4 * BLOCK_SIZE
    desk = Desk(2, piece, memory=piece)
    first, second = desk.peer(has=[0]), desk.peer()
    desk.feed(first, 4)
    desk.send(first, desk.asked(first)[:2])
    desk.flight.abandon(first)
    desk.picker.arrange(b"\1\2", sequential=False)
    assert desk.feed(second, 4) == {1}
    assert desk.picker.rarity.wanted[0]


def test_slow_peers_share_what_is_urgent() -> None:
    desk = Desk(3, 16 * BLOCK_SIZE)
    first, second = desk.peer(SLOW, has=[0]), desk.peer(SLOW)
    desk.feed(first, 4)
    desk.picker.arrange(b"\1\1\2", sequential=False)
    assert desk.feed(second, 4) == {2}


def test_the_urgent_in_slow_hands_is_taken_over_before_others_are_begun() -> None:
    """As at the end of the torrent, though there are pieces enough."""
    desk = Desk(4, 4 * BLOCK_SIZE)
    desk.picker.arrange(b"\2\1\1\1", sequential=False)
    slow, fast = desk.peer(BLOCK_SIZE / 2), desk.peer()
    assert 0 in desk.feed(slow, 4)
    blocks = desk.asked(slow)
    desk.feed(fast, 3)
    taken = desk.asked(fast)
    assert taken == blocks[1:]
    assert desk.cancelled(slow) == taken


def test_the_urgent_in_fast_hands_stays_there() -> None:
    desk = Desk(4, 4 * BLOCK_SIZE)
    desk.picker.arrange(b"\2\1\1\1", sequential=False)
    first, second = desk.peer(8 * BLOCK_SIZE), desk.peer()
    assert 0 in desk.feed(first, 4)
    assert 0 not in desk.feed(second, 4)
    assert len(desk.asked(second)) == 4


def test_in_order_a_hole_in_slow_hands_is_filled_before_more_is_begun() -> None:
    desk = Desk(4, 16 * BLOCK_SIZE)
    desk.picker.arrange(b"\1\1\1\1", sequential=True)
    slow, fast = desk.peer(SLOW), desk.peer()
    assert desk.feed(slow, 4) == {0}
    assert desk.feed(fast, 20) == {0, 1}
    assert [piece for piece, _ in desk.asked(fast)] == [0] * 12 + [1] * 8


def test_out_of_order_the_slow_are_left_alone() -> None:
    desk = Desk(4, 16 * BLOCK_SIZE)
    slow, fast = desk.peer(SLOW), desk.peer()
    assert not desk.feed(slow, 4) & desk.feed(fast, 4)


def test_on_parole_the_urgent_comes_first_too() -> None:
    desk = Desk(3, 4 * BLOCK_SIZE)
    desk.picker.arrange(b"\1\2\0", sequential=False)
    suspect = desk.peer()
    suspect.parole = True
    assert desk.feed(suspect, 4) == {1}
    desk.picker.arrange(b"\1\0\0", sequential=False)
    desk.flight.give_up_unwanted()
    assert desk.feed(suspect) == {0}


# ---------------------------------------------------------------- memory


def test_large_pieces_go_in_parts() -> None:
    desk = Desk(2, 2 * PART_SIZE + BLOCK_SIZE)
    peer = desk.peer(has=[0])
    desk.feed(peer, 16)
    assert desk.pool.in_use == PART_SIZE
    while len(desk.parts) < 3:
        desk.send(peer, desk.asked(peer))
        desk.written()
        desk.flight.feed(peer)
    assert desk.parts == [
        (0, 0, PART_SIZE, False),
        (0, PART_SIZE, PART_SIZE, False),
        (0, 2 * PART_SIZE, BLOCK_SIZE, True),
    ]
    assert desk.pool.peak <= 2 * PART_SIZE


def test_the_starved_go_on_when_a_slot_is_free() -> None:
    piece = 4 * BLOCK_SIZE
    desk = Desk(4, piece, memory=piece)
    first, second = desk.peer(), desk.peer()
    desk.feed(first, 4)
    assert desk.feed(second, 4) == set()
    assert list(desk.flight.starving) == [2]
    desk.send(first, desk.asked(first))
    desk.written()
    assert second.wire.outstanding == 4
    assert desk.pool.peak == piece


def test_a_free_slot_goes_to_who_has_waited_longest() -> None:
    piece = 16 * BLOCK_SIZE
    desk = Desk(64, piece, memory=piece)
    peers = [desk.peer(has=[n, n + 8, n + 16]) for n in range(8)]
    turns = []
    for peer in peers:
        desk.feed(peer, 16)
    for _ in range(16):
        [busy] = [peer for peer in peers if peer.wire.outstanding]
        turns.append(busy.key)
        desk.send(busy, desk.asked(busy))
        desk.feed(busy, 16)
        desk.written()
    assert turns[:8] == turns[8:] == [peer.key for peer in peers]


def test_memory_comes_from_what_nobody_goes_on_with() -> None:
    piece = 4 * BLOCK_SIZE
    desk = Desk(2, piece, memory=piece)
    gone, other = desk.peer(has=[0]), desk.peer(has=[1])
    desk.feed(gone)
    desk.send(gone, desk.asked(gone)[:2])
    desk.flight.abandon(gone)
    assert desk.feed(other) == {1}
    assert desk.picker.rarity.wanted[0]


# ---------------------------------------------------------------- disk


def test_a_part_that_was_not_written_starts_the_piece_over() -> None:
    desk = Desk(1, 2 * PART_SIZE)
    peer = desk.peer()
    desk.feed(peer, 64)
    desk.send(peer, desk.asked(peer))
    desk.flight.unwritten(0)
    assert desk.forgotten == [0]
    assert peer.wire.fills == []
    assert not desk.picker.exhausted
    desk.flight.unwritten(0)
    assert desk.forgotten == [0]


def test_drop_all_keeps_what_waits_for_its_verdict() -> None:
    desk = Desk(2, 4 * BLOCK_SIZE)
    peer = desk.peer()
    desk.feed(peer, 6)
    blocks = desk.asked(peer)
    desk.send(peer, blocks[:4])
    desk.flight.drop_all()
    assert desk.picker.rarity.wanted_count == 1
    assert desk.flight.verdict(blocks[0][0], True) == {1}
    assert desk.have[blocks[0][0]]
    assert desk.flight.verdict(blocks[0][0], True) is None
