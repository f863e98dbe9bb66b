"""What is told of a check: ranges, states and what was worth reading, against slow models."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

import swarm
from swarm.proto.bencode import encode
from swarm.report import report, worth_reading


@st.composite
def torrents(draw: st.DrawFn) -> swarm.Metainfo:
    """Small files and pad files, which are shorter than a piece."""
    piece_length = draw(st.integers(1, 9))
    real = st.tuples(st.integers(0, 40), st.just(False))
    pads = st.tuples(st.integers(0, piece_length - 1), st.just(True))
    sizes = st.lists(st.one_of(real, real, pads), min_size=1, max_size=12)
    return of_sizes(draw(sizes.filter(lambda sizes: any(n for n, _ in sizes))), piece_length)


def of_sizes(sizes: list[tuple[int, bool]], piece_length: int) -> swarm.Metainfo:
    """A torrent of files and pad files of these lengths, whose pieces have no hash to speak of."""
    files = [
        {b"length": length, b"path": [b"%d" % at], **({b"attr": b"p"} if pad else {})}
        for at, (length, pad) in enumerate(sizes)
    ]
    count = -(-sum(length for length, _ in sizes) // piece_length)
    info = {b"files": files, b"name": b"t", b"piece length": piece_length}
    return swarm.Metainfo.load(encode({b"info": {**info, b"pieces": bytes(20 * count)}}))


@given(st.data())
def test_ranges_against_a_slow_model(data):
    """Byte by byte: bad is what lies in a bad piece, and a range is never longer than it must be."""
    meta = data.draw(torrents())
    pieces = data.draw(
        st.lists(st.booleans(), min_size=meta.piece_count, max_size=meta.piece_count)
    )
    raw = "".join("01"[good] for good in pieces).ljust(-(-len(pieces) // 8) * 8, "0")
    good = int(raw, 2).to_bytes(len(raw) // 8, "big")
    kinds = st.sampled_from([0, 0, 0, -1, 1, "missing", "unreadable"])
    drawn = [data.draw(kinds) for _ in meta.files]
    found = [
        max(file.length + kind, 0) if isinstance(kind, int) else kind
        for file, kind in zip(meta.files, drawn, strict=True)
    ]
    made = report(meta, good, found)
    real = [pair for pair in zip(meta.files, found, strict=True) if not pair[0].pad]
    assert len(made.files) == len(real)
    for one, (file, now) in zip(made.files, real, strict=True):
        wrong = [
            at for at in range(file.length) if not pieces[(file.offset + at) // meta.piece_length]
        ]
        assert [at for start, end in one.bad for at in range(start, end)] == wrong
        assert all(end < start for (_, end), (start, _) in zip(one.bad, one.bad[1:], strict=False))
        assert one.good_bytes == file.length - len(wrong)
        assert one.size == (now if isinstance(now, int) else None)
        if isinstance(now, str):
            assert one.state == now
        elif now == file.length:
            assert one.state == ("damaged" if wrong else "good")
        else:
            assert one.state == ("short" if now < file.length else "long")
    assert made.bad_pieces == tuple(at for at, good in enumerate(pieces) if not good)
    assert made.good_pieces == sum(pieces)
    assert made.ok == (all(pieces) and all(file.state == "good" for file in made.files))


@given(st.data())
def test_what_is_worth_reading_against_a_slow_model(data):
    meta = data.draw(torrents())
    found = [data.draw(st.one_of(st.integers(0, 45), st.just("missing"))) for _ in meta.files]
    there = [
        file.pad or (isinstance(now, int) and at < now)
        for file, now in zip(meta.files, found, strict=True)
        for at in range(file.length)
    ]
    cut = range(0, meta.length, meta.piece_length)
    model = ["01"[all(there[at : at + meta.piece_length])] for at in cut]
    bits = worth_reading(meta, found)
    assert f"{int.from_bytes(bits, 'big'):0{8 * len(bits)}b}" == "".join(model).ljust(
        8 * len(bits), "0"
    )


def test_a_million_pieces_are_reported_in_a_moment():
    """100,000 files, half of the pieces bad, in turns: the time grows with files and ranges."""
    meta = of_sizes([(160, False)] * 100_000, 16)
    begun = time.process_time()
    made = report(meta, b"\xaa" * 125_000, [160] * 100_000)
    assert time.process_time() - begun < 10  # about one, on a small machine
    assert len(made.bad_pieces) == 500_000
    assert made.files[-1].bad[-1] == (144, 160)
