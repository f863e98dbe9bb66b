"""`swarm create`: what goes into the torrent, where it is written, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import swarm
from swarm.apps.cli import start
from swarm.apps.create import piece_length

from .conftest import bound_by_modes

Programs = Any
KIB = 1024
MIB = 1024 * KIB
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "holiday"
    (root / "deep").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"a" * 40_000)
    (root / "deep" / "b.txt").write_bytes(b"b" * 10)
    monkeypatch.chdir(tmp_path)
    return root


@pytest.mark.parametrize(
    ("text", "size"),
    [("auto", None), ("16k", 16 * KIB), ("1MiB", MIB), ("1048576", MIB), ("512MiB", 512 * MIB)],
)
def test_piece_length(text: str, size: int | None) -> None:
    assert piece_length(text) == size


@pytest.mark.parametrize("text", ["3MiB", "8k", "1TiB"])
def test_a_piece_length_that_cannot_be_is_2(
    text: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(["create", "holiday", "--piece-size", text]) == 2
    assert "a piece" in capsys.readouterr().err


def test_prints_where_it_was_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["create", "holiday", "-q"]) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("holiday.torrent\n", "")
    meta = swarm.Metainfo.load(folder.parent / "holiday.torrent")
    assert meta.name == "holiday"
    assert [file.path[1:] for file in meta.files] == [("a.txt",), ("deep", "b.txt")]
    assert meta.length == 40_010
    assert not list(folder.parent.glob("*~"))


def test_every_option_reaches_the_torrent(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trackers = ["http://one.example/announce", "udp://two.example:80/announce"]
    args = ["create", "holiday", "-o", "x.torrent", "--piece-size", "32KiB", "--private", "--v1"]
    args += ["--comment", "hello", "--source", "here", "--web-seed", "http://w.example/"]
    for url in trackers:
        args += ["--tracker", url]
    assert start([*args, "--json"]) == 0
    done = json.loads(capsys.readouterr().out.splitlines()[-1])
    meta = swarm.Metainfo.load(Path("x.torrent"))
    assert (done["type"], done["path"], done["pieces"]) == ("done", "x.torrent", 2)
    assert done["infohash"] == str(meta.infohash)
    assert [url for tier in meta.trackers for url in tier] == trackers
    assert meta.web_seeds == ("http://w.example/",)
    assert (meta.comment, meta.source, meta.private) == ("hello", "here", True)
    assert meta.piece_length == 32 * KIB


def test_to_stdout(folder: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert start(["create", "holiday/a.txt", "-o", "-", "-q"]) == 0
    meta = swarm.Metainfo.load(capsysbinary.readouterr().out)
    assert meta.single_file
    assert meta.name == "a.txt"


def test_the_folder_one_is_in(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert start(["create", ".", "-o", "../dot.torrent", "-q"]) == 0
    assert swarm.Metainfo.load(folder.parent / "dot.torrent").name == "holiday"


@pytest.mark.parametrize(
    "target", ["no/such/x.torrent", "holiday", "", "holiday/", "holiday/deep", "x" * 300]
)
def test_what_cannot_be_written_is_told_before_anything_is_read(
    target: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "unreadable").symlink_to("nowhere")  # which would be told first
    assert start(["create", "holiday", "-o", target]) in (1, 2)
    said = capsys.readouterr()
    assert said.out == ""
    if target.strip("/") != "holiday":  # which is the source itself
        assert said.err.startswith(f"swarm: {target}")
        assert len(said.err.splitlines()) == 1
    assert sorted(path.name for path in folder.parent.iterdir()) == ["holiday"]


def test_over_its_own_source_is_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["create", "holiday/a.txt", "-o", "holiday/deep/../a.txt"]) == 2
    assert "written over what it is made of" in capsys.readouterr().err
    assert (folder / "a.txt").stat().st_size == 40_000


def test_again_in_the_folder_that_is_shared(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The torrent of the first run is no part of the second one."""
    monkeypatch.chdir(folder)
    made = []
    for _ in range(2):
        assert start(["create", ".", "-q"]) == 0
        made.append(swarm.Metainfo.load("holiday.torrent"))
    assert made[0].infohash == made[1].infohash
    assert [file.path[1:] for file in made[1].files] == [("a.txt",), ("deep", "b.txt")]


