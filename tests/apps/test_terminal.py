"""What a real terminal gets to see: a pty on stderr."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import pytest

pty = pytest.importorskip("pty")

Programs = Any
COLOUR = re.compile(r"\x1b\[[0-9;]*[34][0-9;]*m")


def on_a_terminal(programs: Programs, *args: str, **environ: str) -> tuple[int, str, str]:
    """Runs a command with stderr on a terminal. Returns its exit code, stdout, and the screen."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "swarm", *args],
        cwd=programs.folder,
        env={**programs.environ(TERM="xterm-256color", COLUMNS="100"), **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    screen = b""
    try:
        while data := os.read(ours, 65_536):
            screen += data
    except OSError:  # how Linux says that the other end has gone
        pass
    os.close(ours)
    out, _ = process.communicate(timeout=30)
    return process.returncode, out.decode(), screen.decode()


@pytest.fixture
def folder(programs: Programs) -> Programs:
    root = programs.folder / "sample"
    root.mkdir()
    (root / "a.bin").write_bytes(bytes(3_000_000))
    return programs


def test_a_live_bar(folder: Programs) -> None:
    code, out, screen = on_a_terminal(folder, "create", "sample")
    assert (code, out) == (0, "sample.torrent\n")
    assert "\x1b[?25l" in screen
    assert screen.rindex("\x1b[?25h") > screen.rindex("\x1b[?25l")
    assert "100%" in screen
    assert COLOUR.search(screen)


def test_no_color(folder: Programs) -> None:
    code, _, screen = on_a_terminal(folder, "create", "sample", NO_COLOR="1")
    assert code == 0
    assert "100%" in screen
    assert not COLOUR.search(screen)


@pytest.mark.parametrize("environ", [{"CI": "1"}, {"TERM": "dumb"}])
def test_plain_lines(folder: Programs, environ: dict[str, str]) -> None:
    code, _, screen = on_a_terminal(folder, "create", "sample", **environ)
    assert code == 0
    assert "sample: hashing 100%" in screen
    assert "\x1b" not in screen


@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_nothing(folder: Programs, option: str) -> None:
    code, out, screen = on_a_terminal(folder, "create", "sample", option)
    assert (code, screen) == (0, "")
    assert out


def test_medians_so_far_below_the_bar(programs: Programs) -> None:
    args = ("bench", "wire", "--size", "1MiB", "--rounds", "3")
    code, out, screen = on_a_terminal(programs, *args)
    assert code == 0
    assert out.count("frame walk") == 1
    assert screen.count("frame walk  ") > 3  # drawn again with each figure
    assert "millions/s" in screen
    assert screen.rindex("\x1b[2K") > screen.rindex("millions/s")  # and erased at the end
