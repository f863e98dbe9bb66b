"""A process is weighed with all that it has started, and ended with it."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarm.bench.process import Process

BURN = "import time\nwhile time.process_time() < {seconds}: pass\n"
HOLD = "block = b'x' * {size}\n"
SAY = "print('ready', flush=True)\n"
STAY = "import signal; signal.pause()\n"
MIB = 2**20


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Process]]:
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.kill()


def start(started: list[Process], folder: Path, code: str) -> Process:
    process = Process([sys.executable, "-c", code], folder / "log", cwd=folder)
    started.append(process)
    return process


def until_ready(process: Process) -> None:
    while "ready" not in process.tail():
        assert process.exit_code is None, process.tail()
        os.sched_yield()


def parent_of(code: str, *, wait: bool, session: bool = False) -> str:
    return (
        f"import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {code!r}], start_new_session={session})\n"
        f"{'child.wait()' if wait else ''}\n"
    )


@pytest.mark.parametrize("session", [False, True])
def test_a_child_that_runs_counts(started: list[Process], tmp_path: Path, session: bool) -> None:
    child = BURN.format(seconds=0.3) + HOLD.format(size=50 * MIB) + SAY + STAY
    process = start(started, tmp_path, parent_of(child, wait=True, session=session))
    until_ready(process)
    usage = process.usage()
    assert usage.cpu >= 0.3
    assert usage.peak_rss >= 50 * MIB


def test_a_child_that_has_left_counts(started: list[Process], tmp_path: Path) -> None:
    child = BURN.format(seconds=0.3)
    process = start(started, tmp_path, parent_of(child, wait=True) + SAY + STAY)
    until_ready(process)
    assert process.usage().cpu >= 0.28  # in whole ticks


def test_one_that_has_left_can_be_weighed(started: list[Process], tmp_path: Path) -> None:
    process = start(started, tmp_path, BURN.format(seconds=0.2) + "raise SystemExit(7)")
    assert process.wait_exit() == 7
    assert process.usage().cpu >= 0.2
    assert process.exit_code == 7
    assert process.kill() == 7


def test_peak_is_kept_when_memory_is_gone(started: list[Process], tmp_path: Path) -> None:
    process = start(started, tmp_path, HOLD.format(size=50 * MIB) + SAY + STAY)
    until_ready(process)
    before = process.usage().peak_rss
    os.kill(process.pid, 15)
    assert process.wait_exit() == -15
    assert process.usage().peak_rss == before >= 50 * MIB


@pytest.mark.parametrize("session", [False, True])
def test_children_end_with_it(started: list[Process], tmp_path: Path, session: bool) -> None:
    child = "import os; print(os.getpid(), 'ready', flush=True)\n" + STAY
    process = start(started, tmp_path, parent_of(child, wait=True, session=session))
    until_ready(process)
    pid = int(process.tail().split()[0])
    child_descriptor = os.pidfd_open(pid)
    assert process.kill() == -9
    ended, _, _ = select.select([child_descriptor], [], [], 30)
    os.close(child_descriptor)
    assert ended


def test_stop_lets_it_leave(started: list[Process], tmp_path: Path) -> None:
    leave = "import signal\nsignal.signal(signal.SIGTERM, lambda *_: exit(5))\n" + SAY + STAY
    process = start(started, tmp_path, leave)
    until_ready(process)
    assert process.stop() == 5
    assert process.stop() == process.kill() == 5


def test_stop_ends_the_stubborn(started: list[Process], tmp_path: Path) -> None:
    stay = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SAY + STAY * 2
    process = start(started, tmp_path, stay)
    until_ready(process)
    assert process.stop(timeout=0.1) == -9


def test_what_it_printed_is_safe_to_show(started: list[Process], tmp_path: Path) -> None:
    code = r"print('\x1b[2J\x1b[31mred\x1b[0m \x07 bell\ttab', 'x' * 50, 'ready', flush=True)"
    process = start(started, tmp_path, code)
    assert process.wait_exit() == 0
    assert process.tail() == f"red  bell\ttab {'x' * 50} ready\n"
    assert process.tail(10) == "xxx ready\n"
