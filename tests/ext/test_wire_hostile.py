"""Hostile peers: every budget is there, and nothing that a peer sends makes a wire inconsistent."""

from __future__ import annotations

import gc
import importlib.util
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm import _wire
from swarm._bits import Bits, Rarity
from swarm._fill import BLOCK_SIZE, Fill
from swarm._wire import EXTENDED_LIMIT, REQUEST_LIMIT, UNASKED_LIMIT, Wire
from swarm.errors import ProtocolError

_spec = importlib.util.spec_from_file_location(
    "fuzz_wire", Path(__file__).parents[1] / "fuzz" / "fuzz_wire.py"
)
assert _spec is not None
assert _spec.loader is not None
fuzz_wire = importlib.util.module_from_spec(_spec)
sys.modules["fuzz_wire"] = fuzz_wire
_spec.loader.exec_module(fuzz_wire)
reference = fuzz_wire.reference

Connect = Callable[..., Wire]
Fetch = Callable[..., Fill]
UNCHOKE, CHOKE = reference.message(1), reference.message(0)
MAX32 = 2**32 - 1
MIB = 1 << 20


def resident() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc")


def refuses(wire: Wire, data: bytes) -> str:
    with pytest.raises(ProtocolError) as caught:
        wire.receive(data)
    return caught.value.reason


# ---------------------------------------------------------------- frames


@pytest.mark.parametrize("length", [MAX32, 2**31, EXTENDED_LIMIT + 1])
@pytest.mark.parametrize("fast", [False, True])
def test_pw08_a_length_above_all_budgets(connect: Connect, length: int, fast: bool) -> None:
    for kind in range(256):
        wire = connect(fast=fast)
        data = reference.u32(length) + bytes([kind])
        assert wire.receive(data[:4]) == 0  # the id decides
        refuses(wire, data[4:])
        refuses(connect(fast=fast), data)


@needs_proc
def test_pw08_claims_are_not_allocated(connect: Connect) -> None:
    wires = [connect() for _ in range(200)]
    before = resident()
    for wire in wires:
        wire.receive(reference.u32(EXTENDED_LIMIT) + bytes([reference.EXTENDED, 0]) + b"x" * 50)
    assert resident() - before < 20 * MIB


