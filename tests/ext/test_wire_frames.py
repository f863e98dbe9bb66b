"""Frames: whatever the portions in which they come, a wire sees the same."""

from __future__ import annotations

import importlib.util
import itertools
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm import _wire
from swarm._bits import Bits, Rarity
from swarm._fill import BLOCK_SIZE, Fill
from swarm._wire import HUNGRY, PARTS, Wire
from swarm.errors import ProtocolError

_spec = importlib.util.spec_from_file_location(
    "reference_wire", Path(__file__).parents[1] / "reference" / "wire.py"
)
assert _spec is not None
assert _spec.loader is not None
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

PIECES, PIECE_LENGTH, LAST = 21, 40000, 12345
LENGTH = (PIECES - 1) * PIECE_LENGTH + LAST
OWN = {0, 3, 4, 20}
ASSIGNED = (1, 2, 19)
CONTENT = random.Random(1).randbytes(LENGTH)
# Everything that is asked for, in this order.
ASKED = [
    (piece, begin, min(BLOCK_SIZE, PIECE_LENGTH - begin))
    for piece in ASSIGNED
    for begin in range(0, PIECE_LENGTH, BLOCK_SIZE)
]
FLAGS = [
    "CHOKED",
    "UNCHOKED",
    "INTEREST",
    "HAVE",
    "BITFIELD",
    "REQUESTS",
    "EXTENDED",
    "REJECTED",
    "ALLOWED",
]


class Line:
    """A wire that fetches three pieces, unchoked both ways, and its model."""

    def __init__(self, fast: bool) -> None:
        own = Bits(PIECES)
        for piece in OWN:
            own.set(piece)
        self.dirty: list[Wire] = []
        self.rarity = Rarity(PIECES)
        shape = {"piece_length": PIECE_LENGTH, "length": LENGTH}
        self.wire = Wire(1, own, self.rarity, self.dirty, fast=fast, **shape)
        self.slots = {}
        self.fills = []
        for piece in ASSIGNED:
            fill = Fill(piece, PIECE_LENGTH, 2 * BLOCK_SIZE)
            while fill.wants_slot:
                slot = self.slots[piece, len(self.slots) % 2] = bytearray(fill.slot_size)
                fill.attach(slot)
            self.wire.assign(fill)
            self.fills.append(fill)
        self.wire.choke(False)
        self.wire.receive(reference.message(reference.UNCHOKE))
        output = self.wire.take_output()
        assert reference.requests(output) == ASKED
        self.wire.take_noise()
        self.model = reference.Peer(own=set(OWN), pieces=PIECES, fast=fast, **shape)
        self.model.choke(False)
        self.model.replies = b""
        self.model.choking = False
        self.model.sent(output)
        self.flags = 0
        self.output = b""

    def feed(self, portions: Iterable[bytes]) -> Line:
        for portion in portions:
            self.flags |= self.wire.receive(portion)
        self.output += self.wire.take_output()
        return self

    @property
    def state(self) -> tuple[object, ...]:
        """Everything that can be seen from outside."""
        wire = self.wire
        return (
            self.flags,
            bytes(wire.bits),
            (wire.peer_choking, wire.peer_interested, wire.held, wire.hungry),
            (wire.noise, wire.downloaded, wire.wasted, wire.blocks, wire.received, wire.depth),
            (wire.outstanding, wire.wants, wire.take_requests(10000)),
            wire.take_extended(),
            wire.allowed_fast,
            [fill.missing for fill in self.fills],
            [fill.contributors for fill in self.fills],
            [fill.piece for fill in wire.take_parts()],
            [bytes(slot) for slot in self.slots.values()],
            [self.rarity.availability(piece) for piece in range(PIECES)],
            self.output,
        )


def say(at: tuple[int, int, int]) -> bytes:
    """The block that answers a request."""
    start = at[0] * PIECE_LENGTH + at[1]
    return reference.block(at[0], at[1], CONTENT[start : start + at[2]])


