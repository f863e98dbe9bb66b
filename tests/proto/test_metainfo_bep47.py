"""Attributes, pad files and symlinks (BEP 47), in torrents of both versions."""

import time

import pytest

from swarm.errors import MetainfoError
from swarm.proto import bencode
from swarm.proto.metainfo import Metainfo

PIECE = 32 * 1024


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


def v1(*files, length=None, **info):
    total = sum(file.get("length", 0) for file in files if "l" not in file.get("attr", ""))
    pieces = b"h" * 20 * -(-(length or total) // PIECE)
    return bencode.encode(
        {
            "info": {"files": files, "name": "n", "piece length": PIECE, "pieces": pieces} | info,
        }
    )


def file(path, length=5, **more):
    return {"path": path.split("/"), "length": length} | more


def link(path, target, **more):
    return file(path, 0, attr="l", **{"symlink path": target.split("/")}) | more


def test_attributes():
    meta = Metainfo.parse(v1(file("a", attr="x"), file("b", attr="?zhx"), file("c", attr="\xff")))
    assert [file.attr for file in meta.files] == ["x", "hx", ""]


def test_fn14_pad_files():
    pad = {"attr": "p"}
    files = [file("a"), file(".pad/7", 7, **pad), file(".pad/7", 9), file(".pad/7", 11, **pad)]
    meta = Metainfo.parse(v1(*files))
    assert [file.pad for file in meta.files] == [False, True, False, True]
    assert meta.files[2].path == ("n", ".pad", "7"), "a real file keeps its name"
    assert meta.size == 14
    assert Metainfo.parse(v1(file("a"), {"length": 7, "attr": "p"})).files[1].pad
    refused(v1(file("a"), file("p", PIECE, **pad)), "length")
    assert Metainfo.parse(v1(file("a"), file("p", PIECE - 1, **pad)))
    refused(v1(file("a"), file("p", 2**62, **pad), length=5), "length")
    refused(v2({"a": one(), "b": one(attr="p")}), "attr")


GOOD_LINKS = {
    "a file": ("a", ("n", "a")),
    "in a folder": ("d/b", ("n", "d", "b")),
    "a folder": ("d", ("n", "d")),
    "a folder of folders": ("e", ("n", "e")),
    "another link": ("last", ("n", "last")),
    "a name that had to change": ("d/con/../x", ("n", "d", "_con", "_", "x")),
    "its folder": ("d/con", ("n", "d", "_con")),
    "through a link": ("last/b", ("n", "d", "b")),
    "through links": ("over/../x", ("n", "d", "_con", "_", "x")),
    "a folder through a link": ("last/con", ("n", "d", "_con")),
}
BAD_LINKS = {
    "up": "..",
    "up and away": "../../etc/passwd",
    "by a detour": "d/../../x",
    "absolute": "/etc/passwd",
    "a drive": "C:/x",
    "dots": "./a",
    "nothing": "",
    "not there": "nowhere",
    "not there, in a folder": "d/nowhere",
    "below a file": "a/b",
    "nothing through a link": "last/nowhere",
    "up through a link": "last/../a",
    "through itself": "here/link/x",
    "through a loop": "loop/1/x",
    "itself": "here/link",
    "its own folder": "here",
    "a pad file": ".pad/1",
    "one of a loop": "loop/1",
    "another case": "A",
}


def with_link(target):
    return v1(
        file("a"),
        file("d/b"),
        file("d/con/../x"),
        file("e/f/g"),
        link("here/link", target),
        link("last", "d"),
        link("over", "last/con"),
        link("loop/1", "loop/2"),
        link("loop/2", "loop/1"),
        file(".pad/1", 1, attr="p"),
    )


@pytest.mark.parametrize("name", GOOD_LINKS)
def test_fn12_symlinks_within_the_torrent(name):
    target, safe = GOOD_LINKS[name]
    links = {file.path: file.symlink for file in Metainfo.parse(with_link(target)).files}
    assert links["n", "here", "link"] == safe
    assert links["n", "last"] == ("n", "d")
    assert [path for path in links if "loop" in path] == [], "loops are left out"


@pytest.mark.parametrize("name", BAD_LINKS)
def test_fn12_symlinks_that_lead_elsewhere(name):
    meta = Metainfo.parse(with_link(BAD_LINKS[name]))
    assert ("n", "here", "link") not in [file.path for file in meta.files]
    assert [file.index for file in meta.files] == list(range(len(meta.files)))
    assert "3 symlinks lead to nothing" in meta.warnings[-1]


def test_fn12_a_file_through_a_symlink():
    """It is a file in a folder of that name, and the link makes room."""
    meta = Metainfo.parse(v1(file("a"), link("d", "a"), file("d/passwd")))
    assert [(file.path[1:], file.symlink) for file in meta.files] == [
        (("a",), None),
        (("d.1",), ("n", "a")),
        (("d", "passwd"), None),
    ]


def test_the_links_of_a_framework():
    """In the words of old clients too, which say a link from its own folder."""
    for current in ("Versions/A", "A"):
        files = [
            link("Headers", "Versions/Current/Headers"),
            link("Lib", "Versions/Current/Lib"),
            file("Versions/A/Headers/lib.h"),
            file("Versions/A/Lib", attr="x"),
            link("Versions/Current", current),
        ]
        links = [f.symlink for f in Metainfo.parse(v1(*files)).files if f.symlink]
        assert links == [
            ("n", "Versions", "A", "Headers"),
            ("n", "Versions", "A", "Lib"),
            ("n", "Versions", "A"),
        ]


def test_fn12_chains_of_symlinks():
    def chain(length):
        links = [link(f"l{at}", f"l{at + 1}") for at in range(length)]
        return Metainfo.parse(v1(*links, file(f"l{length}"))).files

    assert len(chain(30)) == 31
    assert len(chain(100)) < 100, "as far as systems follow them"


def test_fn12_many_symlinks_take_no_time():
    links = [link(f"l{at}", f"l{at + 1}") for at in range(50_000)]
    began = time.process_time()
    Metainfo.parse(v1(*links, file("l50000")))
    assert time.process_time() - began < 10  # about one, where nothing else runs


@pytest.mark.parametrize("through", [False, True])
def test_fn12_many_links_through_links_take_no_time(through):
    """Each of them through as many as there are, at the end of a path as long as there may be."""
    deep = ["d"] * 98
    links = [
        link("/".join([*deep, f"l{at}"]), "/".join([*deep, f"l{at + 1}", "x" if through else ""]))
        for at in range(10_000)
    ]
    began = time.process_time()
    meta = Metainfo.parse(v1(*links, file("a")))
    assert time.process_time() - began < 10  # about one, where nothing else runs
    assert len(meta.files) == 1


def test_a_symlink_has_no_bytes_whatever_it_says():
    files = [file("a"), link("b", "a", length=1000), link("c", "a", length=b"x"), file("d")]
    meta = Metainfo.parse(v1(*files, length=10))
    assert [(file.length, file.offset) for file in meta.files] == [(5, 0), (0, 5), (0, 5), (5, 5)]
    meta = Metainfo.parse(v2({"a": one(), "b": one(9, attr="l", **{"symlink path": ["a"]})}))
    assert meta.size == 5


def test_a_symlink_without_a_target_is_left_out():
    assert len(Metainfo.parse(v1(file("a"), file("b", 0, attr="l"))).files) == 1
    refused(v1(file("a"), file("b", 0, attr="l", **{"symlink path": 5})), "symlink path")
    deep = file("b", 0, attr="l", **{"symlink path": ["d"] * 101})
    assert "budget path_depth" in str(refused(v1(file("a"), deep), "symlink path"))


def test_where_pieces_end_in_padding():
    pad = {"attr": "p"}
    meta = Metainfo.parse(
        v1(
            file("a", PIECE + 5),
            file("p", PIECE - 5, **pad),
            file("b", PIECE),
            file("c", 5),
            file("p", 7, **pad),  # in the middle
            file("d", PIECE - 12),
            file("e", 1),
            file("p", PIECE - 11, **pad),
            file("p", 10, **pad),
            file("f", 9),
        )
    )
    assert meta.padding == {1: PIECE - 5, 4: 10}
