"""What is built of any tree, in all versions, is what is read again."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from reference import torrent

from swarm.errors import SwarmError
from swarm.proto import bencode
from swarm.proto.metainfo import Entry, Metainfo

PIECE = 32 * 1024


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
paths = st.lists(names.map(lambda name: name[:8]), min_size=1, max_size=3).map(tuple)
lengths = st.one_of(st.integers(0, 100), st.integers(0, 5 * PIECE), st.sampled_from([0, PIECE]))


@st.composite
def trees(draw) -> list[Entry]:
    """Files and links of which none is in the place of another's folder."""
    chosen = draw(st.lists(paths, min_size=1, max_size=8, unique=True))
    folders = {path[:depth] for path in chosen for depth in range(1, len(path))}
    chosen = [path for path in chosen if path not in folders]
    entries = [
        Entry(path, draw(lengths), draw(st.sampled_from(["", "x", "h", "hx"]))) for path in chosen
    ]
    links = draw(st.sets(st.sampled_from(range(len(chosen)))))
    for at in links:
        entries[at] = Entry(chosen[at], 0, "l", draw(st.sampled_from(chosen)))
    entries.append(Entry(("one that has bytes",), draw(st.integers(1, 100))))
    return entries


@given(trees(), st.sampled_from(["v1", "v2", "hybrid"]))
def test_what_is_built_is_what_is_read(entries, version):
    meta = torrent.make(entries, version, piece_length=PIECE)
    assert Metainfo.parse(meta.to_bytes()) == meta
    assert bencode.parse(meta.to_bytes()).warnings == ()
    assert meta.version == version
    assert meta.size == sum(entry.length for entry in entries)
    real = {file.path: file for file in meta.files if not file.pad}
    links = [file for file in real.values() if file.symlink is not None]
    plain = [entry for entry in entries if entry.symlink is None]
    assert len(real) == len(plain) + len(links)
    assert all(file.symlink in real for file in links)
    for file in real.values():
        if version != "v1" and file.length:
            assert file.offset % PIECE == 0
            pieces = range(file.offset // PIECE, -(-(file.offset + file.length) // PIECE))
            assert sum(map(meta.piece_size, pieces)) >= file.length
            if version == "v2":
                assert sum(map(meta.piece_size, pieces)) == file.length
    for first, second in pairwise(meta.files):
        assert second.offset == first.offset + first.length
    assert meta.length == meta.files[-1].offset + meta.files[-1].length
    assert meta.piece_count == -(-meta.length // PIECE)


@given(trees(), st.sampled_from(["v2", "hybrid"]), st.data())
def test_a_byte_that_changes_is_noticed_or_harmless(entries, version, data):
    """Anything may come of it, but only errors of ours, and never other hashes under the same roots."""
    meta = torrent.make(entries, version, piece_length=PIECE)
    raw = bytearray(meta.to_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read = Metainfo.parse(bytes(raw))
    except SwarmError:
        return
    assert read.infohash != meta.infohash or read.piece_layers == meta.piece_layers