@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
def test_versions(version: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["create", "holiday", f"--{version}", "--json"]) == 0
    done = json.loads(capsys.readouterr().out.splitlines()[-1])
    meta = swarm.Metainfo.load("holiday.torrent")
    assert meta.version == done["version"] == version
    assert (done["length"], done["files"]) == (40_010, 2)  # without pad files
    for name, digest in (("v1", meta.infohash.v1), ("v2", meta.infohash.v2)):
        assert done[f"infohash_{name}"] == (digest.hex() if digest else None)
    assert start(["verify", "holiday.torrent", "-q"]) == 0
    (folder / "deep" / "b.txt").write_bytes(b"wrong bytes")
    assert start(["verify", "holiday.torrent", "-q"]) == 6


@pytest.mark.parametrize(
    ("args", "files"),
    [
        ([], {"a.txt", "deep/b.txt"}),
        (["--all"], {"a.txt", "deep/b.txt", "deep/.DS_Store", "Thumbs.db"}),
        (["--exclude", "*.txt", "--all"], {"deep/.DS_Store", "Thumbs.db"}),
        (["--exclude", "/deep", "--exclude", "nothing"], {"a.txt"}),
    ],
)
def test_what_is_left_out(
    args: list[str], files: set[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "deep" / ".DS_Store").write_bytes(b"x")
    (folder / "Thumbs.db").write_bytes(b"x")
    assert start(["create", "holiday", "-q", *args]) == 0
    meta = swarm.Metainfo.load("holiday.torrent")
    assert {"/".join(file.path[1:]) for file in meta.files} == files


@posix
def test_links(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "link").symlink_to("a.txt")
    assert start(["create", "holiday", "-q"]) == 3
    assert capsys.readouterr().err == (
        f"swarm: {folder}/link: a symbolic link; --symlinks (in Python: symlinks=) keeps or follows them\n"
    )
    assert not Path("holiday.torrent").exists()
    for how, length in (("keep", 0), ("follow", 40_000)):
        assert start(["create", "holiday", "-q", "--symlinks", how]) == 0
        files = {file.path[-1]: file for file in swarm.Metainfo.load("holiday.torrent").files}
        assert files["link"].length == length
    assert start(["create", "holiday", "--symlinks", "maybe"]) == 2


@posix
@pytest.mark.parametrize("version", ["v1", "hybrid"])
def test_names_that_change_on_download_are_told(
    version: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "back\\slash").write_bytes(b"x")
    assert start(["create", "holiday", f"--{version}"]) == 0
    assert "on download 1 file name had to change: 'back\\\\slash' is 'backslash'; name it so" in (
        capsys.readouterr().err
    )
    assert start(["create", "holiday", "--json"]) == 0
    done = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(done["warnings"]) == 1


@posix
def test_one_sentence_for_each_kind_of_trouble(programs: Programs) -> None:
    """What may not be read, what is no file, what has no name: said before an hour of hashing."""
    root = programs.folder / "x"
    (root / "sub").mkdir(parents=True)
    (root / "a").write_bytes(b"a" * 100)
    (root / "sub" / "b").write_bytes(b"b")
    (root / "a").chmod(0)

    def said() -> str:
        done = programs.run("create", "x", before=bound_by_modes)
        assert done.returncode == 3
        assert done.stdout == b""
        assert not (programs.folder / "x.torrent").exists()
        last: str = done.stderr.decode().splitlines()[-1]
        return last.removeprefix(f"swarm: {root}/")

    assert said() == "a: may not be read"
    (root / "a").chmod(0o644)
    (root / "sub").chmod(0)
    assert said() == "sub: Permission denied"
    (root / "sub").chmod(0o755)
    os.mkfifo(root / "sub" / "pipe\x1b[31m")  # never opened, which would block
    assert said() == "sub/pipe\\x1b[31m: a named pipe; only files and folders can be shared"
    (root / "sub" / "pipe\x1b[31m").unlink()
    Path(os.fsdecode(os.fsencode(root) + b"/gr\xfcn")).write_bytes(b"x")
    assert said() == "gr\\xfcn: its name is not UTF-8"


@posix
def test_a_folder_that_may_not_be_written(programs: Programs) -> None:
    (programs.folder / "x").write_bytes(b"x")
    target = programs.folder / "closed"
    target.mkdir(mode=0o555)
    done = programs.run("create", "x", "-o", target / "x.torrent", before=bound_by_modes)
    assert done.returncode == 1
    assert done.stderr.decode() == f"swarm: {target}/x.torrent: Permission denied\n"


def test_fs01_a_full_disk_is_8_and_one_line(programs: Programs) -> None:
    """Nothing half is left, and what was there before still is."""
    small = programs.folder / "small"
    small.mkdir()
    how = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small]
    if sys.platform != "linux" or subprocess.run(how, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        target = small / "x.torrent"
        target.write_bytes(b"before")
        with (programs.folder / "x").open("wb") as file:
            file.truncate(64 * MIB)
        args = ("create", "x", "-o", target, "--piece-size", "16k")
        done = programs.run(*args, "-q")
        left = [(path.name, path.read_bytes()) for path in small.iterdir()]
    finally:
        subprocess.run(["umount", "-l", small], check=True)
    assert (done.returncode, done.stdout) == (8, b"")
    assert done.stderr.decode() == f"swarm: {target}: No space left on device\n"
    assert left == [("x.torrent", b"before")]


def terabyte(folder: Path) -> None:
    """16,384 names of one file of 64 MiB."""
    folder.mkdir()
    (folder / "0").write_bytes(b"x" * 64 * MIB)
    for at in range(1, 1 << 14):
        os.link(folder / "0", folder / str(at))


@posix
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_leaves_nothing(programs: Programs, signum: int) -> None:
    """A terabyte that takes minutes, with the time that is left."""
    terabyte(programs.folder / "big")
    process = programs.start("create", "big", "--json")
    steps = []
    for line in process.stdout:
        steps.append(json.loads(line))
        if steps[-1].get("eta"):
            break
    process.send_signal(signum)
    process.communicate(timeout=10)
    assert process.returncode == -signum
    assert steps[-1]["length"] == 1 << 40
    assert 0 < steps[-1]["done"] < 1 << 40
    assert sorted(path.name for path in programs.folder.iterdir()) == ["big"]


@posix
def test_into_a_pipe(programs: Programs) -> None:
    (programs.folder / "x").write_bytes(b"x" * 1000)
    done = programs.run("create", "x", "-o", "/dev/stdout", "-q")
    assert done.returncode == 0
    assert done.stdout.startswith(b"d10:created by")
    assert Path("/dev/stdout").is_symlink()


def test_it_does_not_import_the_network(programs: Programs) -> None:
    """Start-up is a feature: neither command loads what only a session needs."""
    (programs.folder / "x").write_bytes(b"x" * 1000)
    assert programs.run("create", "x").returncode == 0
    code = (
        "import sys; from swarm.apps.cli import start; code = start(sys.argv[1:]);"
        "print([m for m in sys.modules if m.split('.')[0] in ('aiohttp', 'rich', 'multidict')]);"
        "sys.exit(code)"
    )
    for args in (["create", "x", "-q", "-o", "y.torrent"], ["verify", "x.torrent", "-q"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *args],
            cwd=programs.folder,
            env=programs.environ(),
            capture_output=True,
            check=True,
        )
        assert done.stdout.splitlines()[-1] == b"[]"


@pytest.mark.parametrize(
    ("option", "said"),
    [("--tracker", "the URL of a tracker"), ("--web-seed", "the URL of a web seed")],
)
def test_a_bad_url_is_2_before_anything_is_hashed(
    option: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(["create", "holiday", option, "ftp://x"]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "100%" not in err
