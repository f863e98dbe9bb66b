"""File trees (BEP 52), written by hand: what is read, and what is refused."""

import time

import pytest

from swarm.errors import BencodeError, MetainfoError
from swarm.proto import bencode
from swarm.proto.metainfo import Budget, Metainfo

KIB = 1024
PIECE = 32 * KIB


def refused(data: bytes, key: str, **options) -> MetainfoError:
    with pytest.raises(MetainfoError) as caught:
        Metainfo.parse(data, **options)
    assert caught.value.key == key
    return caught.value


def v2(tree, **info):
    """A v2 torrent with this file tree, written by hand; no layers."""
    return bencode.encode(
        {"info": {"file tree": tree, "meta version": 2, "name": "n", "piece length": PIECE} | info}
    )


def one(length=5, root=b"r" * 32, **more):
    return {"": {"length": length, "pieces root": root} | more}


def test_a_torrent_written_by_hand():
    meta = Metainfo.parse(v2({"a": one(), "d": {"empty": {"": {"length": 0}}, "f": one(7)}}))
    assert [(f.path, f.length, f.offset, f.pad) for f in meta.files] == [
        (("n", "a"), 5, 0, False),
        (("n", "d", "empty"), 0, 5, False),
        (("n", ".pad", str(PIECE - 5)), PIECE - 5, 5, True),
        (("n", "d", "f"), 7, PIECE, False),
    ]
    assert meta.piece_hashes == b"r" * 64
    assert (meta.length, meta.size) == (PIECE + 7, 12)


@pytest.mark.parametrize("root", [b"", b"r" * 31, b"r" * 33, bytes(32), 5, [b"r" * 32], None])
@pytest.mark.parametrize("length", [1, 5 * PIECE])
def test_mi26_roots_that_are_none(root, length):
    leaf = {"length": length} if root is None else {"length": length, "pieces root": root}
    refused(v2({"a": {"": leaf}}), "pieces root")


def test_mi26_an_empty_file_has_no_root():
    files = Metainfo.parse(v2({"a": one(0), "b": one()})).files
    assert [file.root for file in files] == [None, b"r" * 32]


def test_mi28_two_lengths_under_one_root():
    refused(v2({"a": one(2 * PIECE), "b": one(2 * PIECE - 1)}), "pieces root")


def nested(depth, node):
    for _ in range(depth):
        node = {"d": node}
    return node


def test_mi29_deep_trees():
    limit = bencode.DEPTH - 4
    assert len(Metainfo.parse(v2(nested(limit, one()))).files[0].path) == limit + 1
    deep = b"d1:d" * 10_000 + b"d0:d6:lengthi0eee" + b"e" * 10_000
    head = b"d4:infod9:file tree" + deep
    with pytest.raises(BencodeError, match="depth"):
        Metainfo.parse(head + b"12:meta versioni2e4:name1:n12:piece lengthi32768eee")
    refused(v2(nested(11, one())), "file tree", budget=Budget(path_depth=10))
    assert Metainfo.parse(v2(nested(10, one())), budget=Budget(path_depth=10))


@pytest.mark.parametrize(
    "tree",
    [
        {"a": {**one(), "b": one()}},
        one(),
        {"a": {"": one()}},
        {"a": {"d": {"": {"length": 5, "pieces root": b"r" * 32}, "e": {}}}},
    ],
    ids=range(4),
)
def test_mi29_a_file_and_a_folder_at_once(tree):
    with pytest.raises(MetainfoError):
        Metainfo.parse(v2(tree))


@pytest.mark.parametrize("tree", [{}, {"a": {}}, {"a": {"b": {}}}])
def test_mi29_folders_of_nothing(tree):
    refused(v2(tree), "file tree")
    assert len(Metainfo.parse(v2({**tree, "f": one()})).files) == 1


def test_mi29_names_out_of_order():
    leaf = b"d0:d6:lengthi5e11:pieces root32:" + b"r" * 32 + b"ee"
    rest = b"12:meta versioni2e4:name1:n12:piece lengthi32768e"
    for names, good in ((b"ab", True), (b"ba", False)):
        tree = b"".join(b"1:%c" % name + leaf for name in names)
        data = b"d4:infod9:file treed" + tree + b"e" + rest + b"ee"
        if good:
            assert len(Metainfo.parse(data).files) == 3
        else:
            assert "out of order" in str(refused(data, "file tree"))


@pytest.mark.parametrize("wrong", [5, b"text", [], [{}]], ids=repr)
def test_mi09_wrong_kind_in_a_tree(wrong):
    for tree in (
        wrong,
        {"a": wrong},
        {"a": {"b": wrong, "c": one()}},
        {"a": {"": wrong}},
        {"a": one([wrong])},
        {"a": one(attr=[wrong])},
        {"a": one(attr="l", **{"symlink path": {"a": wrong}})},
        {"a": one(attr="l", **{"symlink path": [[wrong]]})},
    ):
        with pytest.raises(MetainfoError):
            Metainfo.parse(v2(tree))


def test_mi15_a_length_below_zero_in_a_tree():
    refused(v2({"a": one(-1)}), "length")
    refused(v2({"a": one(-5), "b": one(50)}), "length")


def test_mi16_a_sum_of_lengths_that_overflows_in_a_tree():
    refused(v2({"a": one(2**62), "b": one(2**62)}), "length")
    refused(v2({"a": one(2**63 - 1)}), "pieces")
    # The pads of our own making count as well.
    refused(v2({"a": one(2**62 + 1), "b": one(2**62 - 5)}), "length")


def test_mi19_nothing_to_share_in_version_2():
    refused(v2({"a": {"": {"length": 0}}, "b": {"": {"length": 0}}}), "files")


def test_mi30_trees_too_large():
    """Told by the number of pieces, before anything is allocated for them."""
    assert "budget pieces" in str(refused(v2({"a": one(2**60)}), "pieces"))
    assert "budget pieces" in str(refused(v2({"a": one(PIECE * 2**21 + 1)}), "pieces"))
    refused(v2({"a": one(), "b": one()}), "pieces", budget=Budget(pieces=1))
    refused(v2({"a": one(), "b": one()}), "file tree", budget=Budget(files=1))


@pytest.mark.parametrize(("count", "said"), [(150_000, "150000"), (300_000, "budget files")])
def test_mi23_many_files_in_a_tree(count, said):
    """The memory is that of the same in version 1, whose test looks at it."""
    empty = b"".join(b"6:%06dd0:d6:lengthi0eee" % at for at in range(1, count))
    tree = b"6:000000d0:d6:lengthi5e11:pieces root32:" + b"r" * 32 + b"ee" + empty
    rest = b"12:meta versioni2e4:name1:n12:piece lengthi16384e"
    began = time.process_time()
    try:
        answer = str(
            len(Metainfo.parse(b"d4:infod9:file treed" + tree + b"e" + rest + b"ee").files)
        )
    except MetainfoError as error:
        answer = str(error)
    assert said in answer
    assert time.process_time() - began < 4  # a quarter of it, where nothing else runs
