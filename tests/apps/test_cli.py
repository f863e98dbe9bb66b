"""The program as a whole: commands, mistakes, start-up cost, closed pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swarm.apps.cli import ALIASES, COMMANDS, start

Programs = Any
TorrentFile = Callable[..., Path]


@pytest.mark.parametrize("name", [*COMMANDS, *ALIASES])
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert start([name, "--help"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("Usage: swarm ")
    assert shown.err == ""


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["-h"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in COMMANDS)


def test_a_hash_kernel_that_is_not_here_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"x")
    done = subprocess.run(
        [sys.executable, "-m", "swarm", "create", "data"],
        cwd=tmp_path,
        env={**os.environ, "SWARM_HASH_KERNEL": "abacus"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("swarm: SWARM_HASH_KERNEL=abacus: this machine has ")
    assert not (tmp_path / "data.torrent").exists()


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["no-such-command"],
        ["--no-such-option"],
        ["download"],
        ["download", "x", "--peer", "nobody"],
        ["download", "x", "--peer", "1.2.3.4:0"],
        ["download", "x", "--peer", "1.2.3.4:65536"],
        ["download", "x", "--peer", "::1:6881"],
        ["download", "x", "--listen", "6881"],
        ["download", "x", "--listen", "[127.0.0.1]:1"],
        ["download", "x", "--listen", "1.2.3.4:٣"],
        ["download", "x", "--timeout", "soon"],
        ["download", "x", "--ratio", "-1"],
        ["download", "x", "--seed-for", "1x"],
        ["download", "x", "--limit-down", "fast"],
        ["seed", "x", "--limit-up", "0"],
        ["create", "no-such-folder"],
        ["create", ".", "--piece-size", "much"],
        ["info", "x", "--json", "--magnet"],
        ["verify", "x", "--path", "no-such-folder"],
        ["tracker", "--bind", "localhost"],
    ],
)
def test_a_usage_error_is_2_without_traceback(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(args) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Usage: swarm" in shown.err
    assert "Traceback" not in shown.err


BAD = [
    (["info", "gone.torrent"], 3),
    (["info", "bad.torrent"], 3),
    (["info", "."], 3),
    (["download", "bad.torrent"], 3),
    (["download", "gone.torrent"], 3),
    (["download", "magnet:?xt=urn:btih:" + "0" * 40], 3),
    (["seed", "bad.torrent"], 3),
    (["verify", "bad.torrent"], 3),
]


@pytest.mark.parametrize(("args", "code"), BAD)
def test_a_bad_source_is_3_and_one_line(
    args: list[str],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.torrent").write_bytes(b"d4:infod4:name")
    assert start(args) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("swarm: ")
    assert len(shown.err.splitlines()) == 1


def test_verbose_shows_the_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = str(tmp_path / "gone.torrent")
    assert start(["info", "-v", gone]) == 3
    assert "Traceback" in capsys.readouterr().err
    assert start(["-v", "info", gone]) == 3
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setenv("SWARM_DEBUG", "1")
    assert start(["info", gone]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_json_has_errors_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.torrent"
    bad.write_bytes(b"i1e")
    assert start(["info", "--json", str(bad)]) == 3
    shown = capsys.readouterr()
    read = json.loads(shown.out)
    assert (read["v"], read["type"], read["code"]) == (1, "error", 3)
    assert read["error"] in ("MetainfoError", "BencodeError")
    assert shown.err == f"swarm: {read['message']}\n"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    import swarm

    assert start(["version"]) == 0
    assert capsys.readouterr().out == f"swarm {swarm.__version__}\n"
    assert start(["version", "--json"]) == 0
    read = json.loads(capsys.readouterr().out)
    assert (read["v"], read["type"], read["version"]) == (1, "version", swarm.__version__)


HEAVY = (
    "aiohttp", "rich", "uvloop", "msgspec", "platformdirs", "asyncio", "swarm._native", "swarm.bench",
    "swarm.apps.bench",
)  # fmt: skip


@pytest.mark.parametrize("command", ["info", "version"])
def test_a_quick_command_imports_nothing_heavy(
    command: str, torrent_file: TorrentFile, programs: Programs
) -> None:
    args = ["info", str(torrent_file())] if command == "info" else ["version"]
    code = (
        "import sys; from swarm.apps.cli import start; "
        f"code = start({args!r}); "
        f"print(code, [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=programs.environ(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "0 []"


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_closed_pipe_is_quiet(closed: str, torrent_file: TorrentFile, programs: Programs) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, closed: writer}
    args = ["info", str(torrent_file())] if closed == "stdout" else ["info", "gone"]
    done = subprocess.run(
        [sys.executable, "-m", "swarm", *args],
        env=programs.environ(),
        check=False,
        **pipes,
    )
    os.close(writer)
    assert done.returncode == (141 if closed == "stdout" else 3)
    assert not done.stderr
    assert not done.stdout