SHORT_BLOCK = ASKED[2]  # 7232 bytes
MESSAGES = {
    "keepalive": reference.KEEPALIVE,
    "choke": reference.message(0),
    "unchoke": reference.message(1),
    "interested": reference.message(2),
    "not interested": reference.message(2) + reference.message(3),
    "have": reference.have(20),
    "bitfield": reference.bitfield({0, 7, 20}, PIECES),
    "full bitfield": reference.bitfield(range(PIECES), PIECES),
    "request": reference.request(20, 300, 12045),
    "cancel": reference.request(3, 0, 9) * 2 + reference.cancel(3, 0, 9),
    "port": reference.message(9, b"\x1a\xe1"),
    "extended": reference.extended(0, b"d1:md6:ut_pexi1eee"),
    "empty extended": reference.extended(3),
    "unknown": reference.message(99, b"\0\0\0\1\4" * 20),
    "empty unknown": reference.message(99),
    "hash request": reference.message(21, bytes(48)),
    "unasked block": reference.block(5, 0, b"?" * 100),
    "short block": say(SHORT_BLOCK),
}
FAST_MESSAGES = {
    "have all": reference.message(14),
    "have none": reference.message(15),
    "suggest": reference.message(13, reference.u32(7)),
    "reject": reference.reject(*ASKED[4]),
    "allowed fast": reference.allowed_fast(6),
}


@pytest.mark.parametrize("name", [*MESSAGES, *FAST_MESSAGES])
def test_each_message_in_all_portions(name: str) -> None:
    fast = name in FAST_MESSAGES
    data = FAST_MESSAGES[name] if fast else MESSAGES[name]
    whole = Line(fast).feed([data]).state
    assert Line(fast).feed(bytes([byte]) for byte in data).state == whole
    offsets = range(len(data)) if len(data) < 400 else [*range(40), *range(40, len(data), 487)]
    for offset in offsets:
        assert Line(fast).feed([data[:offset], data[offset:]]).state == whole, offset
    # What follows is read as well, wherever it is cut.
    after = reference.have(11) + reference.KEEPALIVE
    both = Line(fast).feed([data + after]).state
    assert both != whole
    for offset in (len(data) - 1, len(data), len(data) + 1, len(data) + 6):
        assert Line(fast).feed([(data + after)[:offset], (data + after)[offset:]]).state == both


@pytest.mark.parametrize("name", [*MESSAGES, *FAST_MESSAGES])
def test_each_message_means_what_the_model_says(name: str) -> None:
    fast = name in FAST_MESSAGES
    line = Line(fast)
    check(line, [FAST_MESSAGES[name] if fast else MESSAGES[name]])


