"""`swarm info` shows what a torrent says, and nothing that a torrent may not do to a terminal."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from swarm.apps.cli import start
from swarm.apps.info import date

TorrentFile = Callable[..., Path]


def test_summary(torrent_file: TorrentFile, capsys: pytest.CaptureFixture[str]) -> None:
    path = torrent_file(announce=b"http://t.example/announce", comment=b"hi", info={b"private": 1})
    assert start(["info", str(path)]) == 0
    shown = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines())
    shown = {label: text.strip() for label, text in shown.items()}
    assert shown["name"] == "sample.bin"
    assert len(shown["infohash"]) == 40
    assert shown["size"] == "19.5 KiB (20000 bytes)"
    assert shown["pieces"] == "2 of 16.0 KiB"
    assert shown["private"] == "yes"
    assert shown["trackers"] == "http://t.example/announce"
    assert shown["comment"] == "hi"


def test_json(torrent_file: TorrentFile, capsys: pytest.CaptureFixture[str]) -> None:
    path = torrent_file()
    raw = path.read_bytes()
    infohash = hashlib.sha1(raw[raw.index(b"4:info") + 6 : -1]).hexdigest()
    assert start(["info", "--json", str(path)]) == 0
    read = json.loads(capsys.readouterr().out)
    assert read["infohash"] == infohash
    assert read["files"] == [{"path": "sample.bin", "length": 20_000}]
    assert (read["pieces"], read["piece_length"], read["private"]) == (2, 16_384, False)


def test_files(torrent_file: TorrentFile, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["info", "--files", str(torrent_file())]) == 0
    assert capsys.readouterr().out == "20000\tsample.bin\n"


def test_magnet(torrent_file: TorrentFile, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["info", "--magnet", str(torrent_file())]) == 0
    assert capsys.readouterr().out.startswith("magnet:?xt=urn:btih:")


def test_stdin(
    torrent_file: TorrentFile,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stdin: Any = SimpleNamespace(buffer=io.BytesIO(torrent_file().read_bytes()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert start(["info", "--files", "-"]) == 0
    assert capsys.readouterr().out == "20000\tsample.bin\n"
    assert start(["info", "-"]) == 3  # it is at its end now
    assert "nothing came on stdin" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--files", "--magnet", "--json", None])
def test_api23_nothing_from_a_torrent_steers_the_terminal(
    option: str | None, torrent_file: TorrentFile, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b[2J\x1b]0;owned\x07\r\u202e\x9bm"
    path = torrent_file(
        evil + "name",
        comment=evil.encode(),
        announce=b"http://t.example/" + evil.encode(),
        **{"created by": evil.encode() + b"\xff"},
    )
    assert start(["info", str(path), *([option] if option else [])]) == 0
    shown = capsys.readouterr().out
    assert not set("\x1b\x07\r\u202e\x9b") & set(shown)


def test_date() -> None:
    assert date(None) is None
    assert date(0) == "1970-01-01 00:00:00 UTC"
    assert date(2**62) == str(2**62)
    assert date(-(2**62)) == str(-(2**62))
