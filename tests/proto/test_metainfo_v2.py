"""Version 2 and hybrid torrents (BEP 52): what is read, what is refused, what comes out again."""

from hashlib import sha1, sha256
from itertools import pairwise

import pytest
from reference import merkle as oracle
from reference import torrent
from reference.torrent import content

from swarm.errors import MetainfoError
from swarm.proto import bencode
from swarm.proto.metainfo import Entry, Metainfo

KIB = 1024
PIECE = 32 * KIB


def make(entries: list[Entry], version: str, **given) -> Metainfo:
    return torrent.make(entries, version, **{"piece_length": PIECE} | given)


TREE = [
    Entry(("b",), 3 * PIECE + 5, "x"),
    Entry(("a", "z"), 5),
    Entry(("a", "y"), PIECE),
    Entry(("a b",), 20 * KIB, "h"),
    Entry(("empty",), 0),
    Entry(("é", "to"), 0, "l", ("a", "z")),
    Entry(("last",), PIECE + 1),
]


def changed(meta: Metainfo, change) -> bytes:
    """The bytes of the torrent after `change(root, info)`."""
    root = bencode.decode(meta.to_bytes())
    change(root, root[b"info"])
    return bencode.encode(root)


def refused(data: bytes, key: str, **options) -> MetainfoError:
    with pytest.raises(MetainfoError) as caught:
        Metainfo.parse(data, **options)
    assert caught.value.key == key
    return caught.value


# What a torrent says


@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
def test_a_tree(version):
    meta = make(TREE, version)
    assert meta.version == version
    assert not meta.warnings
    assert meta.size == sum(entry.length for entry in TREE)
    real = [file for file in meta.files if not file.pad]
    assert [file.path[1:] for file in real] == [
        ("a", "y"),
        ("a", "z"),
        ("a b",),
        ("b",),
        ("empty",),
        ("last",),
        ("é", "to"),
    ]
    assert [file.attr for file in real] == ["", "", "h", "x", "", "", "xl"]
    assert [file.symlink for file in real] == [None] * 6 + [("set", "a", "z")]
    known = {entry.path: entry for entry in TREE}
    for file in real:
        has_root = version != "v1" and file.length > 0
        assert file.root == (oracle.root(content(known[file.path[1:]])) if has_root else None)
    assert Metainfo.parse(meta.to_bytes()) == meta
    assert bencode.parse(meta.to_bytes()).warnings == ()


def test_infohashes():
    one, two, both = (make(TREE, version).infohash for version in ("v1", "v2", "hybrid"))
    assert one.v2 is None
    assert one.wire == one.v1
    assert two.v1 is None
    assert two.v2 == sha256(make(TREE, "v2").info_bytes).digest()
    assert two.wire == two.v2[:20]
    assert len(str(two)) == 64
    assert both.wire == both.v1 == sha1(make(TREE, "hybrid").info_bytes).digest()
    assert both.v2 == sha256(make(TREE, "hybrid").info_bytes).digest()
    magnet = make(TREE, "hybrid").magnet
    assert f"xt=urn:btih:{both.v1.hex()}&xt=urn:btmh:1220{both.v2.hex()}&" in magnet
    assert "btih" not in make(TREE, "v2").magnet


def test_pieces_of_version_2_belong_to_one_file_each():
    meta = make(TREE, "v2")
    assert meta.digest_size == 32
    pieces = []
    for file in meta.files:
        if file.length and not file.pad:
            assert file.offset % PIECE == 0
            assert file.offset // PIECE == len(pieces)
            layer = meta.piece_layers.get(file.root, file.root)
            pieces += [layer[at : at + 32] for at in range(0, len(layer), 32)]
    assert meta.piece_count == len(pieces)
    assert [meta.piece_hash(piece) for piece in range(len(pieces))] == pieces
    assert [meta.piece_size(piece) for piece in range(len(pieces))] == [
        PIECE, 5, 20 * KIB, PIECE, PIECE, PIECE, 5, PIECE, 1
    ]  # fmt: skip
    assert not meta.files[-1].pad
    assert meta.length == meta.files[-1].offset
    for first, second in pairwise(meta.files):
        assert second.offset == first.offset + first.length
    hybrid = make(TREE, "hybrid")
    places = [[f.offset for f in m.files if f.length and not f.pad] for m in (meta, hybrid)]
    assert places[0] == places[1], "the pieces of a hybrid are those of version 2"


