"""`Fill`: a piece as a row of parts with a slot each."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm._fill import BLOCK_SIZE, Fill
from swarm._wire import UNCHOKED, Wire

_spec = importlib.util.spec_from_file_location(
    "reference_wire", Path(__file__).parents[1] / "reference" / "wire.py"
)
assert _spec is not None
assert _spec.loader is not None
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

ODD = [1, 3, 16383, 16384, 16385, 40000, (1 << 20) + 1]


def fill_up(wire: Wire, content: bytes) -> list[int]:
    """Answers all that is asked, in portions of a read; the flags of each."""
    flags = []
    while asked := reference.requests(wire.take_output()):
        answers = [reference.block(p, at, content[at : at + n]) for p, at, n in asked]
        flags.append(wire.receive(b"".join(answers)))
    return flags


@pytest.mark.parametrize("length", ODD)
@pytest.mark.parametrize("part_size", [BLOCK_SIZE, 3 * BLOCK_SIZE, 1 << 21])
def test_every_byte_lands(
    connect: Callable[..., Wire], fetch: Callable[..., Fill], length: int, part_size: int
) -> None:
    content = random.Random(length).randbytes(length)
    wire = connect(piece_length=length)
    fill = fetch(wire, piece=1, length=length, part_size=part_size)
    assert (fill.parts, fill.blocks) == (-(-length // part_size), -(-length // BLOCK_SIZE))
    assert wire.receive(reference.message(1)) & UNCHOKED
    fill_up(wire, content)
    assert fill.done
    assert fill.missing == 0
    assert wire.fills == []
    assert wire.take_parts() == [fill]
    parts = fill.take_ready()
    assert [offset for offset, _, _ in parts] == list(range(0, length, part_size))
    assert b"".join(bytes(slot[:size]) for _, slot, size in parts) == content
    assert fill.take_ready() == []
    assert wire.downloaded == length
    assert wire.wasted == 0


def test_the_last_block_is_asked_for_in_its_own_length(
    connect: Callable[..., Wire], fetch: Callable[..., Fill]
) -> None:
    wire = connect(last=BLOCK_SIZE + 5)
    fetch(wire, piece=3, length=BLOCK_SIZE + 5)
    wire.receive(reference.message(1))
    assert reference.requests(wire.take_output()) == [(3, 0, BLOCK_SIZE), (3, BLOCK_SIZE, 5)]


@pytest.mark.parametrize("shape", [(0, 16384), (16384, 0), (16385, 16383), (40000, 16385)])
def test_shapes_that_are_none(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="whole number of blocks"):
        Fill(0, *shape)


def test_slots_are_checked() -> None:
    fill = Fill(0, 40000, 32768)
    assert (fill.next_offset, fill.slot_size) == (0, 32768)
    small, late = bytearray(32767), bytearray(7232)
    with pytest.raises(ValueError, match="too small"):
        fill.attach(small)
    small.append(0)  # and is not held on to
    with pytest.raises(BufferError):
        fill.attach(bytes(32768))
    with pytest.raises(TypeError):
        fill.attach(None)  # type: ignore[arg-type]
    assert fill.wants_slot
    assert not fill.has_free
    fill.attach(small)
    assert (fill.next_offset, fill.slot_size) == (32768, 7232)
    fill.attach(late)
    assert not fill.wants_slot
    assert fill.has_free
    with pytest.raises(ValueError, match="every part"):
        fill.attach(bytearray(32768))


def test_nothing_is_asked_for_without_a_slot(connect: Callable[..., Wire]) -> None:
    wire = connect(piece_length=3 * BLOCK_SIZE)
    fill = Fill(0, 3 * BLOCK_SIZE, BLOCK_SIZE)
    wire.interested(True)
    wire.assign(fill)
    wire.receive(reference.message(1))
    assert reference.requests(wire.take_output()) == []
    assert wire.hungry
    for i in range(3):
        fill.attach(bytearray(BLOCK_SIZE))
        wire.refill()
        assert reference.requests(wire.take_output()) == [(0, i * BLOCK_SIZE, BLOCK_SIZE)]
        assert not fill.has_free


def test_parts_are_handed_out_in_order_and_once(
    connect: Callable[..., Wire], fetch: Callable[..., Fill]
) -> None:
    wire = connect(piece_length=3 * BLOCK_SIZE)
    fill = fetch(wire, length=3 * BLOCK_SIZE, part_size=BLOCK_SIZE)
    wire.receive(reference.message(1))
    taken = []
    for block, ready in [(2, []), (0, [0]), (1, [1, 2])]:
        wire.receive(reference.block(0, block * BLOCK_SIZE, bytes([block]) * BLOCK_SIZE))
        assert wire.take_parts() == [fill]
        parts = fill.take_ready()
        assert [offset // BLOCK_SIZE for offset, _, _ in parts] == ready
        taken += parts
    assert [slot[0] for _, slot, _ in taken] == [0, 1, 2]
    assert wire.take_parts() == []


def test_a_slot_is_let_go_with_its_part(
    connect: Callable[..., Wire], fetch: Callable[..., Fill]
) -> None:
    wire = connect(piece_length=2 * BLOCK_SIZE)
    slots = [bytearray(BLOCK_SIZE), bytearray(BLOCK_SIZE)]
    fill = Fill(0, 2 * BLOCK_SIZE, BLOCK_SIZE)
    for slot in slots:
        fill.attach(slot)
    wire.assign(fill)
    wire.receive(reference.message(1))
    wire.receive(reference.block(0, 0, bytes(BLOCK_SIZE)))
    with pytest.raises(BufferError):
        slots[0].append(0)
    fill.take_ready()
    slots[0].append(0)
    with pytest.raises(BufferError):
        slots[1].append(0)
    wire.leave()
    assert wire.take_parts() == [fill]
    del fill
    slots[1].append(0)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_order_of_blocks_over_two_wires(
    connect: Callable[..., Wire], fetch: Callable[..., Fill], data: st.DataObject
) -> None:
    length = data.draw(st.integers(1, 9 * BLOCK_SIZE), "length")
    part_size = BLOCK_SIZE * data.draw(st.integers(1, 10), "blocks a part")
    content = random.Random(length).randbytes(length)
    wires = [connect(key, piece_length=9 * BLOCK_SIZE) for key in (1, 2)]
    fill = fetch(*wires, length=length, part_size=part_size)
    fill.endgame = data.draw(st.booleans(), "end game")
    for wire in wires:
        wire.depth = 5
        wire.receive(reference.message(1))
    asked: dict[int, list[tuple[int, int, int]]] = {1: [], 2: []}
    memory = b""
    while not fill.done:
        for wire in wires:
            for kind, payload in reference.split(wire.take_output()):
                at = tuple(reference.number(payload, i) for i in (0, 4, 8))
                if kind == reference.REQUEST:
                    asked[wire.key].append(at)
                elif kind == reference.CANCEL:
                    asked[wire.key].remove(at)
        wire = data.draw(st.sampled_from([w for w in wires if asked[w.key]]))
        at = data.draw(st.sampled_from(asked[wire.key]))
        asked[wire.key].remove(at)
        wire.receive(reference.block(0, at[1], content[at[1] : at[1] + at[2]]))
        memory += b"".join(bytes(slot[:size]) for _, slot, size in fill.take_ready())
    assert memory == content
    assert sum(wire.downloaded for wire in wires) == length
    assert sum(wire.blocks for wire in wires) == fill.blocks
    assert fill.contributors == {wire.key for wire in wires if wire.blocks}
    assert [wire.outstanding for wire in wires] == [0, 0]


@pytest.mark.parametrize("part_size", [BLOCK_SIZE, 3 * BLOCK_SIZE, 1 << 21])
@given(data=st.integers(1, 200_000), padding=st.integers(0, 200_000))
def test_padding_is_there_without_being_sent(
    connect: Callable[..., Wire], part_size: int, data: int, padding: int
) -> None:
    """Nobody is asked for a block of zeros, in slots that have something else in them."""
    length = data + padding
    content = random.Random(data).randbytes(data) + bytes(padding)
    wire = connect(piece_length=length)
    fill = Fill(1, length, part_size, padding)
    assert fill.untouched
    assert not fill.done
    while fill.wants_slot:
        fill.attach(bytearray(b"?") * fill.slot_size)
    wire.assign(fill)
    wire.receive(reference.message(1))
    fill_up(wire, content)
    assert fill.done
    assert not fill.untouched
    parts = fill.take_ready()
    assert b"".join(bytes(slot[:size]) for _, slot, size in parts) == content
    # Blocks of padding alone come only in parts that have nothing else.
    blocks = -(-data // BLOCK_SIZE) * BLOCK_SIZE
    asked = min(blocks, length) + max(length - -(-data // part_size) * part_size, 0)
    assert wire.downloaded == asked


def test_a_piece_is_not_all_padding() -> None:
    for padding in (5, 6):
        with pytest.raises(ValueError, match="padding"):
            Fill(0, 5, BLOCK_SIZE, padding)
