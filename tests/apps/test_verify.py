"""`swarm verify`: what is told of each file, to people and to scripts, and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from swarm.proto.bencode import encode

from .conftest import bound_by_modes

Programs = Any
KIB = 1024
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")


@pytest.fixture
def shared(programs: Programs) -> Path:
    """A folder `data/t` of four files, each of its own pieces, beside its torrent `t.torrent`."""
    root: Path = programs.folder / "data" / "t"
    (root / "deep").mkdir(parents=True)
    for at, name in enumerate(("a", "b", "c", "deep/d")):
        (root / name).write_bytes(bytes([at]) * 64 * KIB)
    made = programs.run("create", root, "-o", "t.torrent", "--piece-size", "16k", "-q")
    assert made.returncode == 0, made.stderr
    return root


def told(out: bytes) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in out.splitlines()]
    return [record for record in records if record["type"] != "progress"]


def test_all_is_well(programs: Programs, shared: Path) -> None:
    good = programs.run("verify", "t.torrent", "--path", "data")
    assert (good.returncode, good.stdout) == (0, b"good\tt\t256.0 KiB\n"), good.stderr
    inside = programs.run("verify", "t.torrent", "--path", shared, "--quiet")
    assert (inside.returncode, inside.stdout, inside.stderr) == (0, b"", b"")


@pytest.fixture
def trouble(shared: Path) -> Path:
    """One file of each kind, and `b` with five bad places."""
    with (shared / "b").open("r+b") as file:
        file.seek(20_000)
        file.write(b"wrong")
        file.seek(50_000)
        file.write(b"wrong")
    os.truncate(shared / "a", 30_000)
    with (shared / "c").open("ab") as file:
        file.write(b"more")
    (shared / "deep" / "d").unlink()
    return shared


def test_a_line_for_each_file_that_is_not_right(programs: Programs, trouble: Path) -> None:
    bad = programs.run("verify", "t.torrent", "--path", "data", "-q")
    assert bad.returncode == 6
    assert bad.stdout.decode().splitlines() == [
        "short\tt/a\t30000 of 65536 bytes\t48.0 KiB bad: 16384-65536",
        "damaged\tt/b\t32.0 KiB bad: 16384-32768, 49152-65536",
        "long\tt/c\t4 bytes too many",
        "missing\tt/deep/d",
    ]
    home = programs.folder / "data"
    told = f"swarm: t in {home} is not as the torrent says: 4 of 4 files, 9 pieces\n"
    assert bad.stderr.decode() == told


def test_records_for_scripts(programs: Programs, trouble: Path) -> None:
    bad = programs.run("verify", "t.torrent", "--path", "data", "--json")
    assert bad.returncode == 6
    *files, done, error = told(bad.stdout)
    assert [(f["path"], f["state"], f["size"], f["good_bytes"], f["bad"]) for f in files] == [
        ("t/a", "short", 30_000, 16_384, [[16_384, 65_536]]),
        ("t/b", "damaged", 65_536, 32_768, [[16_384, 32_768], [49_152, 65_536]]),
        ("t/c", "long", 65_540, 65_536, []),
        ("t/deep/d", "missing", None, 0, [[0, 65_536]]),
    ]
    assert {f["type"] for f in files} == {"file"}
    assert (done["type"], done["ok"], done["good_pieces"]) == ("done", False, 7)
    assert done["bad_pieces"] == [1, 2, 3, 5, 7, 12, 13, 14, 15]
    assert (error["type"], error["code"]) == ("error", 6)


def test_progress_for_scripts(programs: Programs, shared: Path) -> None:
    good = programs.run("verify", "t.torrent", "--path", "data", "--json")
    first = json.loads(good.stdout.splitlines()[0])
    assert (first["type"], first["state"], first["length"]) == ("progress", "checking", 256 * KIB)
    assert first.keys() >= {"progress", "done", "rate", "eta"}


def test_many_bad_ranges_are_counted(programs: Programs, shared: Path) -> None:
    (shared / "a").write_bytes(b"\1" * 64 * KIB * 4)
    made = programs.run("create", shared / "a", "-o", "a.torrent", "--piece-size", "16k")
    assert made.returncode == 0
    with (shared / "a").open("r+b") as file:
        for piece in range(0, 10, 2):
            file.seek(piece * 16 * KIB)
            file.write(b"wrong")
    bad = programs.run("verify", "a.torrent", "--path", shared, "-q")
    line = b"damaged\ta\t80.0 KiB bad: 0-16384, 32768-49152, 65536-81920 and 2 more\n"
    assert (bad.returncode, bad.stdout) == (6, line)


@posix
def test_what_may_not_be_read_is_told_of_that_file(programs: Programs, shared: Path) -> None:
    """FS-11: EACCES on one file of many is about that file only."""
    (shared / "b").chmod(0)
    (shared / "deep").chmod(0)
    try:
        bad = programs.run("verify", "t.torrent", "--path", "data", "-q", before=bound_by_modes)
    finally:
        (shared / "deep").chmod(0o755)
    assert bad.returncode == 6, bad.stderr
    assert bad.stdout == b"unreadable\tt/b\nunreadable\tt/deep/d\n"


@posix
def test_a_folder_that_may_only_be_read(programs: Programs, shared: Path) -> None:
    folders = (shared / "deep", shared, shared.parent)
    for folder in folders:
        folder.chmod(0o555)
    try:
        good = programs.run("verify", "t.torrent", "--path", "data", before=bound_by_modes)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert good.returncode == 0, good.stderr


def test_while_another_writes(programs: Programs, shared: Path) -> None:
    """A file that is being written has a state at each moment, and never makes an error."""
    whole = (shared / "a").read_bytes()
    code = "while True: open('data/t/a', 'wb').write(b'x' * 65536)"
    writer = subprocess.Popen([sys.executable, "-c", code], cwd=programs.folder)
    while (shared / "a").read_bytes() == whole:
        pass
    try:
        for _ in range(5):
            done = programs.run("verify", "t.torrent", "--path", "data", "-q")
            assert done.returncode == 6, done.stderr
            assert done.stdout.split(b"\t")[:2] in ([b"short", b"t/a"], [b"damaged", b"t/a"])
    finally:
        writer.kill()
        writer.wait()
    (shared / "a").write_bytes(whole)
    assert programs.run("verify", "t.torrent", "--path", "data", "-q").returncode == 0


def test_names_cannot_fool_a_terminal(programs: Programs, torrent_file: Any) -> None:
    torrent_file(name="a\u202eb")
    bad = programs.run("verify", "made.torrent", "-q")
    assert bad.returncode == 6
    assert bad.stdout == b"missing\ta\\u202eb\n"


@posix
def test_ctrl_c_ends_it_by_that_signal(programs: Programs) -> None:
    """256 GiB that take half a minute: 4,096 names of one file."""
    folder = programs.folder / "big"
    folder.mkdir()
    (folder / "0").write_bytes(b"x" * (64 << 20))
    for at in range(1, 1 << 12):
        os.link(folder / "0", folder / str(at))
    files = [{b"length": 64 << 20, b"path": [b"%d" % at]} for at in range(1 << 12)]
    info = {b"files": files, b"piece length": 16 << 20, b"pieces": bytes(20 << 14), b"name": b"big"}
    (programs.folder / "made.torrent").write_bytes(encode({b"info": info}))
    process = programs.start("verify", "made.torrent", "--json")
    for line in process.stdout:
        if json.loads(line).get("rate"):
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGINT


def test_a_copy_elsewhere(programs: Programs, shared: Path) -> None:
    shutil.copytree(shared, programs.folder / "copy" / "t")
    assert programs.run("verify", "t.torrent", "--path", "copy").returncode == 0


def test_a_wrong_path_is_named(programs: Programs, shared: Path) -> None:
    (programs.folder / "other").write_bytes(b"x")
    done = programs.run("verify", "t.torrent", "--path", "other")
    assert done.returncode == 2
    assert b"other is neither t nor a folder that it could be in" in done.stderr
    (programs.folder / "else").mkdir()
    done = programs.run("verify", "t.torrent", "--path", "else")
    assert done.returncode == 6
    assert b"/else is not as the torrent says" in done.stderr


@posix
def test_a_link_of_the_same_name_is_the_folder(programs: Programs, shared: Path) -> None:
    (programs.folder / "links").mkdir()
    (programs.folder / "links" / "t").symlink_to(shared)
    assert programs.run("verify", "t.torrent", "--path", "links/t").returncode == 0


def test_what_is_no_torrent_is_named(programs: Programs) -> None:
    (programs.folder / "file").write_bytes(b"x")
    done = programs.run("verify", "file")
    assert done.returncode == 3
    assert done.stderr.startswith(b"swarm: file is no torrent: ")
    (programs.folder / "file").write_bytes(b"de")
    assert b"file is no torrent: " in programs.run("info", "file").stderr