@pytest.mark.parametrize("version", ["v2", "hybrid"])
@pytest.mark.parametrize("length", [1, 16 * KIB, PIECE, PIECE + 1, 100_000])
def test_a_single_file(version, length):
    meta = make([Entry(("set",), length, "x")], version, single_file=True)
    assert meta.single_file
    (file,) = meta.files
    assert (file.path, file.length, file.attr) == (("set",), length, "x")
    assert file.root == oracle.root(content(Entry((), length)))
    assert bool(meta.piece_layers) == (length > PIECE)
    assert Metainfo.parse(meta.to_bytes()) == meta


def test_a_folder_of_one_file():
    for version in ("v2", "hybrid"):
        meta = make([Entry(("one",), 5)], version)
        assert not meta.single_file
        assert [file.path for file in meta.files] == [("set", "one")]
    assert make([Entry(("set",), 5)], "hybrid").files[0].path == ("set", "set")
    with pytest.raises(MetainfoError, match="folder's name"):
        make([Entry(("set",), 5)], "v2")


def test_a_hybrid_with_or_without_a_pad_at_the_end():
    """libtorrent pads the last file since 2.0.8, and did not before."""
    meta = make(TREE[:2], "hybrid")
    assert meta.files[-1].pad
    assert meta.length == 4 * PIECE + PIECE

    def without(root, info):
        assert info[b"files"].pop()[b"attr"] == b"p"

    same = Metainfo.parse(changed(meta, without))
    assert same.length == meta.length - meta.files[-1].length
    assert same.files == meta.files[:-1]


# The catalogue of bad inputs


@pytest.mark.parametrize("version", ["v2", "hybrid"])
@pytest.mark.parametrize("piece_length", [1, 8 * KIB, 24 * KIB])
def test_mi13_piece_length_of_version_2(version, piece_length):
    def change(root, info):
        info[b"piece length"] = piece_length

    meta = make([Entry(("set",), 5)], version, single_file=True)
    refused(changed(meta, change), "piece length")


@pytest.mark.parametrize("version", ["v2", "hybrid"])
def test_mi22_keys_that_contradict_each_other(version):
    meta = make(TREE, version)
    for number in (0, 1, 3, 2**40, b"2"):
        said = {b"meta version": number}
        data = changed(meta, lambda _, info, said=said: info.update(said))
        refused(data, "file tree" if number == 1 else "meta version")
    refused(changed(meta, lambda _, info: info.pop(b"meta version")), "file tree")
    refused(changed(meta, lambda _, info: info.pop(b"file tree")), "file tree")


def test_mi22_half_of_version_1():
    meta = make(TREE, "hybrid")
    refused(changed(meta, lambda _, info: info.pop(b"pieces")), "pieces")
    refused(changed(meta, lambda _, info: info.pop(b"files")), "files")
    refused(changed(meta, lambda _, info: info.update(length=5)), "files")
    refused(changed(make(TREE, "v2"), lambda _, info: info.update(pieces=b"h" * 20)), "files")


def at(index, **values):
    """A change of one entry of `files`."""
    return lambda _, info: info[b"files"][index].update(
        {key.encode(): value for key, value in values.items()}
    )


@pytest.mark.parametrize(
    "change",
    [
        at(0, path=[b"a", b"other"]),
        at(0, length=PIECE - 1),
        at(0, attr=b"l"),
        at(-1, **{"symlink path": [b"b"]}),
        lambda _, info: info[b"files"].pop(0),
        lambda _, info: info[b"files"].insert(0, {b"length": 0, b"path": [b"0"]}),
        lambda _, info: info[b"files"].insert(0, info[b"files"].pop(1)),  # the order
        lambda _, info: info[b"file tree"].update({b"zzz": {b"": {b"length": 0}}}),
        lambda _, info: info[b"file tree"].pop(b"empty"),
    ],
    ids=range(9),
)
def test_mi37_halves_of_different_files(change):
    refused(changed(make(TREE, "hybrid"), change), "file tree")


