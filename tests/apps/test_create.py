"""`swarm create`: what goes into the torrent, where it is written, and the size of its pieces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import swarm
from swarm.apps.cli import start
from swarm.apps.create import piece_length

KIB = 1024
MIB = 1024 * KIB


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


def test_nothing_is_left_when_it_cannot_be_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(["create", "holiday", "-o", "no/such/x.torrent", "-q"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert sorted(path.name for path in folder.parent.iterdir()) == ["holiday"]