@needs_proc
def test_pw08_what_is_skipped_is_not_kept(connect: Connect) -> None:
    wires = [connect() for _ in range(50)]
    junk = bytes(EXTENDED_LIMIT // 4)
    before = resident()
    for wire in wires:
        wire.receive(reference.u32(EXTENDED_LIMIT) + b"\x63")
        for _ in range(3):
            wire.receive(junk)
    assert resident() - before < 10 * MIB


@needs_proc
def test_pw08_a_long_message_does_not_keep_its_memory(connect: Connect) -> None:
    wires = [connect() for _ in range(50)]
    message = reference.extended(1, bytes(EXTENDED_LIMIT - 2))
    before = resident()
    for wire in wires:
        wire.receive(message[:100])
        wire.receive(message[100:])
        assert len(wire.take_extended()) == 1
    assert resident() - before < 20 * MIB


@pytest.mark.parametrize("kind", [*range(7), 8, 9, *range(13, 18)])
@pytest.mark.parametrize("fast", [False, True])
def test_pw09_lengths_that_do_not_fit_the_id(connect: Connect, kind: int, fast: bool) -> None:
    sizes = {5: 1, **dict.fromkeys((4, 13, 17), 4), **dict.fromkeys((6, 8, 16), 12), 9: 2}
    for size in {*range(40), MIB - 1} - {sizes.get(kind, 0)}:
        # Seen from the first five bytes, before anything of it is there.
        reason = refuses(connect(fast=fast), reference.u32(1 + size) + bytes([kind]))
        assert reason.startswith(f"message {kind} of {1 + size} bytes")


def test_pw09_an_extended_message_without_its_id(connect: Connect) -> None:
    assert "extended" in refuses(connect(), reference.message(reference.EXTENDED))


@pytest.mark.parametrize("size", [*range(8), REQUEST_LIMIT + 9])
def test_pw09_a_piece_without_its_header_or_too_long(connect: Connect, size: int) -> None:
    data = reference.u32(1 + size) + bytes([reference.PIECE])
    assert "a piece message" in refuses(connect(), data)


def test_pw09_an_empty_block(connect: Connect, fetch: Fetch) -> None:
    assert "empty" in refuses(connect(), reference.block(0, 0, b""))
    wire = connect()
    fetch(wire)
    wire.receive(UNCHOKE)
    refuses(wire, reference.block(0, 0, b""))


def test_pw10_unknown_messages_are_noise(connect: Connect) -> None:
    known = {*range(10), *range(13, 18), 20}
    wire = connect()
    for kind in set(range(256)) - known:
        assert wire.receive(reference.message(kind, b"\0\0\0\1\1")) == 0
    assert wire.take_noise() == 256 - len(known)
    flood = reference.message(99) * 100_000
    for _ in range(10):
        wire.receive(flood)
    assert wire.noise == 1_000_000
    assert wire.take_output() == b""
    assert wire.receive(reference.have(1)) == _wire.HAVE | _wire.USELESS
    assert wire.take_noise() == 1_000_000
    assert wire.receive(reference.have(2)) == _wire.HAVE


@pytest.mark.parametrize("kind", [99, 20])
def test_pw10_long_messages_that_nobody_reads_are_more_noise(connect: Connect, kind: int) -> None:
    wire = connect()
    long = reference.message(kind, b"\7" + bytes((1 << 20) - 10))
    taken = 0
    while not wire.receive(long) & _wire.USELESS:
        taken += len(long)
    assert 0 < taken < _wire.NOISE_LIMIT * 1024
    assert len(wire.take_extended()) <= 3


def test_pw21_waste_is_bounded_at_once(connect: Connect) -> None:
    """A read that goes beyond the budget says so, without waiting for the engine's next look."""
    wire = connect(piece_length=1 << 20)
    wire.interested(True)
    fill = Fill(0, 1 << 20, 1 << 20)
    fill.attach(bytearray(1 << 20))
    wasted = 0
    while True:
        wire.receive(UNCHOKE)
        wire.assign(fill)
        wire.refill()
        asked = reference.requests(wire.take_output())
        wire.unassign(fill)  # what was asked may still come, and is of no use
        wire.take_noise()
        for piece, begin, size in asked:
            flags = wire.receive(reference.block(piece, begin, bytes(size)))
            wasted += size
            assert bool(flags & _wire.USELESS) == (wasted > _wire.WASTE_LIMIT)
            if flags:
                return


def test_pw11_a_million_keepalives(connect: Connect) -> None:
    wire = connect()
    wire.receive(reference.KEEPALIVE * 1_000_000)
    assert wire.take_noise() == 1_000_000
    assert wire.take_output() == b""


def test_pw11_what_moves_something_is_no_noise(connect: Connect, fetch: Fetch) -> None:
    wire = connect(own={1})
    wire.choke(False)
    fetch(wire)
    wire.receive(reference.bitfield({0}, 4) + UNCHOKE)
    wire.take_noise()
    wire.receive(reference.have(2) + reference.request(1, 0, 9) + reference.cancel(1, 0, 9))
    wire.receive(reference.block(0, 0, bytes(BLOCK_SIZE)))
    assert wire.noise == 0


# ---------------------------------------------------------------- bitfields and haves


@pytest.mark.parametrize("pieces", [1, 7, 8, 9, 15, 16, 17])
def test_pw12_bitfields_of_the_wrong_size(connect: Connect, pieces: int) -> None:
    right = -(-pieces // 8)
    for size in {0, right - 1, right + 1, right + 1000} - {right}:
        assert "message 5" in refuses(connect(pieces=pieces), reference.message(5, bytes(size)))
    for spare in range(pieces, 8 * right):
        wire = connect(pieces=pieces)
        raw = bytearray(right)
        raw[spare // 8] |= 128 >> spare % 8
        assert "spare" in refuses(wire, reference.message(5, bytes(raw)))
        assert wire.bits.count == 0
    wire = connect(pieces=pieces)
    wire.receive(reference.bitfield(range(pieces), pieces))
    assert wire.bits.full


def test_pw12_a_second_bitfield_or_one_after_a_have(connect: Connect) -> None:
    """aria2 sends one again in the middle of a connection: it replaces the first, and counts as noise."""
    one = reference.bitfield({1}, 4)
    for before in (one, reference.have(1), one + reference.have(0)):
        rarity = Rarity(4)
        wire = connect(rarity=rarity)
        wire.receive(before)
        assert wire.take_noise() == 0
        wire.receive(reference.bitfield({2, 3}, 4))
        assert wire.take_noise() == 100
        assert [rarity.availability(i) for i in range(4)] == [0, 0, 1, 1]
        wire.leave()
        assert [rarity.availability(i) for i in range(4)] == [0] * 4


@pytest.mark.parametrize("piece", [4, 5, 2**31, MAX32])
def test_pw14_a_have_beyond_the_torrent(connect: Connect, piece: int) -> None:
    wire = connect()
    assert f"piece {piece} of 4" in refuses(wire, reference.have(piece))
    assert wire.bits.count == 0


def test_pw14_the_same_have_a_million_times(connect: Connect) -> None:
    rarity = Rarity(4)
    wire = connect(rarity=rarity)
    wire.receive(reference.have(3) * 1_000_000)
    assert wire.noise == 999_999
    assert rarity.availability(3) == 1
    assert wire.take_output() == b""


@pytest.mark.parametrize("first", [14, 15, 5, 4])
@pytest.mark.parametrize("second", [14, 15])
def test_pw15_two_of_bitfield_have_all_have_none(connect: Connect, first: int, second: int) -> None:
    said = {5: reference.bitfield({1}, 4), 4: reference.have(1)}
    rarity = Rarity(4)
    wire = connect(fast=True, rarity=rarity)
    wire.receive(said.get(first, reference.message(first)))
    count = wire.bits.count
    refuses(wire, said.get(second, reference.message(second)))
    assert wire.bits.count == count
    wire.leave()
    assert [rarity.availability(i) for i in range(4)] == [0] * 4


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize(
    "wanted",
    [
        (4, 0, 1),
        (MAX32, 0, 1),
        (2**31, 0, 1),
        (0, 0, 0),
        (0, 0, REQUEST_LIMIT + 1),
        (0, 0, MAX32),
        (0, MAX32, 1),
        (0, MAX32, MAX32),
        (0, 2**32 - 16384, 16384),
        (0, (1 << 18) - 1, 2),
        (0, 1 << 18, 1),
        (3, 0, 20001),
        (3, 19999, 2),
        (3, 20000, 1),
        (3, 2**32 - 5, 10),
    ],
)
@pytest.mark.parametrize("choked", [False, True])
def test_pw16_requests_that_cannot_be(
    connect: Connect, wanted: tuple[int, int, int], choked: bool
) -> None:
    wire = connect(own=range(4), piece_length=1 << 18, last=20000, fast=True)
    wire.choke(choked)
    wire.take_output()
    assert "request" in refuses(wire, reference.request(*wanted))
    assert wire.wants == 0


def test_pw17_a_million_requests(connect: Connect) -> None:
    wire = connect(own={0})
    wire.choke(False)
    flood = reference.request(0, 0, BLOCK_SIZE) * 100_000
    assert "2000 requests" in refuses(wire, flood)
    assert wire.wants == 2000
    wire = connect(own={0}, fast=True)
    wire.choke(False)
    for _ in range(10):
        wire.receive(flood)
        assert len(wire.take_output()) <= len(flood) + 5  # one reject each
    assert wire.wants == 2000
    assert wire.noise == 998_000


@needs_proc
def test_pw17_taken_requests_leave_no_memory_behind(connect: Connect) -> None:
    wire = connect(own={0})
    wire.choke(False)
    some = reference.request(0, 0, BLOCK_SIZE) * 700
    before = resident()
    for _ in range(1000):
        wire.receive(some)
        wire.take_requests(699)
        wire.receive(reference.cancel(0, 0, BLOCK_SIZE))
    assert wire.wants == 0
    assert resident() - before < 4 * MIB


@pytest.mark.parametrize("kind", [13, 14, 15, 16, 17])
def test_pw20_fast_messages_without_the_extension(connect: Connect, kind: int) -> None:
    size = {14: 0, 15: 0, 16: 12}.get(kind, 4)
    assert f"message {kind}" in refuses(connect(), reference.message(kind, bytes(size)))
    connect(fast=True).receive(reference.message(kind, bytes(size)))


@pytest.mark.parametrize("kind", [13, 16, 17])
@pytest.mark.parametrize("piece", [4, MAX32])
def test_pw20_fast_messages_beyond_the_torrent(connect: Connect, kind: int, piece: int) -> None:
    payload = reference.u32(piece) + bytes(8 * (kind == 16))
    assert "of 4" in refuses(connect(fast=True), reference.message(kind, payload))


def test_pw20_the_list_of_allowed_pieces_has_a_limit(connect: Connect) -> None:
    wire = connect(pieces=5000, fast=True)
    for _ in range(4):
        wire.receive(b"".join(map(reference.allowed_fast, range(5000))))
        wire.receive(reference.message(13, reference.u32(7)) * 5000)
    assert len(wire.allowed_fast) == _wire.ALLOWED_FAST_LIMIT
    assert wire.noise == 40_000


def test_pw20_rejects_of_nothing_are_noise(connect: Connect) -> None:
    wire = connect(fast=True)
    wire.receive(reference.reject(0, 0, 5) * 100_000)
    assert wire.noise == 100_000
    assert wire.outstanding == 0
    assert not wire.held


# ---------------------------------------------------------------- blocks


def test_pw21_blocks_that_were_never_asked_for(connect: Connect) -> None:
    wire = connect()
    for number in range(UNASKED_LIMIT):
        wire.receive(reference.block(0, 0, bytes(REQUEST_LIMIT)))
        assert wire.wasted == (number + 1) * REQUEST_LIMIT
    assert wire.downloaded == 0
    assert "never requested" in refuses(wire, reference.block(0, 0, b"x"))


@pytest.mark.parametrize("piece", [0, 3, 4, MAX32])
@pytest.mark.parametrize("begin", [1, 16383, 16385, 32768, MAX32])
def test_pw22_the_wrong_begin(connect: Connect, fetch: Fetch, piece: int, begin: int) -> None:
    wire = connect()
    fill = fetch(wire)
    wire.receive(UNCHOKE)
    wire.receive(reference.block(piece, begin, b"!" * BLOCK_SIZE))
    assert (wire.wasted, wire.downloaded, wire.outstanding) == (BLOCK_SIZE, 0, 2)
    assert fill.missing == 2
    assert fill.contributors == set()
    for number in range(2):
        wire.receive(reference.block(0, number * BLOCK_SIZE, bytes(BLOCK_SIZE)))
    ((_, slot, _),) = fill.take_ready()
    assert not any(slot)


@pytest.mark.parametrize("size", [1, BLOCK_SIZE - 1, BLOCK_SIZE + 1, REQUEST_LIMIT])
def test_pw22_the_wrong_length(connect: Connect, fetch: Fetch, size: int) -> None:
    wire = connect()
    slot = bytearray(2 * BLOCK_SIZE)
    fill = Fill(0, 2 * BLOCK_SIZE, 2 * BLOCK_SIZE)
    fill.attach(slot)
    wire.assign(fill)
    wire.receive(UNCHOKE)
    assert f"{size} bytes" in refuses(wire, reference.block(0, BLOCK_SIZE, b"!" * size))
    assert not any(slot)
    assert fill.missing == 2
    wire.leave()
    assert fill.has_free


def test_pw22_a_block_twice(connect: Connect, fetch: Fetch) -> None:
    wire = connect()
    fill = fetch(wire)
    wire.receive(UNCHOKE)
    wire.receive(reference.block(0, 0, b"1" * BLOCK_SIZE))
    wire.receive(reference.block(0, 0, b"2" * BLOCK_SIZE))
    assert (wire.downloaded, wire.wasted) == (BLOCK_SIZE, BLOCK_SIZE)
    assert fill.missing == 1
    wire.receive(reference.block(0, BLOCK_SIZE, b"1" * BLOCK_SIZE))
    wire.receive(reference.block(0, BLOCK_SIZE, b"2" * BLOCK_SIZE))
    ((_, slot, _),) = fill.take_ready()
    assert set(slot) == {ord("1")}


# ---------------------------------------------------------------- flapping


@pytest.mark.parametrize("fast", [False, True])
def test_pw31_chokes_flap(connect: Connect, fetch: Fetch, fast: bool) -> None:
    length = 512 * BLOCK_SIZE
    wire = connect(piece_length=length, fast=fast)
    wire.depth = 512
    fill = fetch(wire, length=length)
    wire.receive(UNCHOKE)
    assert len(reference.requests(wire.take_output())) == 512
    wire.receive((CHOKE + UNCHOKE) * 10_000)
    assert wire.outstanding == 512
    assert fill.missing == 512
    assert wire.noise >= 20_000  # each of them counts: it can make us ask for everything again
    assert len(wire.take_output()) == (0 if fast else 512 * 17)
    for _ in range(100):
        wire.receive(CHOKE)
        wire.receive(UNCHOKE)
        assert wire.outstanding == 512


def test_pw31_interest_flaps(connect: Connect) -> None:
    wire = connect()
    flags = wire.receive((reference.message(2) + reference.message(3)) * 10_000)
    assert flags == _wire.INTEREST | _wire.USELESS
    assert wire.noise == 20_000
    assert not wire.peer_interested
    assert wire.take_output() == b""


def test_pw31_our_own_flapping_is_written_once_each(connect: Connect) -> None:
    wire = connect(own={0}, fast=True)
    for _ in range(100):
        wire.choke(False)
        wire.receive(reference.request(0, 0, 9) * 3)
        wire.choke(True)
    frames = [kind for kind, _ in reference.split(wire.take_output())]
    assert frames == [1, 0, 16, 16, 16] * 100


# ---------------------------------------------------------------- anything at all

PIECES, PIECE_LENGTH = 9, 60
CONTENT = random.Random(39).randbytes(PIECES * PIECE_LENGTH)


class Session:
    """A short valid session with tiny pieces, its model beside it."""

    def __init__(self, fast: bool) -> None:
        own = Bits(PIECES)
        own.set(0)
        own.set(8)
        shape = {"piece_length": PIECE_LENGTH, "length": PIECES * PIECE_LENGTH}
        self.rarity = Rarity(PIECES)
        self.wire = Wire(1, own, self.rarity, [], fast=fast, **shape)
        self.memory = bytearray(PIECES * PIECE_LENGTH)
        self.model = reference.Peer(own={0, 8}, pieces=PIECES, fast=fast, **shape)
        self.fills = {}
        for piece in (1, 2, 5):
            fill = self.fills[piece] = Fill(piece, PIECE_LENGTH, BLOCK_SIZE)
            fill.attach(bytearray(PIECE_LENGTH))
            self.wire.assign(fill)
        self.wire.interested(True)
        self.wire.choke(False)
        self.model.choke(False)
        self.written()

    def written(self) -> None:
        output = self.wire.take_output()
        kinds = (reference.REQUEST, reference.CANCEL, reference.INTERESTED)
        said = [frame for frame in reference.split(output) if frame[0] not in kinds]
        assert said == reference.split(self.model.replies)
        self.model.replies = b""
        self.model.sent(output)

    def feed(self, data: bytes) -> bool:
        """False when the connection ended, for both of them."""
        try:
            self.model.read(data)
        except reference.Broken:
            refuses(self.wire, data)
            self.check_blocks()
            self.wire.leave()
            assert self.wire.outstanding == 0
            return False
        self.wire.receive(data)
        self.check_blocks()
        self.written()
        wire, model = self.wire, self.model
        assert wire.outstanding == model.outstanding
        assert wire.wants == len(model.queue)
        assert wire.noise == model.noise
        assert wire.take_extended() == model.extended
        model.extended = []
        return True

    def check_blocks(self) -> None:
        wire, model = self.wire, self.model
        assert (wire.downloaded, wire.wasted) == (model.downloaded, model.wasted)
        assert bytes(wire.bits) == reference.bitfield(model.bits, PIECES)[5:]
        for piece, fill in self.fills.items():
            assert fill.missing == 1 - ((piece, 0) in model.received)
        for fill in wire.take_parts():
            ((_, slot, size),) = fill.take_ready()
            at = fill.piece * PIECE_LENGTH
            assert slot[:size] == model.memory[at : at + size]


def session(fast: bool) -> list[bytes]:
    """What the peer sends, a read each."""
    data = [
        reference.bitfield({1, 2, 5, 8}, PIECES) + reference.have(3),
        UNCHOKE + reference.message(2),
        reference.block(1, 0, CONTENT[60:120]) + reference.request(0, 0, 60),
        reference.extended(0, b"d1:md6:ut_pexi1eee") + reference.KEEPALIVE,
        reference.block(2, 0, CONTENT[120:180]) + reference.cancel(0, 0, 60),
        reference.message(9, b"\x1a\xe1") + reference.request(8, 10, 50) + reference.have(4),
        CHOKE + UNCHOKE + reference.message(3),
        reference.block(5, 0, CONTENT[300:360]) + reference.have(0),
    ]
    if fast:
        data[0] = reference.message(reference.HAVE_NONE) + reference.have(1)
        data[2] = reference.allowed_fast(5) + reference.reject(5, 0, 60) + data[2]
    return data


@pytest.mark.parametrize("fast", [False, True])
def test_pw39_one_byte_wrong_at_every_offset(fast: bool) -> None:
    whole = session(fast)
    honest = Session(fast)
    assert all(honest.feed(data) for data in whole)
    assert [honest.fills[piece].done for piece in (1, 2, 5)] == [True, True, True]
    ended = 0
    for read, data in enumerate(whole):
        for offset in range(len(data)):
            for flip in (0x01, 0x80, 0xFF):
                broken = data[:offset] + bytes([data[offset] ^ flip]) + data[offset + 1 :]
                one = Session(fast)
                said = [*whole[:read], broken, *whole[read + 1 :], *[reference.have(6)] * 20]
                if not all(one.feed(part) for part in said):
                    ended += 1
    assert ended > len(b"".join(whole)) // 2


@settings(deadline=None, max_examples=300)
@given(st.booleans(), st.lists(st.binary(min_size=1, max_size=60), max_size=5))
def test_pw39_anything_at_all(fast: bool, noise: list[bytes]) -> None:
    one = Session(fast)
    for data in [*session(fast)[:3], *noise]:
        if not one.feed(data):
            break


@pytest.mark.parametrize("seed", range(12))
def test_pw39_swarms_at_random(seed: int) -> None:
    swarm = fuzz_wire.play(seed, steps=250)
    assert swarm.keys > 0


# ---------------------------------------------------------------- memory


def test_nothing_is_left_of_thousands_of_connections(connect: Connect, fetch: Fetch) -> None:
    """No wire, fill or slot survives its last use, whichever way the connection ends."""
    rarity = Rarity(4)
    data = reference.block(0, 0, bytes(BLOCK_SIZE))
    hostile = reference.have(99)

    def connection(i: int) -> None:
        dirty: list[Wire] = []
        one = connect(1, fast=bool(i % 2), rarity=rarity, dirty=dirty, own={1})
        two = connect(2, rarity=rarity, dirty=dirty)
        fill = fetch(one, two, part_size=BLOCK_SIZE)
        fill.endgame = True
        one.owner = fill
        for wire in (one, two):
            wire.choke(False)
            wire.receive(reference.bitfield({0, 1}, 4) + UNCHOKE)
            wire.take_output()
        two.receive(data[: 5000 if i % 3 else len(data)])
        one.receive(reference.request(1, 0, 9) * 40 + reference.extended(1, b"x" * 100))
        if i % 5 == 0:
            one.receive(data[:50])
            refuses(two, (data[5000:] if i % 3 else b"") + hostile)
        if i % 7 == 0:
            one.receive(reference.block(0, BLOCK_SIZE, bytes(BLOCK_SIZE)))
            fill.take_ready()
        one.leave()
        two.leave()

    for i in range(210):
        connection(i)
    gc.collect()
    count, blocks = len(gc.get_objects()), sys.getallocatedblocks()
    before = resident() if Path("/proc/self/statm").exists() else 0
    for i in range(2100):
        connection(i)
    gc.collect()
    assert len(gc.get_objects()) - count < 50
    assert sys.getallocatedblocks() - blocks < 500
    assert rarity.seeds == 0
    assert [rarity.availability(i) for i in range(4)] == [0] * 4
    if before:
        assert resident() - before < 4 * MIB  # 2100 slots would be 34


def test_a_wire_that_is_let_go_lets_go_its_slots(connect: Connect) -> None:
    """Even without `leave`, and in a cycle with its owner."""
    slot = bytearray(2 * BLOCK_SIZE)
    wire = connect()
    fill = Fill(0, 2 * BLOCK_SIZE, 2 * BLOCK_SIZE)
    fill.attach(slot)
    wire.assign(fill)
    wire.owner = [wire]
    wire.receive(UNCHOKE + reference.block(5, 5, b"x"))
    wire.receive(reference.block(0, 0, bytes(BLOCK_SIZE))[:99])
    references = sys.getrefcount(slot)
    del wire, fill
    gc.collect()
    assert sys.getrefcount(slot) < references
    slot.append(0)
