"""Walking what is to become a torrent: order, attributes, links, and all that cannot be shared."""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

import swarm
import swarm.tree
from swarm.proto.metainfo_fields import DEFAULT_BUDGET, Budget
from swarm.tree import Tree

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")
pytestmark = posix


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "b").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"aa")
    (root / "b" / "c").write_bytes(b"c")
    return root


def paths(tree: Tree) -> list[str]:
    return ["/".join(leaf.path) for leaf in tree.leaves]


def refused(root: Path, **how: Any) -> str:
    """The guilty path below `root`, and why it is refused."""
    with pytest.raises(swarm.SourceError) as caught:
        Tree(root, **how)
    assert isinstance(caught.value, OSError)
    assert str(caught.value).startswith(f"{caught.value.source}: ")
    where = os.path.relpath(caught.value.source, root)
    return f"{where}: {str(caught.value).removeprefix(caught.value.source)[2:]}"


def test_order_is_that_of_names_in_each_folder(tmp_path):
    """As in a file tree (BEP 52): `a.b` and `a0` come after what is in `a`."""
    names = ["a/z", "a/b/c", "a.b", "a", "Z", "ä", "a0/x", "\U0001f980", "\uffff"]
    for name in names:
        path = tmp_path / "t" / name
        if name != "a":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    found = [leaf.path for leaf in Tree(tmp_path / "t").leaves]
    assert found == sorted(found, key=lambda path: [part.encode() for part in path])
    assert len(found) == len(names) - 1


def test_hidden_and_empty_files_are_files_and_empty_folders_are_not(root):
    (root / ".hidden").write_bytes(b"")
    (root / ".folder").mkdir()
    (root / ".folder" / "x").write_bytes(b"x")
    (root / "empty").mkdir()
    tree = Tree(root)
    assert paths(tree) == [".folder/x", ".hidden", "a.txt", "b/c"]
    assert tree.length == 4
    assert [leaf.attr for leaf in tree.leaves] == [""] * 4


def test_what_its_owner_may_run_is_executable(root):
    (root / "a.txt").chmod(0o744)
    (root / "b" / "c").chmod(0o655)  # others may, and its owner may not
    assert [leaf.attr for leaf in Tree(root).leaves] == ["x", ""]


def test_a_single_file_and_links_to_the_root(root, tmp_path):
    tree = Tree(root / "a.txt")
    assert (tree.name, tree.single_file, paths(tree)) == ("a.txt", True, ["a.txt"])
    (tmp_path / "latest").symlink_to(root)
    (tmp_path / "file").symlink_to(root / "a.txt")
    assert (Tree(tmp_path / "latest").name, paths(Tree(tmp_path / "latest"))) == (
        "latest",
        ["a.txt", "b/c"],
    )
    assert paths(Tree(tmp_path / "file")) == ["file"]


def test_names_of_folders_that_have_none(root, monkeypatch):
    monkeypatch.chdir(root / "b")
    assert Tree(Path()).name == "b"
    assert Tree(Path("..")).name == "root"


