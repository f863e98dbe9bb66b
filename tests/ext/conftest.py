"""Wires without a network: the connection is a pair of byte strings."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from swarm._bits import Bits, Rarity
from swarm._fill import Fill
from swarm._wire import Wire

Connect = Callable[..., Wire]


@pytest.fixture(scope="session")
def connect() -> Connect:
    """Makes a wire: `pieces` of `piece_length` bytes, the last one of `last` bytes, `own` are ours."""

    def make(
        key: int = 1,
        *,
        pieces: int = 4,
        piece_length: int = 32768,
        last: int | None = None,
        own: Iterable[int] = (),
        fast: bool = False,
        request_queue: int = 2000,
        rarity: Rarity | None = None,
        dirty: list[Wire] | None = None,
    ) -> Wire:
        have = Bits(pieces)
        for piece in own:
            have.set(piece)
        return Wire(
            key,
            have,
            rarity or Rarity(pieces),
            [] if dirty is None else dirty,
            piece_length=piece_length,
            length=(pieces - 1) * piece_length + (last or piece_length),
            fast=fast,
            request_queue=request_queue,
        )

    return make


@pytest.fixture(scope="session")
def fetch() -> Callable[..., Fill]:
    """Makes a fill with all its slots, and assigns it to wires."""

    def make(*wires: Wire, piece: int = 0, length: int = 32768, part_size: int = 1 << 20) -> Fill:
        fill = Fill(piece, length, part_size)
        while fill.wants_slot:
            fill.attach(bytearray(fill.slot_size))
        for wire in wires:
            wire.assign(fill)
        return fill

    return make
