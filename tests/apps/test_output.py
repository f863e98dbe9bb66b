"""What is shown, to whom, and how often."""

from __future__ import annotations

import io
import json
import math
import re
import sys
from typing import Any

import pytest
from rich.console import Console

import swarm
from swarm.apps import output
from swarm.apps.bar import Bar
from swarm.apps.output import Lines, Records, Silent, Step, escape, is_live, step_of

FACTS: dict[str, Any] = {
    "state": "downloading",
    "progress": 0.25,
    "length": 4 * 2**20,
    "done": 2**20,
    "total_length": 8 * 2**20,
    "total_done": 2**20,
    "down_rate": 3 * 2**20,
    "up_rate": 512.0,
    "downloaded": 2**20,
    "uploaded": 100,
    "wasted": 0,
    "peers": 1,
    "seeds": 1,
    "eta": 1.04,
    "ratio": 0.1,
    "moving": None,
    "download_limit": None,
    "upload_limit": None,
}


def stats(**changes: Any) -> swarm.Stats:
    return swarm.Stats(**{**FACTS, **changes})


class Clock:
    """Seconds that only a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def step(progress: float, state: str = "downloading") -> Step:
    return Step(name="sample", state=state, progress=progress, details=("d",))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain név 名前　🦀", "plain név 名前　🦀"),
        ("a\x1b[31mred", r"a\x1b[31mred"),
        ("a\rb\nc\td", r"a\rb\nc\td"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("exe\u202egpj", r"exe\u202egpj"),
        ("a\u2028b\u2066c", r"a\u2028b\u2066c"),
        ("bad\udcff", r"bad\udcff"),
        ("[bold]no markup[/]", "[bold]no markup[/]"),
    ],
)
def test_api23_ex04_names_are_escaped(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_a_line_every_ten_per_cent(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(Clock())
    for percent in range(101):
        lines.show(step(percent / 100))
    shown = capsys.readouterr()
    assert shown.out == ""
    percents = [line.split()[2] for line in shown.err.splitlines()]
    assert percents == ["0%", *(f"{p}%" for p in range(10, 101, 10))]
    assert "\r" not in shown.err
    assert "\x1b" not in shown.err


def test_a_line_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = Lines(clock)
    for second in range(31):
        clock.now = 1000.0 + second
        lines.show(step(0.01))
    assert len(capsys.readouterr().err.splitlines()) == 4


def test_a_line_at_each_change_of_state(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(Clock())
    for state in ("checking", "checking", "downloading", "downloading", "seeding"):
        lines.show(step(0.5, state))
    states = [line.split()[1] for line in capsys.readouterr().err.splitlines()]
    assert states == ["checking", "downloading", "seeding"]


def test_api23_a_name_cannot_draw_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Lines().show(Step(name="x\x1b[2J\ry", state="checking", progress=0.0))
    assert capsys.readouterr().err == "x\\x1b[2J\\ry: checking 0%\n"


def test_records_are_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    records = Records(clock)
    for tenth in range(25):
        clock.now = 1000.0 + tenth / 10
        records.show(step_of("näme\x1b\x9b", stats()))
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out.isascii()
    assert "\x1b" not in shown.out
    read = [json.loads(line) for line in shown.out.splitlines()]
    assert len(read) == 3
    assert read[0] == {
        "v": 1,
        "type": "progress",
        "name": "näme\x1b\x9b",
        "state": "downloading",
        "progress": 0.25,
        "length": 4 * 2**20,
        "done": 2**20,
        "total_length": 8 * 2**20,
        "total_done": 2**20,
        "down_rate": 3 * 2**20,
        "up_rate": 512,
        "download_limit": None,
        "upload_limit": None,
        "downloaded": 2**20,
        "uploaded": 100,
        "wasted": 0,
        "peers": 1,
        "seeds": 1,
        "eta": 1.0,
        "ratio": 0.1,
    }


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_records_have_no_numbers_that_json_lacks(
    value: float, capsys: pytest.CaptureFixture[str]
) -> None:
    Records().show(step_of("x", stats(eta=value, ratio=value)))
    read = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert read["eta"] is None
    assert read["ratio"] is None


@pytest.mark.parametrize(
    ("changes", "details"),
    [
        ({}, "1.0 MiB of 4.0 MiB, down 3.0 MiB/s, eta 1.0s, 1 peer, up 512 B/s"),
        ({"eta": None, "peers": 2}, "1.0 MiB of 4.0 MiB, down 3.0 MiB/s, 2 peers, up 512 B/s"),
        (
            {"download_limit": 2**22, "upload_limit": 1000, "eta": None},
            "1.0 MiB of 4.0 MiB, down 3.0 MiB/s (limit 4.0 MiB/s), 1 peer, up 512 B/s (limit 1000 B/s)",
        ),
        ({"state": "checking"}, "1.0 MiB of 4.0 MiB"),
        ({"state": "seeding", "done": 2**22}, "4.0 MiB of 4.0 MiB, 1 peer, up 512 B/s, ratio 0.10"),
    ],
)
def test_details(changes: dict[str, Any], details: str) -> None:
    assert ", ".join(step_of("x", stats(**changes)).details) == details


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "live"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True),
        ({"TERM": "xterm", "CI": "false"}, True),
        ({"TERM": "xterm", "CI": "1"}, False),
        ({"TERM": "xterm", "CI": "true"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_is_live(environ: dict[str, str], live: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert is_live(environ) is live
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert is_live(environ) is False


def test_which_display(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(output.display(quiet=True, as_json=True)) is Silent
    assert type(output.display(as_json=True)) is Records
    assert type(output.display()) is Lines
    monkeypatch.setattr(sys, "stderr", Terminal())
    for name, value in (("TERM", "xterm"), ("CI", "")):
        monkeypatch.setenv(name, value)
    assert type(output.display()) is Bar


def drawn(width: int, name: str, **changes: Any) -> str:
    """What the bar leaves on a terminal of that width, escapes included."""
    screen = Terminal()
    environ = {"TERM": "xterm-256color"}
    console = Console(file=screen, force_terminal=True, width=width, _environ=environ)
    with Bar(console) as bar:
        bar.show(step_of(name, stats(**changes)))
    return screen.getvalue()


@pytest.mark.parametrize(
    ("width", "words"),
    [(40, []), (60, ["1.0 MiB of"]), (80, ["down"]), (120, ["down", "eta", "peer", "up"])],
)
def test_bar_is_one_line(width: int, words: list[str]) -> None:
    last = drawn(width, "a rather long name of a torrent.tar.gz").split("\r")[-1]
    line, *rest = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last).splitlines()
    assert len(line) <= width
    assert not any(text.strip() for text in rest)
    assert " 25%" in line
    assert line.startswith("a rather lo")
    assert all(word in line for word in words)


def test_api23_bar_escapes_names_and_leaves_markup_alone() -> None:
    text = drawn(160, "[red]\x1b]0;t\x07")
    assert r"[red]\x1b]0;t\x07" in text
    assert "\x1b]0;" not in text


def test_bar_shows_the_cursor_again() -> None:
    text = drawn(80, "x")
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_bar_says_what_it_does_when_it_is_not_downloading() -> None:
    assert "checking" in drawn(100, "x", state="checking")
    assert "downloading" not in drawn(100, "x")


def test_result_is_exact_in_a_pipe_and_escaped_on_a_terminal(
    capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "a\x1bb\udcff"
    output.result(name)
    assert capsysbinary.readouterr().out == b"a\x1bb\xff\n"
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    output.result(name)
    assert terminal.getvalue() == "a\\x1bb\\udcff\n"