def test_special_files_are_named_and_never_opened(root):
    guilty = root / "b" / "guilty"
    os.mkfifo(guilty)  # to open it would block
    said = "only files and folders can be shared"
    assert refused(root) == f"b/guilty: a named pipe; {said}"
    assert refused(guilty) == f".: a named pipe; {said}"
    guilty.unlink()
    with socket.socket(socket.AF_UNIX) as sock:
        before = Path.cwd()
        os.chdir(root / "b")  # the path of a socket must be short
        try:
            sock.bind("guilty")
        finally:
            os.chdir(before)
    assert refused(root) == f"b/guilty: a socket; {said}"
    guilty.unlink()
    if os.geteuid() == 0:
        try:
            os.mknod(guilty, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        except PermissionError:
            return
        assert refused(root) == f"b/guilty: a device; {said}"


def test_names_that_are_not_utf8(root):
    name = os.fsencode(root / "b") + b"/gr\xfcn"
    Path(os.fsdecode(name)).write_bytes(b"x")
    with pytest.raises(swarm.SourceError, match=r"gr\\xfcn: its name is not UTF-8"):
        Tree(root)
    os.unlink(name)
    os.mkdir(name)
    with pytest.raises(swarm.SourceError, match="not UTF-8"):
        Tree(root)
    with pytest.raises(swarm.SourceError, match="not UTF-8"):
        Tree(Path(os.fsdecode(name)))


def test_what_is_not_there(root):
    assert refused(root / "no") == ".: No such file or directory"
    with pytest.raises(swarm.SourceError):
        Tree(Path("nul\0"))


def test_too_deep_is_refused(root):
    deep = root
    for _ in range(DEFAULT_BUDGET.path_depth):
        deep /= "d"
    deep.mkdir(parents=True)
    assert "more than 100 folders deep" in refused(root)


# ---------------------------------------------------------------- links


@pytest.mark.parametrize("target", ["a.txt", "b", "nowhere", "."])
def test_links_are_refused_by_default(root, target):
    (root / "link").symlink_to(target)
    assert refused(root).startswith("link: a symbolic link; --symlinks (in Python: symlinks=)")


def kept(tree: Tree) -> dict[str, str]:
    return {
        "/".join(leaf.path): "/".join(leaf.target)
        for leaf in tree.leaves
        if leaf.target is not None and leaf.attr == "l" and leaf.length == 0
    }


def test_links_are_kept_as_links(root, tmp_path):
    (root / "file").symlink_to("a.txt")
    (root / "folder").symlink_to("b")
    (root / "b" / "up").symlink_to("../a.txt")
    (root / "b" / "absolute").symlink_to(root / "a.txt")
    (root / "chain").symlink_to("file")
    (root / "through").symlink_to("folder/c")
    (root / "b" / "sibling").symlink_to("../folder/up")
    tree = Tree(root, "keep")
    assert kept(tree) == {
        "file": "a.txt",
        "folder": "b",
        "b/up": "a.txt",
        "b/absolute": "a.txt",
        "chain": "file",
        "through": "b/c",  # not by way of a link: nobody else may know that it is one
        "b/sibling": "a.txt",
    }
    assert tree.length == 3
    (tmp_path / "alias").symlink_to(root)
    assert kept(Tree(tmp_path / "alias", "keep")) == kept(tree)


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("nowhere", "a symbolic link to what is not there"),
        ("link", "a symbolic link that leads back to itself"),
        ("..", "a symbolic link that leads out of the folder"),
        (".", "a symbolic link to the very folder that is shared"),
        ("../rooted", "a symbolic link that leads out of the folder"),
        ("/etc/passwd", "a symbolic link that leads out of the folder"),
        ("empty", "a symbolic link to what is not in the torrent"),
        ("left out", "a symbolic link to what is not in the torrent"),
    ],
)
def test_links_that_cannot_be_kept(root, tmp_path, target, why):
    """FN-12: only what the torrent itself has can be the target."""
    (tmp_path / "rooted").write_bytes(b"x")  # whose name begins like that of the folder
    (root / "empty").mkdir()
    (root / "left out").write_bytes(b"x")
    (root / "link").symlink_to(target)
    assert refused(root, symlinks="keep", exclude=["left out"]) == f"link: {why}"


def test_links_are_followed_inside(root):
    (root / "a.txt").chmod(0o755)
    (root / "file").symlink_to("a.txt")
    (root / "folder").symlink_to("b")
    tree = Tree(root, "follow")
    assert paths(tree) == ["a.txt", "b/c", "file", "folder/c"]
    assert [leaf.length for leaf in tree.leaves] == [2, 1, 2, 1]
    assert [leaf.attr for leaf in tree.leaves] == ["x", "", "x", ""]
    assert {leaf.target for leaf in tree.leaves} == {None}


def test_out_of_the_folder_only_when_told_so(root, tmp_path):
    (tmp_path / "rooted").mkdir()
    (tmp_path / "rooted" / "secret").write_bytes(b"xyz")
    (root / "link").symlink_to("../rooted")
    assert refused(root, symlinks="follow") == "link: a symbolic link that leads out of the folder"
    (root / "by way").symlink_to("link/secret")
    assert refused(root, symlinks="follow").startswith("by way: ")
    tree = Tree(root, "follow-outside")
    assert paths(tree) == ["a.txt", "b/c", "by way", "link/secret"]
    assert tree.length == 9