def check(line: Line, portions: list[bytes]) -> None:
    """Feeds both, and compares them."""
    wire, model = line.wire, line.model
    line.feed(portions)
    for portion in portions:
        model.read(portion)
    assert {name for name in FLAGS if line.flags & getattr(_wire, name)} == model.seen
    assert line.output == model.replies
    assert bytes(wire.bits) == reference.bitfield(model.bits, PIECES)[5:]
    assert (wire.peer_choking, wire.peer_interested) == (model.choking, model.interested)
    assert (wire.noise, wire.held, wire.allowed_fast) == (
        model.noise,
        model.held,
        model.allowed_fast,
    )
    assert (wire.downloaded, wire.wasted) == (model.downloaded, model.wasted)
    assert (wire.outstanding, wire.wants) == (model.outstanding, len(model.queue))
    assert wire.take_extended() == model.extended
    for piece, fill in zip(ASSIGNED, line.fills, strict=True):
        here = [begin for at, begin in model.received if at == piece]
        assert fill.missing == fill.blocks - len(here)
        for begin in here:
            slot = line.slots[piece, begin // (2 * BLOCK_SIZE)]
            at = piece * PIECE_LENGTH + begin
            size = min(BLOCK_SIZE, PIECE_LENGTH - begin)
            start = begin % (2 * BLOCK_SIZE)
            assert slot[start : start + size] == CONTENT[at : at + size] == model.memory[at:][:size]
    ended = {piece for piece, begin in model.received if part_full(model, piece, begin)}
    assert bool(line.flags & PARTS) == bool(ended)
    assert {fill.piece for fill in wire.take_parts()} == ended
    assert bool(line.flags & HUNGRY) <= (wire.am_interested)


def part_full(model: reference.Peer, piece: int, begin: int) -> bool:
    part = begin // (2 * BLOCK_SIZE)
    blocks = [at for p, at, _ in ASKED if p == piece and at // (2 * BLOCK_SIZE) == part]
    return all((piece, at) in model.received for at in blocks)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bool, bytes]:
    """What an honest peer may say after it unchoked us, and until it chokes us."""
    fast = draw(st.booleans())
    kinds = ["have", "interest", "request", "cancel", "extended", "unknown", "other", "block"]
    kinds += ["block", "block", "late"] + ["reject", "fast"] * fast
    open_blocks = draw(st.permutations(ASKED))
    said = b""
    if draw(st.booleans()):
        some = draw(st.sets(st.integers(0, PIECES - 1)))
        said += reference.bitfield(some, PIECES)
    for kind in draw(st.lists(st.sampled_from(kinds), max_size=25)):
        piece = draw(st.integers(0, PIECES - 1))
        wanted = (piece, draw(st.integers(0, 300)), draw(st.integers(1, 12000)))
        match kind:
            case "have":
                said += reference.have(piece)
            case "interest":
                said += reference.message(2 + piece % 2)
            case "request":
                said += reference.request(*wanted)
            case "cancel":
                said += reference.request(*wanted) + reference.cancel(*wanted)
            case "extended":
                said += reference.extended(piece, draw(st.binary(max_size=300)))
            case "unknown":
                said += reference.message(piece + 100, draw(st.binary(max_size=300)))
            case "other":
                said += draw(st.sampled_from([reference.KEEPALIVE, reference.message(9, b"\1\1")]))
            case "block" if open_blocks:
                said += say(open_blocks.pop())
            case "late" if piece not in ASSIGNED and said.count(b"late") < 16:
                said += reference.block(piece, 0, b"late" + bytes(wanted[2]))
            case "reject" if open_blocks:
                said += reference.reject(*open_blocks.pop())
            case "fast" if piece not in ASSIGNED:
                said += reference.message(draw(st.sampled_from([13, 17])), reference.u32(piece))
    if draw(st.booleans()):
        said += reference.message(0)
    return fast, said


@settings(deadline=None, max_examples=150)
@given(conversations(), st.lists(st.integers(0, 40000), max_size=30), st.integers(1, 3000))
def test_pw40_portions_make_no_difference(
    conversation: tuple[bool, bytes], cuts: list[int], step: int
) -> None:
    fast, said = conversation
    portions = cut(said, cuts)
    check(Line(fast), portions)
    whole = Line(fast).feed([said]).state
    assert Line(fast).feed(portions).state == whole
    steps = [said[i : i + step] for i in range(0, len(said), step)]
    assert Line(fast).feed(steps).state == whole


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def test_pw40_a_block_a_byte_at_a_time_and_a_mebibyte_at_once() -> None:
    said = b"".join(say(at) for at in ASKED)
    slow, fast = Line(False), Line(False)
    slow.feed(said[i : i + 1] for i in range(len(said)))
    fast.feed([said])
    assert slow.state == fast.state
    assert slow.wire.downloaded == 3 * PIECE_LENGTH
    for piece in ASSIGNED:
        whole = bytes(slow.slots[piece, 0] + slow.slots[piece, 1])
        assert whole == CONTENT[piece * PIECE_LENGTH :][:PIECE_LENGTH]


@settings(deadline=None, max_examples=150)
@given(
    st.booleans(),
    st.lists(
        st.binary(max_size=30)
        | st.builds(
            lambda kind, payload: reference.message(kind, payload),
            st.integers(0, 24),
            st.binary(max_size=16),
        )
        | st.sampled_from([*MESSAGES.values(), *FAST_MESSAGES.values()]),
        max_size=8,
    ),
    st.lists(st.integers(0, 40000), max_size=5),
)
def test_pw40_broken_input_breaks_whatever_its_portions(
    fast: bool, parts: list[bytes], cuts: list[int]
) -> None:
    said = b"".join(parts)
    model = Line(fast).model
    try:
        model.read(said)
    except reference.Broken:
        for portions in ([said], cut(said, cuts), [bytes([byte]) for byte in said]):
            line = Line(fast)
            with pytest.raises(ProtocolError):
                line.feed(portions)
    else:
        line = Line(fast)
        line.feed([said])
        assert line.wire.noise == model.noise
        for portions in (cut(said, cuts), [bytes([byte]) for byte in said]):
            assert Line(fast).feed(portions).wire.noise == model.noise


# ---------------------------------------------------------------- what a wire says


def test_what_it_says_reads_back(connect: Callable[..., Wire]) -> None:
    dirty: list[Wire] = []
    wire = connect(pieces=21, own={0, 20}, fast=True, dirty=dirty)
    wire.send_bitfield()
    wire.send_extended(0, b"de")
    wire.interested(True)
    wire.interested(True)
    wire.choke(False)
    wire.choke(False)
    wire.choke(True)
    wire.interested(False)
    wire.send_allowed_fast([7, 8])
    wire.keepalive()
    assert dirty == [wire]
    pending = wire.pending
    output = wire.take_output()
    assert len(output) == pending
    assert output == b"".join(
        [
            reference.bitfield({0, 20}, 21),
            reference.extended(0, b"de"),
            *map(reference.message, (2, 1, 0, 3)),
            reference.allowed_fast(7),
            reference.allowed_fast(8),
            reference.KEEPALIVE,
        ]
    )
    assert wire.take_output() == b""
    assert wire.pending == 0
    assert dirty == [wire]  # whoever writes empties the list
    dirty.clear()
    wire.keepalive()
    assert dirty == [wire]


@pytest.mark.parametrize(
    ("own", "fast", "said"),
    [
        (range(9), True, reference.message(14)),
        ((), True, reference.message(15)),
        ((), False, b""),
        (range(9), False, reference.bitfield(range(9), 9)),
        ((8,), True, reference.bitfield((8,), 9)),
    ],
)
def test_the_first_message(
    connect: Callable[..., Wire], own: Iterable[int], fast: bool, said: bytes
) -> None:
    wire = connect(pieces=9, own=own, fast=fast)
    wire.send_bitfield()
    assert wire.take_output() == said


def test_haves_wait_for_company(connect: Callable[..., Wire]) -> None:
    dirty: list[Wire] = []
    wire = connect(pieces=200, dirty=dirty)
    wire.push_haves()
    for piece in range(63):
        wire.have(piece)
    assert dirty == []
    wire.push_haves()
    assert wire.take_output() == b"".join(map(reference.have, range(63)))
    dirty.clear()
    for piece in range(64):
        wire.have(piece)
    assert dirty == [wire]
    assert len(wire.take_output()) == 64 * 9
    dirty.clear()
    wire.have(5)
    wire.keepalive()  # a write that is due takes them along
    assert wire.take_output() == reference.KEEPALIVE + reference.have(5)
    with pytest.raises(IndexError):
        wire.have(200)


def test_no_have_for_what_the_peer_has(connect: Callable[..., Wire]) -> None:
    wire = connect()
    wire.receive(reference.have(2))
    wire.have(2)
    wire.push_haves()
    assert wire.take_output() == b""


def test_extended_messages_have_a_longest(connect: Callable[..., Wire]) -> None:
    wire = connect()
    wire.send_extended(7, bytes(_wire.EXTENDED_LIMIT - 2))
    output = wire.take_output()
    assert len(output) == 4 + _wire.EXTENDED_LIMIT
    receiver = connect()
    receiver.receive(output)
    assert receiver.take_extended() == [(7, bytes(_wire.EXTENDED_LIMIT - 2))]
    with pytest.raises(ValueError, match="extended message"):
        wire.send_extended(7, bytes(_wire.EXTENDED_LIMIT - 1))
    with pytest.raises(OverflowError):
        wire.send_extended(256, b"")


@pytest.mark.parametrize(
    ("pieces", "piece_length", "length"), [(0, 16384, 0), (2, 0, 5), (2, 16384, 16384), (2, 5, 11)]
)
def test_a_bitfield_must_fit_its_torrent(pieces: int, piece_length: int, length: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Wire(1, Bits(pieces), Rarity(pieces), [], piece_length=piece_length, length=length)


def test_data_must_be_bytes(connect: Callable[..., Wire]) -> None:
    wire = connect()
    with pytest.raises(TypeError):
        wire.receive("text")  # type: ignore[arg-type]
    assert wire.receive(memoryview(bytearray(reference.have(1)))) == _wire.HAVE
    assert wire.receive(b"") == 0


def test_where_the_dht_node_of_a_peer_is_goes_both_ways() -> None:
    line = Line(fast=True)
    said = b"\0\0\0\3\x09\x1a\xe1"
    assert not line.wire.receive(said[:5]) & _wire.PORT
    assert line.wire.dht_port == 0
    assert line.wire.receive(said[5:]) & _wire.PORT
    assert line.wire.dht_port == 6881
    line.wire.take_output()
    line.wire.send_port(6881)
    assert line.wire.take_output() == said
    with pytest.raises(OverflowError):
        line.wire.send_port(65536)
    with pytest.raises(ProtocolError):
        line.wire.receive(b"\0\0\0\4\x09\x1a\xe1\0")
