"""Signals: the first one lets a job save, the second one kills, and shells see a signal death."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest

from swarm.apps.run import run

Programs = Any
Start = Any

JOB = """
import asyncio, sys
from swarm.apps import run

async def job():
    print("ready", flush=True)
    try:
        await asyncio.sleep(60)
    finally:
        {leave}
        print("saved", flush=True)

run.GRACE = {grace}
try:
    run.run(job)
except ValueError:
    sys.exit(8)
"""


@pytest.fixture
def start(programs: Programs) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def begin(leave: str = "pass", ignored: int | None = None, grace: float = 5.0) -> Any:
        def before() -> None:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)  # whatever the tests run under
            if ignored is not None:
                signal.signal(ignored, signal.SIG_IGN)

        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(JOB.format(leave=leave, grace=grace))],
            env=programs.environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=before,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_lets_the_job_save(signum: int, start: Start) -> None:
    process = start()
    process.send_signal(signum)
    out, err = process.communicate(timeout=10)
    assert out == "saved\n"
    assert "Traceback" not in err
    assert process.returncode == -signum


@pytest.mark.parametrize("leave", ["await asyncio.sleep(60)", "__import__('time').sleep(60)"])
def test_the_second_signal_kills_whatever_the_loop_does(leave: str, start: Start) -> None:
    process = start(f"print('leaving', flush=True); {leave}")
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "leaving\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    assert out == ""
    assert process.returncode == -signal.SIGINT


def test_another_second_signal_kills_too(start: Start) -> None:
    process = start("await asyncio.sleep(60)")
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == "swarm: stopping; once more to leave at once\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == -signal.SIGTERM


def test_a_job_that_cannot_leave_is_left(start: Start) -> None:
    process = start("await asyncio.sleep(60)", grace=0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == -signal.SIGTERM


def test_an_error_while_saving_is_not_hidden_by_the_signal(start: Start) -> None:
    process = start("raise ValueError")
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 8


def test_nohup_is_respected(start: Start) -> None:
    process = start(ignored=signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == -signal.SIGTERM


def test_handlers_are_put_back_and_errors_pass() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    async def job() -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run(job)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
