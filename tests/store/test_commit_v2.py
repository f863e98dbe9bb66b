"""Commits of version 2 alone (BEP 52): pieces with the roots of Merkle trees."""

from __future__ import annotations

import pytest
from reference import torrent

from swarm.proto.metainfo import Entry, Metainfo
from swarm.store.storage import Storage, Verdict

KIB, MIB = 1 << 10, 1 << 20


def make(lengths: list[int], piece_length: int) -> Metainfo:
    entries = [Entry((f"{at:02}",), length) for at, length in enumerate(lengths)]
    return torrent.make(entries, "v2", piece_length=piece_length, name="t")


def stream(meta: Metainfo) -> bytes:
    """All of it, with padding that nobody looks at."""
    return b"".join(
        b"?" * file.length if file.pad else torrent.content(Entry((), file.length))
        for file in meta.files
    )


async def commit(
    committer,
    storage: Storage,
    data: bytes,
    piece: int,
    digest: bytes | None = None,
    part: int = MIB,
) -> list[Verdict]:
    """The verdicts on all parts of a piece."""
    meta = storage.meta
    start = piece * meta.piece_length
    whole = data[start : start + meta.piece_length]
    cuts = range(0, len(whole), part)
    return [
        await committer.part(
            storage,
            piece,
            at,
            whole[at : at + part],
            (digest or meta.piece_hash(piece)) if at == cuts[-1] else None,
        )
        for at in cuts
    ]


@pytest.mark.parametrize("piece_length", [16 * KIB, 64 * KIB, MIB, 4 * MIB])
async def test_files_come_piece_by_piece(disk, committer, tmp_path, piece_length):
    lengths = [5, piece_length, 0, 2 * piece_length + 17 * KIB, 3, piece_length // 2 + 1]
    meta = make(lengths, piece_length)
    data = stream(meta)
    storage = disk.open(meta, tmp_path, writable=True)
    for piece in range(meta.piece_count):
        verdicts = await commit(committer, storage, data, piece)
        assert verdicts.pop() is Verdict.VERIFIED
        assert set(verdicts) <= {Verdict.WRITTEN}
    await storage.sync()
    for file in meta.files:
        path = tmp_path.joinpath(*file.path)
        if file.pad:
            assert not path.exists()
        else:
            assert path.read_bytes() == torrent.content(Entry((), file.length))
    good = await storage.check()
    assert int.from_bytes(good, "big").bit_count() == meta.piece_count
    await storage.close()


@pytest.mark.parametrize("piece_length", [64 * KIB, 4 * MIB])
async def test_a_wrong_byte_fails_the_piece_and_padding_does_not(
    disk, committer, tmp_path, piece_length
):
    meta = make([3 * 16 * KIB + 5, 9], piece_length)
    storage = disk.open(meta, tmp_path, writable=True)
    right = bytearray(stream(meta))
    last = meta.files[0].length - 1
    for at in (0, 16 * KIB, last):
        right[at] ^= 1
        assert (await commit(committer, storage, right, 0))[-1] is Verdict.FAILED
        right[at] ^= 1
    right[last + 1] ^= 1
    assert (await commit(committer, storage, right, 0))[-1] is Verdict.VERIFIED
    assert (await commit(committer, storage, right, 1, meta.piece_hash(0)))[-1] is Verdict.FAILED
    await storage.close()


async def test_what_is_refused(disk, committer, tmp_path, sample):
    meta = make([5 * MIB], 4 * MIB)
    storage = disk.open(meta, tmp_path, writable=True)
    with pytest.raises(ValueError, match="another version"):
        await commit(committer, storage, stream(meta), 1, bytes(20))
    with pytest.raises(ValueError, match="20 or 32"):
        await commit(committer, storage, stream(meta), 1, bytes(31))
    with pytest.raises(ValueError, match="leaf"):
        await commit(committer, storage, stream(meta), 0, part=MIB - 1)
    await storage.close()
    storage = disk.open(sample.meta, tmp_path, writable=True)
    with pytest.raises(ValueError, match="another version"):
        await committer.part(storage, 0, 0, sample.pieces[0], bytes(32))
    await storage.close()


async def test_a_piece_that_was_forgotten_starts_again(disk, committer, tmp_path):
    meta = make([4 * MIB], 4 * MIB)
    data = stream(meta)
    storage = disk.open(meta, tmp_path, writable=True)
    wrong = b"x" * MIB
    assert await committer.part(storage, 0, 0, wrong, None) is Verdict.WRITTEN
    storage.forget(0)
    assert (await commit(committer, storage, data, 0))[-1] is Verdict.VERIFIED
    await storage.close()