def test_halves_may_differ_in_what_nothing_depends_on():
    meta = Metainfo.parse(changed(make(TREE, "hybrid"), at(0, attr=b"hx")))
    assert meta.files[0].attr == "hx", "as version 1 has it"
    assert "h" not in make(TREE, "hybrid").files[0].attr


@pytest.mark.parametrize(
    "change",
    [
        at(2, length=PIECE - 6),
        at(2, length=PIECE - 4),
        lambda _, info: info[b"files"].pop(2),
        lambda _, info: info[b"files"].insert(
            0, {b"length": PIECE - 1, b"path": [b"p"], b"attr": b"p"}
        ),
    ],
    ids=range(4),
)
def test_mi37_files_that_do_not_start_with_a_piece(change):
    def with_hashes(root, info):
        change(root, info)
        count = -(-sum(file[b"length"] for file in info[b"files"]) // PIECE)
        info[b"pieces"] = b"h" * 20 * count

    assert make(TREE, "hybrid").files[2].pad
    refused(changed(make(TREE, "hybrid"), with_hashes), "files")


def test_mi37_more_padding_than_the_last_piece_has_room_for():
    def change(_, info):
        pads = [{b"length": PIECE - 1, b"path": [b"p"], b"attr": b"p"}] * 2
        info[b"files"] += pads
        info[b"pieces"] += b"h" * 40

    refused(changed(make(TREE, "hybrid"), change), "files")


@pytest.mark.parametrize("version", ["v2", "hybrid"])
def test_mi28_piece_layers(version):
    meta = make(TREE, version)
    key, layer = next((k, v) for k, v in meta.piece_layers.items() if len(v) == 128)
    other = next(k for k in meta.piece_layers if k != key)
    layers = b"piece layers"
    changes = {
        "all missing": lambda root, _: root.pop(layers),
        "none": lambda root, _: root.update({layers: {}}),
        "of another kind": lambda root, _: root.update({layers: [layer]}),
        "one missing": lambda root, _: root[layers].pop(key),
        "short": lambda root, _: root[layers].update({key: layer[:-32]}),
        "long": lambda root, _: root[layers].update({key: layer + bytes(32)}),
        "part of a hash": lambda root, _: root[layers].update({key: layer[:-1]}),
        "empty": lambda root, _: root[layers].update({key: b""}),
        "a number": lambda root, _: root[layers].update({key: 5}),
        "wrong": lambda root, _: root[layers].update({key: layer[:-1] + b"?"}),
        "swapped": lambda root, _: root[layers].update({key: layer[32:] + layer[:32]}),
        "of another file": lambda root, _: root[layers].update({key: meta.piece_layers[other]}),
        "extra": lambda root, _: root[layers].update({b"e" * 32: layer}),
        "extra, of a short file": lambda root, _: root[layers].update(
            {next(f.root for f in meta.files if f.length == 5): layer[:32]}
        ),
        "a short key": lambda root, _: root[layers].update({b"e": layer}),
    }
    for change in changes.values():
        refused(changed(meta, change), "piece layers")


def test_mi28_the_same_file_twice_has_one_layer():
    both = [Entry(("a",), 3 * PIECE), Entry(("b",), 3 * PIECE)]
    for version in ("v2", "hybrid"):
        meta = make(both, version)
        assert len(meta.piece_layers) == 1
        assert meta.piece_count == 6


def test_mi28_layers_are_only_a_matter_of_version_2():
    meta = make(TREE, "v1")
    data = changed(meta, lambda root, _: root.update({b"piece layers": {b"any": b"thing"}}))
    assert Metainfo.parse(data).extra == {b"piece layers": {b"any": b"thing"}}
    assert Metainfo.parse(data).to_bytes() == data