@pytest.mark.parametrize("target", [".", "..", "../b", "../.."])
def test_a_loop_of_links_is_named(root, target):
    (root / "b" / "loop").symlink_to(target)
    how = "follow-outside" if target == "../.." else "follow"
    said = refused(root, symlinks=how)
    assert said.endswith("loop: a symbolic link to a folder that it is in itself") or (
        target == "../.."
        and said.endswith("root: a symbolic link to a folder that it is in itself")
    )


def test_links_to_nothing_and_to_special_files_are_named(root):
    (root / "link").symlink_to("nowhere")
    assert refused(root, symlinks="follow") == "link: a symbolic link to what is not there"
    (root / "link").unlink()
    (root / "link").symlink_to("link")
    assert refused(root, symlinks="follow").startswith("link: a symbolic link that leads back")
    (root / "link").unlink()
    os.mkfifo(root / "pipe")
    (root / "link").symlink_to("pipe")
    assert "a named pipe" in refused(root, symlinks="follow")


def test_a_few_folders_of_links_are_not_walked_forever(root, monkeypatch):
    """Each folder twice in the one above makes a million, and more than any budget."""
    monkeypatch.setattr(swarm.tree, "DEFAULT_BUDGET", Budget(files=1000))
    deep = root / "deep"
    for _ in range(20):
        deep.mkdir()
        (deep / "again").symlink_to("below")
        deep /= "below"
    deep.mkdir()
    assert refused(root, symlinks="follow") == ".: more than 1,000 folders"


def test_more_files_than_a_torrent_may_have(root, monkeypatch):
    (root / "one more").write_bytes(b"")
    monkeypatch.setattr(swarm.tree, "DEFAULT_BUDGET", Budget(files=2))
    assert refused(root) == ".: more than 2 files"


# ---------------------------------------------------------------- patterns


def test_patterns_leave_out_files_and_folders(root):
    for name in (".DS_Store", "b/.DS_Store", "b/x.tmp", "c/deep/c", "c/x", "[1]", "1"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")

    def left(*exclude: str) -> set[str]:
        return set(paths(Tree(root))) - set(paths(Tree(root, exclude=exclude)))

    assert left() == set()
    assert left(".DS_Store") == {".DS_Store", "b/.DS_Store"}
    assert left("*.tmp", "nothing") == {"b/x.tmp"}
    assert left("c") == {"b/c", "c/deep/c", "c/x"}
    assert left("/c") == {"c/deep/c", "c/x"}
    assert left("c/deep/") == {"c/deep/c"}
    assert left("b/*") == {"b/.DS_Store", "b/c", "b/x.tmp"}
    assert left("[[]1]") == {"[1]"}


def test_what_is_left_out_may_be_anything(root):
    os.mkfifo(root / "pipe")
    (root / "link").symlink_to("nowhere")
    Path(os.fsdecode(os.fsencode(root) + b"/\xff.bad")).write_bytes(b"x")
    assert paths(Tree(root, exclude=["pipe", "link", "*.bad"])) == ["a.txt", "b/c"]


# ---------------------------------------------------------------- changes


@pytest.mark.parametrize("what", ["grows", "shrinks", "touched", "vanishes", "replaced", "no file"])
def test_a_file_that_changed_is_named(root, what):
    tree = Tree(root)
    tree.check_unchanged()
    victim = root / "b" / "c"
    now = victim.stat()
    match what:
        case "grows":
            victim.write_bytes(b"longer")
        case "shrinks":
            victim.write_bytes(b"")
        case "touched":
            os.utime(victim, ns=(now.st_atime_ns, now.st_mtime_ns + 1))
        case "vanishes":
            victim.unlink()
        case "replaced":
            other = root / "other"
            other.write_bytes(b"d")
            os.utime(other, ns=(now.st_atime_ns, now.st_mtime_ns + 1))
            other.replace(victim)
        case "no file":
            victim.unlink()
            victim.mkdir()
    with pytest.raises(swarm.SourceError, match="changed while it was read") as caught:
        tree.check_unchanged()
    assert caught.value.source == str(victim)


def test_a_new_file_is_no_change(root):
    tree = Tree(root)
    (root / "new").write_bytes(b"x")
    tree.check_unchanged()
